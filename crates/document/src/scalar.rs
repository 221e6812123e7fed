//! Plain scalars of YAML: what each spelling means (contract §2).
//!
//! Null, true and false are those of the core schema of YAML 1.2. A number is only what JSON spells so: digits that a person wrote
//! otherwise (`007`, `+49`, `0x1F`, `1_000`) are a text.

use crate::value::Number;

/// What a plain scalar means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing.
    Null,
    /// True or false.
    Flag(bool),
    /// A number.
    Number,
    /// A number that not every store keeps exactly.
    TooLarge,
    /// Infinity, or what is no number: JSON has neither.
    NotFinite,
    /// Its own letters.
    Text,
}

/// The meaning of a plain scalar.
pub fn meaning(text: &str) -> Meaning {
    match text.as_bytes().first() {
        None | Some(b'~' | b'n' | b'N') if is_null(text) => Meaning::Null,
        Some(b't' | b'T') if matches!(text, "true" | "True" | "TRUE") => Meaning::Flag(true),
        Some(b'f' | b'F') if matches!(text, "false" | "False" | "FALSE") => Meaning::Flag(false),
        Some(b'-' | b'0'..=b'9') if Number::is_spelled(text) => {
            if Number::is_kept(text) {
                Meaning::Number
            } else {
                Meaning::TooLarge
            }
        }
        Some(b'-' | b'+' | b'.') if !is_finite(text) => Meaning::NotFinite,
        _ => Meaning::Text,
    }
}

/// Whether a plain scalar is null.
pub fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn is_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    !matches!(unsigned, ".inf" | ".Inf" | ".INF") && !matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// Why a plain scalar has no value that every store keeps, if it has none.
#[inline]
pub fn flaw(text: &str) -> Option<String> {
    // Most scalars begin with a letter.
    if matches!(text.as_bytes().first(), Some(b'0'..=b'9' | b'-' | b'+' | b'.')) { number_flaw(text) } else { None }
}

fn number_flaw(text: &str) -> Option<String> {
    match meaning(text) {
        Meaning::NotFinite => Some(format!("{text} is a number that JSON does not have; quote it, or write another")),
        Meaning::TooLarge => Some("the number is larger than every store keeps exactly; quote it".to_owned()),
        _ => None,
    }
}

/// Why a plain scalar cannot be a key, if it cannot: a key is a text.
#[inline]
pub fn key_flaw(key: &str) -> Option<String> {
    // No other letter begins a word that is more than a text.
    let begins_as_text = key
        .as_bytes()
        .first()
        .is_some_and(|first| first.is_ascii_alphabetic() && !matches!(first.to_ascii_lowercase(), b'n' | b't' | b'f'));
    if begins_as_text { None } else { odd_key_flaw(key) }
}

fn odd_key_flaw(key: &str) -> Option<String> {
    if key == "<<" {
        let reason = "a merge key means one thing in YAML 1.1 and another in 1.2; write out what it merges";
        return Some(reason.to_owned());
    }
    let what = match meaning(key) {
        Meaning::Text => return None,
        Meaning::Null => "null",
        Meaning::Flag(_) => "true or false",
        Meaning::Number | Meaning::TooLarge | Meaning::NotFinite => "a number",
    };
    Some(format!("a key here is {what}; expected a text: quote it"))
}

#[cfg(test)]
mod tests {
    use super::{Meaning, flaw, key_flaw, meaning};

    #[test]
    fn only_what_json_spells_is_a_number() {
        for text in ["0", "-0", "7", "-7", "10", "1.0", "0.50", "1e3", "1E+3", "-1.5e-07", "0e0"] {
            assert_eq!(meaning(text), Meaning::Number, "{text}");
        }
        for text in [
            "007",
            "00",
            "-01",
            "+49",
            "+0",
            "0x1F",
            "0o17",
            "0b1",
            ".5",
            "-.5",
            "1.",
            "1.e3",
            "1_000",
            "0-3",
            "00-100",
            "0-1.5",
            "1:30",
            "190:20:30",
            "e5",
            "1e",
            "1e+",
            "-",
            "--1",
            ".",
            "-.",
            "1.2.3",
            "2026-11-22",
            "٣",
            "1e3 ",
        ] {
            assert_eq!(meaning(text), Meaning::Text, "{text}");
        }
    }

    #[test]
    fn what_has_no_value_and_what_is_no_key_is_named() {
        for text in [".inf", "-.Inf", "+.INF", ".nan", ".NaN", ".NAN", "1e400", "-1e-401", &"9".repeat(401)] {
            assert!(flaw(text).is_some(), "{text}");
        }
        for text in ["inf", "nan", ".iNf", "+.nan", "-.nan", "..inf", "a", "", "~", "007"] {
            assert_eq!(flaw(text), None, "{text}");
        }
        for key in ["", "~", "null", "NULL", "true", "False", "1", "-0", "1.5", ".inf", "1e999", "<<"] {
            assert!(key_flaw(key).is_some(), "{key}");
        }
        for key in ["a", "nil", "n", "t", "yes", "no", "on", "007", "+1", ".5", "2026-11-22", "=", "_", "é", "-x"] {
            assert_eq!(key_flaw(key), None, "{key}");
        }
    }
}
