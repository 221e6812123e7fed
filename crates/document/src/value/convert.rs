//! From a document of YAML to a value.

use super::{Number, Value};
use crate::document::{Content, Document, Flaw, NodeId};
use crate::scalar::{Meaning, meaning};

impl Value {
    /// The value of a document: what a database keeps of it.
    ///
    /// # Errors
    /// The first place whose meaning not every store keeps, as the reader has found it.
    pub fn of(document: &Document<'_>) -> Result<Self, Flaw> {
        match document.unkept() {
            Some(flaw) => Err(flaw.clone()),
            None => Ok(convert(document, document.root(), &scalar)),
        }
    }
}

/// The value of a node, in which `plain` reads the plain scalars.
pub(super) fn convert(document: &Document<'_>, id: NodeId, plain: &dyn Fn(&str) -> Value) -> Value {
    match &document.node(id).content {
        Content::Scalar { text, plain: false } => Value::Text(text.to_string()),
        Content::Scalar { text, plain: true } => plain(text),
        Content::Sequence(items) => Value::List(items.iter().map(|&item| convert(document, item, plain)).collect()),
        Content::Mapping(entries) => {
            let entry = |&(key, value): &(NodeId, NodeId)| {
                (document.scalar(key).unwrap_or_default().to_owned(), convert(document, value, plain))
            };
            Value::Mapping(entries.iter().map(entry).collect())
        }
    }
}

/// The value of a plain scalar.
fn scalar(text: &str) -> Value {
    match meaning(text) {
        Meaning::Null => Value::Null,
        Meaning::Flag(flag) => Value::Flag(flag),
        Meaning::Number => Number::from_json(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number),
        Meaning::TooLarge | Meaning::NotFinite | Meaning::Text => Value::Text(text.to_owned()),
    }
}
