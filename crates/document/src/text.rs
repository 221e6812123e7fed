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

/// What is shown of a text that is not what was expected: an address with a password in it may stand anywhere by mistake. Up to 40
/// characters; of what may be one the first 12, up to any `:`, `@` or `=`.
pub fn glimpse(text: &str) -> String {
    let end = text.find([':', '@', '=']);
    let most = if end.is_some() { 12 } else { 40 };
    let cut: String = text[..end.unwrap_or(text.len())].chars().take(most).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", cut.escape_debug())
}

/// The beginning of what an error says: one may repeat all of what was read.
pub fn shortened(text: &str) -> String {
    const MOST: usize = 2000;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A count with what is counted, as `1 file belongs` or `2 files belong`.
pub fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// A word as a shell takes it, for a command that a person is to repeat: none of it is a command itself.
pub fn in_command(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+,:@%".contains(letter);
    if word.chars().all(is_plain) && !word.is_empty() {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_password_is_seen_at_a_glimpse() {
        for (text, shown) in [
            ("file", "file"),
            ("a word that is longer than what is shown of it", "a word that is longer than what is shown…"),
            ("postgresql://u:secret@host/d", "postgresql…"),
            ("u:secret@host", "u…"),
            ("averyverylongname@secret", "averyverylon…"),
            ("password=secret", "password…"),
        ] {
            assert_eq!(super::glimpse(text), shown);
        }
    }

    #[test]
    fn control_characters_become_escapes_and_all_else_stays() {
        assert_eq!(super::harmless("a\n\u{1b}[2J é🔄 \u{9b}"), "a\\n\\u{1b}[2J é🔄 \\u{9b}");
        assert_eq!(super::harmless("a\u{202e}b\u{7f}"), "a\\u{202e}b\\u{7f}");
    }
}
