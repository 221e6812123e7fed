//! From a document of YAML 1.2 to a value, and why some documents have none.

use super::{Number, Value};
use crate::document::{Content, Document, Flaw, NodeId};

impl Value {
    /// The value of a document: what a database keeps of it.
    ///
    /// # Errors
    /// The first place whose meaning no database keeps: a number that JSON does not have, a tag of somebody's own, the
    /// merge key of YAML 1.1, which its readers resolve and those of 1.2 do not, a NUL.
    pub fn of(document: &Document<'_>) -> Result<Self, Flaw> {
        match document.untold() {
            Some(flaw) => Err(flaw.clone()),
            None => convert(document, document.root()),
        }
    }
}

fn convert(document: &Document<'_>, id: NodeId) -> Result<Value, Flaw> {
    let node = document.node(id);
    let flaw = |reason: String| Flaw { position: Some(node.position), reason };
    Ok(match &node.content {
        Content::Scalar { text, .. } if text.contains('\0') => {
            return Err(flaw("it has a NUL character in it, which PostgreSQL cannot keep".to_owned()));
        }
        Content::Scalar { text, plain: false } => Value::Text(text.to_string()),
        Content::Scalar { text, plain: true } => scalar(text).map_err(flaw)?,
        Content::Sequence(items) => {
            Value::List(items.iter().map(|&item| convert(document, item)).collect::<Result<_, _>>()?)
        }
        Content::Mapping(entries) => {
            let entry = |&(key, value): &(NodeId, NodeId)| {
                let place = document.node(key);
                let flaw = |reason: &str| Flaw { position: Some(place.position), reason: reason.to_owned() };
                match &place.content {
                    Content::Scalar { text, plain: true } if &**text == "<<" => Err(flaw(
                        "a merge key means one thing in YAML 1.1 and another in 1.2; write out what it merges",
                    )),
                    Content::Scalar { text, .. } if text.contains('\0') => {
                        Err(flaw("a key has a NUL character in it, which PostgreSQL cannot keep"))
                    }
                    Content::Scalar { text, .. } => Ok((text.to_string(), convert(document, value)?)),
                    _ => Err(flaw("a key here is a list or mapping; expected a text")),
                }
            };
            Value::Mapping(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
    })
}

/// A plain scalar, by the core schema of YAML 1.2.
fn scalar(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Flag(true),
        "false" | "False" | "FALSE" => Value::Flag(false),
        _ => {
            let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
            if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
                return Err(format!("{text} is a number that JSON does not have; quote it, or write another"));
            }
            match Number::from_yaml(text) {
                Some(number) => Value::Number(number),
                None if is_number(unsigned) => {
                    return Err("the number is larger than every store keeps exactly; quote it".to_owned());
                }
                None => Value::Text(text.to_owned()),
            }
        }
    })
}

/// Whether a text without its sign is a number, however large.
fn is_number(unsigned: &str) -> bool {
    let radix = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = unsigned.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && radix(exponent, 10)
}
