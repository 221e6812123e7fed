//! Writing YAML so that every reader, of YAML 1.1 and of 1.2, finds the same value.
//!
//! Block style. A text is plain only where no reader could take it for anything else; texts of several lines are
//! literal blocks where that is safe, and in double quotes otherwise. Numbers with an exponent have a point and a sign,
//! for readers of YAML 1.1 take others for texts; those that would be infinite there are spelled out.

use crate::value::{Number, Value};

/// Keys longer than this are written with `?`: a plain key of YAML may have 1,024 characters.
const LONG_KEY: usize = 100;

/// Digits before the point that every binary fraction of 64 bits may have.
const MOST_OF_A_FRACTION: usize = 308;

/// Words that some reader takes for something else than themselves.
const RESERVED: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// A document with this value at its root.
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Mapping(entries) if !entries.is_empty() => mapping(entries, 0, &mut text),
        Value::List(items) if !items.is_empty() => list(items, 0, &mut text),
        scalar_or_empty => {
            scalar(scalar_or_empty, 0, &mut text);
            text.push('\n');
        }
    }
    text
}

/// Writes the entries, each on lines of its own; the first begins where the text ends.
fn mapping(entries: &[(String, Value)], indent: usize, text: &mut String) {
    for (number, (key, value)) in entries.iter().enumerate() {
        if number > 0 {
            spaces(indent, text);
        }
        if key.len() > LONG_KEY {
            text.push_str("? ");
            quoted(key, text);
            text.push('\n');
            spaces(indent, text);
        } else if is_plain(key) {
            text.push_str(key);
        } else {
            quoted(key, text);
        }
        text.push(':');
        match value {
            Value::Mapping(inner) if !inner.is_empty() => {
                text.push('\n');
                spaces(indent + 2, text);
                mapping(inner, indent + 2, text);
            }
            Value::List(items) if !items.is_empty() => {
                text.push('\n');
                spaces(indent + 2, text);
                list(items, indent + 2, text);
            }
            _ => {
                text.push(' ');
                scalar(value, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

fn list(items: &[Value], indent: usize, text: &mut String) {
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            spaces(indent, text);
        }
        text.push_str("- ");
        match item {
            Value::Mapping(entries) if !entries.is_empty() => mapping(entries, indent + 2, text),
            Value::List(inner) if !inner.is_empty() => list(inner, indent + 2, text),
            _ => {
                scalar(item, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

fn spaces(count: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', count));
}

/// Writes a scalar, an empty list or an empty mapping, without the line's end.
fn scalar(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Flag(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&spelling(number)),
        Value::List(_) => text.push_str("[]"),
        Value::Mapping(_) => text.push_str("{}"),
        Value::Text(content) if is_plain(content) => text.push_str(content),
        Value::Text(content) if indent > 0 && is_block(content) => block(content, indent, text),
        Value::Text(content) => quoted(content, text),
    }
}

/// A number as readers of YAML 1.1 and 1.2 find it: with an exponent it has a point and a sign, and what is larger than a
/// binary fraction of 64 bits is spelled out.
fn spelling(number: &Number) -> String {
    if let Some(whole) = number.spelled_out().filter(|whole| whole.len() > MOST_OF_A_FRACTION) {
        return whole;
    }
    let text = number.as_str();
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return text.to_owned() };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// Whether no reader takes the text for anything but itself.
fn is_plain(content: &str) -> bool {
    let first = content.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let plain = |character: char| {
        character.is_ascii_alphanumeric()
            || matches!(character, ' ' | '_' | '-' | '.' | '/' | '(' | ')')
            || (character > '\u{bf}' && character < '\u{10000}' && character.is_alphanumeric())
    };
    first
        && content.chars().all(plain)
        && !content.ends_with(' ')
        && !RESERVED.iter().any(|word| content.eq_ignore_ascii_case(word))
}

/// Whether the text can be a literal block: several lines of what every reader prints as it stands.
fn is_block(content: &str) -> bool {
    let body = content.strip_suffix('\n').unwrap_or(content);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n'])
        && body.lines().all(|line| !line.ends_with(' '))
        && body.chars().all(|character| character == '\n' || !needs_escape(character))
}

fn block(content: &str, indent: usize, text: &mut String) {
    let (body, style) = match content.strip_suffix('\n') {
        Some(body) => (body, "|"),
        None => (content, "|-"),
    };
    text.push_str(style);
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            spaces(indent, text);
            text.push_str(line);
        }
    }
}

fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
}

fn quoted(content: &str, text: &mut String) {
    text.push('"');
    for character in content.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            other if needs_escape(other) && u32::from(other) < 0x100 => {
                text.push_str(&format!("\\x{:02X}", u32::from(other)));
            }
            other if needs_escape(other) => text.push_str(&format!("\\u{:04X}", u32::from(other))),
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::value::Value;
    use crate::yaml;

    fn back(json: &str) -> String {
        let value = Value::from_json(json).unwrap();
        let text = write(&value);
        let document = yaml::parse(text.as_bytes()).unwrap_or_else(|flaw| panic!("{flaw}\n{text}"));
        assert_eq!(Value::of(&document).unwrap(), value, "{text}");
        text
    }

    #[test]
    fn plain_things_look_plain() {
        let text = back(
            r#"{"id":"a","title":"A first step","num":5,"f":1e3,"on":true,"tasks":[{"t":"x","l":[1,[2]]},{}],"none":[],"m":{"k":null}}"#,
        );
        let expected = "id: a\ntitle: A first step\nnum: 5\nf: 1.0e+3\n\"on\": true\ntasks:\n  - t: x\n    l:\n      - 1\n      - - 2\n  - {}\nnone: []\nm:\n  k: null\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn texts_that_some_reader_takes_for_something_else_are_quoted() {
        for text in [
            "no",
            "Yes",
            "12:30",
            "1_000",
            "2026-11-22",
            "0755",
            "~",
            "",
            "null",
            "-",
            "a: b",
            "a #b",
            "=",
            "<<",
            "0x1f",
            "1e3",
            ".5",
            "&a",
            "*a",
            "!a",
            "%",
            "@",
            "`",
            " a",
            "a ",
            "- a",
            "? a",
            "\u{feff}a",
            "\u{85}",
            "a\tb",
        ] {
            let json = serde_json::json!({ "k": text, text: 1 }).to_string();
            let yaml = back(&json);
            assert!(yaml.contains("k: \""), "{yaml}");
        }
    }

    #[test]
    fn several_lines_are_a_block_where_that_is_safe() {
        assert_eq!(back(r#"{"k":"one\n\n  two\n"}"#), "k: |\n  one\n\n    two\n");
        assert_eq!(back(r#"{"k":["one\ntwo"]}"#), "k:\n  - |-\n    one\n    two\n");
        for text in ["one\n\n", "\none", " one\ntwo", "one \ntwo", "one\r\ntwo", "\n", "one\ntwo\n\n"] {
            assert!(back(&serde_json::json!({ "k": text }).to_string()).contains("k: \""), "{text:?}");
        }
    }

    #[test]
    fn long_keys_are_read_back() {
        back(&serde_json::json!({ "k".repeat(2000): { "é".repeat(2000): [1] } }).to_string());
    }
}
