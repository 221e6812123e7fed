//! A value's one spelling, for a digest: two values are equal exactly where their digests are.

use super::Value;
use crate::digest::Digest;

impl Value {
    /// The digest of the value, whatever the order of its keys and the spelling of its numbers.
    pub fn digest(&self) -> Digest {
        let mut text = Vec::with_capacity(2048);
        self.spell(&mut text);
        Digest::of(&text)
    }

    /// Each kind with a letter of its own, each text with its length before it: nothing can be read in two ways.
    fn spell(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(b'n'),
            Self::Flag(flag) => out.push(if *flag { b't' } else { b'f' }),
            Self::Number(number) => {
                out.push(b'#');
                spell_text(&number.normal(), out);
            }
            Self::Text(text) => {
                out.push(b's');
                spell_text(text, out);
            }
            Self::List(items) => {
                out.push(b'[');
                for item in items {
                    item.spell(out);
                }
                out.push(b']');
            }
            Self::Mapping(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                // No key stands there twice.
                sorted.sort_unstable_by(|one, other| one.0.cmp(&other.0));
                out.push(b'{');
                for (key, value) in sorted {
                    spell_text(key, out);
                    value.spell(out);
                }
                out.push(b'}');
            }
        }
    }
}

fn spell_text(text: &str, out: &mut Vec<u8>) {
    spell_length(text.len(), out);
    out.push(b':');
    out.extend_from_slice(text.as_bytes());
}

/// In decimal digits.
fn spell_length(length: usize, out: &mut Vec<u8>) {
    if length >= 10 {
        spell_length(length / 10, out);
    }
    out.push(b"0123456789"[length % 10]);
}

#[cfg(test)]
mod tests {
    use crate::value::Value;

    #[test]
    fn lengths_are_spelled_in_digits() {
        for length in [0, 9, 10, 99, 100, 1_234_567, usize::MAX] {
            let mut out = Vec::new();
            super::spell_length(length, &mut out);
            assert_eq!(out, length.to_string().as_bytes());
        }
    }

    #[test]
    fn digests_are_equal_exactly_where_values_are() {
        let values = [
            r#"{"a":1,"b":[1,2]}"#,
            r#"{"b":[1.0,2e0],"a":10e-1}"#,
            r#"{"a":1,"b":[12]}"#,
            r#"{"a":"1","b":[1,2]}"#,
            r#"{"a":1,"b":["1,2"]}"#,
            r#"{"a":{"b":null}}"#,
            r#"{"a":{},"b":null}"#,
            r#"{"a":-0}"#,
            r#"{"a":0.00}"#,
            r#"{"a":false}"#,
            r#"{"a":"s1:x"}"#,
            r#"{"as1":"x"}"#,
            r#"{"a":0.5,"b":5e2}"#,
            r#"{"a":5,"b":500}"#,
        ]
        .map(|text| Value::from_json(text).unwrap());
        for one in &values {
            for other in &values {
                assert_eq!(one == other, one.digest() == other.digest(), "{one:?} {other:?}");
            }
        }
    }
}
