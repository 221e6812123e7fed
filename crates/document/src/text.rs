//! Texts from outside.

/// Whether a character does something to a terminal or to the order of a line's other characters.
pub fn is_harmful(character: char) -> bool {
    const DIRECTIONS: [char; 12] = [
        '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}',
        '\u{2067}', '\u{2068}', '\u{2069}',
    ];
    character.is_control() || DIRECTIONS.contains(&character)
}

/// A text as it may stand on a terminal and in a line: control characters, and those that turn the direction of text, become
/// escapes.
pub fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            harmless.extend(character.escape_default());
        } else {
            harmless.push(character);
        }
    }
    harmless
}

/// A count with what is counted, as `1 file belongs` or `2 files belong`.
pub fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_characters_become_escapes_and_all_else_stays() {
        assert_eq!(super::harmless("a\n\u{1b}[2J é🔄 \u{9b}"), "a\\n\\u{1b}[2J é🔄 \\u{9b}");
        assert_eq!(super::harmless("a\u{202e}b\u{7f}"), "a\\u{202e}b\\u{7f}");
    }
}
