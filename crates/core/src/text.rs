//! Texts from outside.

/// A text as it may stand on a terminal and in a line: control characters become escapes.
pub fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            harmless.extend(character.escape_default());
        } else {
            harmless.push(character);
        }
    }
    harmless
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_characters_become_escapes_and_all_else_stays() {
        assert_eq!(super::harmless("a\n\u{1b}[2J é🔄 \u{9b}"), "a\\n\\u{1b}[2J é🔄 \\u{9b}");
    }
}
