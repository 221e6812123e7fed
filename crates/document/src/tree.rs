//! One way to look at a document, whether it was read as YAML or as JSON.

use std::borrow::Cow;

/// What kind of node it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A single value.
    Scalar,
    /// A list.
    List,
    /// A mapping.
    Mapping,
}

/// A node of a document that lives for `'a`.
pub trait Tree<'a>: Copy {
    /// The value under `key`; `None` for a missing key and for a node that is no mapping.
    fn get(self, key: &str) -> Option<Self>;

    /// The items of a list or the values of a mapping; nothing for a scalar.
    fn children(self) -> Vec<Self>;

    /// The scalar's text; `None` for a list or mapping.
    fn scalar(self) -> Option<Cow<'a, str>>;

    /// Whether it is null.
    fn is_null(self) -> bool;

    /// What kind of node it is.
    fn shape(self) -> Shape;

    /// The scalar's text where it says something: no list, no mapping, not null, not empty.
    fn text(self) -> Option<Cow<'a, str>> {
        if self.is_null() { None } else { self.scalar().filter(|text| !text.is_empty()) }
    }
}
