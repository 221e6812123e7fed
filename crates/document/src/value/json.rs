//! Values in and out of JSON, with every number as it was written.

mod plain;

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Number, Value};
use crate::document::{Flaw, Position};
use crate::word::{any, below_blank, equal_to};

/// The most values a text may have, as for YAML.
const VALUE_LIMIT: usize = 1_000_000;

/// The deepest nesting that is read, as for YAML.
const DEPTH_LIMIT: usize = 100;

impl Value {
    /// Reads JSON.
    ///
    /// # Errors
    /// What is no JSON, with its place; a key twice, a number or text that not every store can keep, without.
    pub fn from_json(text: &str) -> Result<Self, Flaw> {
        if has_too_many_values(text) {
            return Err(Flaw { position: None, reason: format!("it has more than {VALUE_LIMIT} values") });
        }
        plain::read(text).map_or_else(|| full(text), Ok)
    }

    /// Writes compact JSON.
    pub fn to_json(&self) -> String {
        let mut text = String::with_capacity(512);
        write(self, &mut text);
        text
    }
}

/// Whether a text has more values than a document may have: in memory each takes many times its bytes.
fn has_too_many_values(text: &str) -> bool {
    // A value has a byte, and one that parts it from the next.
    if text.len() < 2 * VALUE_LIMIT {
        return false;
    }
    let (mut count, mut is_quoted, mut is_escaped, mut has_opened) = (1_usize, false, false, false);
    for byte in text.bytes() {
        if is_quoted {
            is_quoted = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        // The first value of a list or a mapping has no comma before it.
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => continue,
            b']' | b'}' => {}
            _ => count += usize::from(has_opened),
        }
        has_opened = matches!(byte, b'[' | b'{');
        is_quoted = byte == b'"';
        count += usize::from(byte == b',');
    }
    count > VALUE_LIMIT
}

/// Reads any JSON there is.
fn full(text: &str) -> Result<Value, Flaw> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
        let place = |number: usize| u32::try_from(number.max(1)).unwrap_or(u32::MAX);
        let position = Position { line: place(error.line()), column: place(error.column()) };
        Flaw { position: Some(position), reason: reason(&error) }
    })?;
    read(raw.get(), 0).map_err(|reason| Flaw { position: None, reason })
}

/// What is wrong, without the place, which stands elsewhere.
fn reason(error: &serde_json::Error) -> String {
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default();
    if reason.contains("surrogate") || reason.contains("hex escape") {
        return "half of a character (a lone surrogate) stands in a text, which no store can keep".to_owned();
    }
    reason.to_owned()
}

fn read(raw: &str, depth: usize) -> Result<Value, String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("it is nested deeper than {DEPTH_LIMIT} levels"));
    }
    let plain = |error: serde_json::Error| reason(&error);
    Ok(match raw.trim_start().as_bytes().first() {
        Some(b'{') => {
            let Entries(entries) = serde_json::from_str(raw).map_err(plain)?;
            let mut seen = HashSet::new();
            if let Some((twice, _)) = entries.iter().find(|(key, _)| !seen.insert(key.as_str())) {
                let cut: String = twice.chars().take(40).collect();
                return Err(format!("the key {cut:?} stands there twice"));
            }
            let entry = |(key, value): (String, &RawValue)| Ok((kept(key)?, read(value.get(), depth + 1)?));
            Value::Mapping(entries.into_iter().map(entry).collect::<Result<_, String>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(plain)?;
            Value::List(items.into_iter().map(|item| read(item.get(), depth + 1)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::Text(kept(serde_json::from_str(raw).map_err(plain)?)?),
        Some(b't') => Value::Flag(true),
        Some(b'f') => Value::Flag(false),
        Some(b'n') => Value::Null,
        _ => {
            let cut: String = raw.trim().chars().take(40).collect();
            let number = Number::from_json(raw.trim());
            Value::Number(number.ok_or_else(|| format!("the number {cut} is larger than every store keeps exactly"))?)
        }
    })
}

/// A text that every store can keep.
fn kept(text: String) -> Result<String, String> {
    if text.contains('\0') {
        return Err("a text has a NUL character in it, which PostgreSQL cannot keep".to_owned());
    }
    Ok(text)
}

/// The entries of an object in their order, doubles included.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Flag(true) => text.push_str("true"),
        Value::Flag(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(number.as_str()),
        Value::Text(content) => quote(content, text),
        Value::List(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Mapping(entries) => {
            text.push('{');
            for (number, (key, value)) in entries.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                quote(key, text);
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
    }
}

fn quote(content: &str, text: &mut String) {
    let special = |word| below_blank(word) | equal_to(word, b'"') | equal_to(word, b'\\');
    if !any(content.as_bytes(), special) {
        text.push('"');
        text.push_str(content);
        text.push('"');
        return;
    }
    // A text always has a JSON form.
    text.push_str(&serde_json::to_string(content).unwrap_or_default());
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.to_json()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
