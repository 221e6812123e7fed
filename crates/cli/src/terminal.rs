//! Printing: colours only for people, widths of the terminal, and no complaint when the reader of a pipe has gone.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::context::Failure;

/// What a piece of text means, and so its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Heading,
    Good,
    Attention,
    Bad,
}

/// Standard output, as it is.
#[derive(Debug)]
pub(crate) struct Screen {
    colour: bool,
    width: Option<usize>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        Self { colour: is_terminal && !no_colour && !dumb, width: width.filter(|width| is_terminal && *width >= 20) }
    }

    /// The text in its colour, where colours are welcome.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match style {
            Style::Heading => "1",
            Style::Good => "32",
            Style::Attention => "33",
            Style::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A line that is to stay one line: cut to the terminal's width; in a pipe whole.
    pub(crate) fn fit(&self, text: &str) -> String {
        match self.width {
            Some(width) if text.width() > width => cut(text, width),
            _ => text.to_owned(),
        }
    }
}

fn cut(text: &str, width: usize) -> String {
    let mut used = 0;
    let kept: String = text
        .chars()
        .take_while(|character| {
            used += character.width().unwrap_or(0);
            used < width
        })
        .collect();
    kept + "…"
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    let mut line = text.as_bytes().to_vec();
    line.push(b'\n');
    bytes(&line);
}

/// Exit status of a program that SIGPIPE ends, as shells give it.
const BROKEN_PIPE: i32 = 128 + 13;

/// Prints bytes as they are. A closed pipe ends the program without a word and with the status that `cat` has then.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(BROKEN_PIPE);
        }
        self::error(&format!("standard output: {error}"));
        std::process::exit(1);
    }
}

/// Prints an object as JSON over several lines.
pub(crate) fn json(object: &impl Serialize) {
    match serde_json::to_string_pretty(object) {
        Ok(text) => line(&text),
        Err(error) => self::error(&error.to_string()),
    }
}

/// Prints an object as JSON on one line.
pub(crate) fn json_line(object: &impl Serialize) {
    match serde_json::to_string(object) {
        Ok(text) => line(&text),
        Err(error) => self::error(&error.to_string()),
    }
}

/// Asks a person. Without a terminal nobody is there to answer.
pub(crate) fn asked(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{question} There is no terminal to ask on: say --yes")));
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Asks a person for one of these words, which no option can answer; `None` for anything else.
pub(crate) fn chosen<'a>(question: &str, words: &[&'a str]) -> Result<Option<&'a str>, Failure> {
    if !io::stdin().is_terminal() {
        let why = "This is asked on a terminal only: no program can know";
        return Err(Failure::Usage(format!("{question}\n{why}")));
    }
    let _ = write!(io::stderr(), "{question}\n[{}] ", words.join("/"));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    Ok(words.iter().find(|word| read.is_ok() && answer.trim() == **word).copied())
}

/// Prints an error or warning for people.
pub(crate) fn error(message: &str) {
    let _ = writeln!(io::stderr(), "milescale: {message}");
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cuts_by_what_characters_take_up() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("🔄🔄🔄", 4), "🔄…");
        assert_eq!(cut("é→ü→é→", 4), "é→ü…");
    }
}
