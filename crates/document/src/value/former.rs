//! How milescale read plain scalars up to version 0.1.0 of November 2026: numbers as YAML 1.2 has them, so that `007` was 7.
//!
//! Rows that it wrote say so. With this reading the text that was kept beside such a row is known to be still its own, and
//! the row is read as that text, digit for digit.

use super::convert::convert;
use super::{Number, Value};
use crate::document::Document;
use crate::scalar::{Meaning, meaning};

impl Value {
    /// The value that a document formerly had.
    pub fn formerly_of(document: &Document<'_>) -> Self {
        convert(document, document.root(), &scalar)
    }

    /// Restores what is still as it was formerly read: it is what is read of it now. All else was changed since, and stays.
    pub fn restore(&mut self, former: &Self, anew: &Self) {
        if self == former {
            self.clone_from(anew);
            return;
        }
        match (self, former, anew) {
            (Self::List(items), Self::List(former), Self::List(anew)) => {
                items
                    .iter_mut()
                    .zip(former.iter().zip(anew))
                    .for_each(|(item, (former, anew))| item.restore(former, anew));
            }
            (Self::Mapping(entries), former, anew) => {
                for (key, value) in entries {
                    if let Some((former, anew)) = former.get(key).zip(anew.get(key)) {
                        value.restore(former, anew);
                    }
                }
            }
            _ => {}
        }
    }
}

fn scalar(text: &str) -> Value {
    match meaning(text) {
        Meaning::Null => Value::Null,
        Meaning::Flag(flag) => Value::Flag(flag),
        _ => number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number),
    }
}

/// A number of YAML 1.2 in the spelling of JSON, with the mistake that `0-3` was -3.
fn number(text: &str) -> Option<Number> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let whole = u128::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))?;
            return Number::from_json(&whole.to_string());
        }
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(a, b)| (a, Some(b)));
    if whole.is_empty() && fraction.is_none_or(str::is_empty) {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    };
    let fraction = fraction.map(|fraction| if fraction.is_empty() { ".0".to_owned() } else { format!(".{fraction}") });
    let exponent = exponent.map(|exponent| format!("e{exponent}"));
    Number::from_json(&format!("{sign}{whole}{}{}", fraction.unwrap_or_default(), exponent.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_those_of_then() {
        for (text, expected) in [
            ("0755", "755"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("+5", "5"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("-1.5E3", "-1.5e3"),
            ("0-3", "-3"),
            ("00-100", "-100"),
        ] {
            assert_eq!(number(text).unwrap().as_str(), expected, "{text}");
        }
        for text in ["1_000", "12:30", "2026-11-22", "-", ".", "+", "e5", "1e", "0x", "0b1", "1.2.3", "--1", "0x+1"] {
            assert!(number(text).is_none(), "{text}");
        }
    }
}
