//! A document as a value: what every store keeps the same of it, whatever its spelling.
//!
//! Two values are equal when every reader takes them for the same: mappings whatever the order of their keys, numbers
//! whatever their spelling (`1e3` and `1000.0`).

mod canonical;
mod convert;
mod former;
mod json;
mod number;

use std::borrow::Cow;

use crate::tree::{Shape, Tree};

pub use number::Number;

/// A value of JSON, which is also one of YAML.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Flag(bool),
    /// A number, exactly as it was written.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A mapping, in the order of the text; each key once.
    Mapping(Vec<(String, Self)>),
}

impl Value {
    /// How many values it is made of, itself included.
    pub fn count(&self) -> u64 {
        1 + match self {
            Self::List(items) => items.iter().map(Self::count).sum::<u64>(),
            Self::Mapping(entries) => entries.iter().map(|(_, value)| value.count()).sum(),
            _ => 0,
        }
    }

    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Mapping(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The same mapping with this key set: in its place where it is there, else as the last one.
    #[must_use]
    pub fn with(mut self, key: &str, value: Self) -> Self {
        if let Self::Mapping(entries) = &mut self {
            match entries.iter_mut().find(|(name, _)| name == key) {
                Some((_, there)) => *there = value,
                None => entries.push((key.to_owned(), value)),
            }
        }
        self
    }

    /// Every text in it, keys left out.
    pub fn texts(&self) -> Vec<&str> {
        let mut found = Vec::new();
        let mut open = vec![self];
        while let Some(value) = open.pop() {
            match value {
                Self::Text(text) => found.push(text.as_str()),
                Self::List(items) => open.extend(items.iter().rev()),
                Self::Mapping(entries) => open.extend(entries.iter().rev().map(|(_, value)| value)),
                _ => {}
            }
        }
        found
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Flag(one), Self::Flag(other)) => one == other,
            (Self::Number(one), Self::Number(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::List(one), Self::List(other)) => one == other,
            (Self::Mapping(one), Self::Mapping(other)) => {
                let sorted = |entries: &'_ [(String, Self)]| {
                    let mut order: Vec<usize> = (0..entries.len()).collect();
                    order.sort_by(|a, b| entries[*a].0.cmp(&entries[*b].0));
                    order
                };
                one.len() == other.len() && sorted(one).into_iter().zip(sorted(other)).all(|(a, b)| one[a] == other[b])
            }
            _ => false,
        }
    }
}

impl Eq for Value {}

impl<'a> Tree<'a> for &'a Value {
    fn get(self, key: &str) -> Option<Self> {
        Value::get(self, key)
    }

    fn children(self) -> Vec<Self> {
        match self {
            Value::List(items) => items.iter().collect(),
            Value::Mapping(entries) => entries.iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        }
    }

    fn scalar(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Null => Some(Cow::Borrowed("null")),
            Value::Flag(true) => Some(Cow::Borrowed("true")),
            Value::Flag(false) => Some(Cow::Borrowed("false")),
            Value::Number(number) => Some(Cow::Borrowed(number.as_str())),
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::List(_) | Value::Mapping(_) => None,
        }
    }

    fn is_null(self) -> bool {
        matches!(self, Value::Null)
    }

    fn shape(self) -> Shape {
        match self {
            Value::List(_) => Shape::List,
            Value::Mapping(_) => Shape::Mapping,
            _ => Shape::Scalar,
        }
    }
}

#[cfg(test)]
mod tests;
