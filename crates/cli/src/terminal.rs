//! Printing: colours only for people, widths of the terminal, and no complaint when the reader of a pipe has gone.

use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;

use milescale_document::text::{glimpse, harmless, is_harmful};
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

/// A text that may be printed: what others wrote has escapes in the place of control characters, milescale's own colours stay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(String);

impl Line {
    /// The same with another text behind it.
    pub(crate) fn then(mut self, text: impl Into<Self>) -> Self {
        self.0.push_str(&text.into().0);
        self
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self(harmless(text))
    }
}

impl From<&String> for Line {
    fn from(text: &String) -> Self {
        Self(harmless(text))
    }
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
    pub(crate) fn paint(&self, style: Style, text: &str) -> Line {
        let Line(text) = text.into();
        if !self.colour {
            return Line(text);
        }
        let code = match style {
            Style::Heading => "1",
            Style::Good => "32",
            Style::Attention => "33",
            Style::Bad => "31",
        };
        Line(format!("\x1b[{code}m{text}\x1b[0m"))
    }

    /// A line that is to stay one line: cut to the terminal's width; in a pipe whole.
    pub(crate) fn fit(&self, text: &str) -> String {
        let text = harmless(text);
        match self.width {
            Some(width) if text.width() > width => cut(&text, width),
            _ => text,
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

/// Prints a line: one, whatever the text is.
pub(crate) fn line(text: impl Into<Line>) {
    let Line(mut line) = text.into();
    line.push('\n');
    bytes(line.as_bytes());
}

/// What may hold a password among the arguments, where it belongs or by mistake: no error repeats it.
static SECRETS: LazyLock<Vec<Secret>> =
    LazyLock::new(|| std::env::args_os().flat_map(|it| secrets_in(&it.to_string_lossy())).collect());

/// A text that no error repeats, and what stands there for it.
type Secret = (String, String);

/// An argument whole that may be an address with a password, in whatever spelling; then what is its password, which may stand elsewhere
/// too.
fn secrets_in(argument: &str) -> Vec<Secret> {
    let value = argument.strip_prefix("--").and_then(|it| it.split_once('=')).map_or(argument, |(_, value)| value);
    let after_scheme = value.split_once("://").map_or(value, |(_, rest)| rest);
    let has_credentials = after_scheme.rsplit_once('@').is_some_and(|(credentials, _)| credentials.contains(':'));
    let may_be_one = !value.starts_with(['/', '.']) && (has_credentials || value.contains('='));
    let whole = may_be_one.then(|| (value.to_owned(), glimpse(value)));
    let of_url = argument.split_once("://").map(|(_, rest)| rest).and_then(|rest| Some(rest.rsplit_once('@')?.0));
    let of_url = of_url.and_then(|credentials| Some(credentials.split_once(':')?.1));
    let of_words = argument.split("password").skip(1).filter_map(|it| it.trim_start().strip_prefix('='));
    let of_words = of_words.filter_map(|it| it.trim_start_matches([' ', '\'']).split([' ', '&', '\'']).next());
    let passwords = of_url.into_iter().chain(of_words).filter(|it| !it.is_empty());
    whole.into_iter().chain(passwords.map(|it| (it.to_owned(), "…".to_owned()))).collect()
}

/// A text without those passwords.
fn without_secrets(text: &str, secrets: &[Secret]) -> String {
    secrets.iter().fold(text.to_owned(), |text, (secret, shown)| text.replace(secret.as_str(), shown))
}

/// What is wrong with the arguments. Its exit status.
pub(crate) fn wrong_arguments(error: &clap::Error) -> i32 {
    // Names of a clone get among the arguments by the shell: what clap repeats of them is shown as it is everywhere.
    let is_harmless = |argument: std::ffi::OsString| !argument.to_string_lossy().chars().any(is_harmful);
    if error.use_stderr() && (!SECRETS.is_empty() || !std::env::args_os().all(is_harmless)) {
        let text = without_secrets(&error.render().to_string(), &SECRETS);
        let _ = write!(io::stderr(), "{}", harmless_lines(&text));
    } else {
        let _ = error.print();
    }
    error.exit_code()
}

/// A text of several lines in which all but their ends is harmless.
fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// Prints JSON that is written already. What could do something to a terminal stands in strings only, and is escaped there.
pub(crate) fn json_text(text: &str) {
    json_by(|out| out.write_all(text.as_bytes()));
}

/// Exit status of a program that SIGPIPE ends, as shells give it.
const BROKEN_PIPE: i32 = 128 + 13;

/// Prints bytes as they are. A closed pipe ends the program without a word and with the status that `cat` has then.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        drop(stdout);
        not_printed(&error);
    }
}

fn not_printed(error: &io::Error) -> ! {
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(BROKEN_PIPE);
    }
    self::error(&format!("standard output: {error}"));
    std::process::exit(1);
}

/// Prints a document: as it is where a program reads it; on a terminal with escapes in the place of what does something to that.
pub(crate) fn document(text: &[u8]) {
    if !io::stdout().is_terminal() {
        return bytes(text);
    }
    let text = String::from_utf8_lossy(text);
    bytes(text.split('\t').map(harmless_lines).collect::<Vec<_>>().join("\t").as_bytes());
}

/// Prints an object as JSON over several lines.
pub(crate) fn json(object: &impl Serialize) {
    json_by(|out| Ok(serde_json::to_writer_pretty(out, object)?));
}

/// Prints an object as JSON on one line.
pub(crate) fn json_line(object: &impl Serialize) {
    json_by(|out| Ok(serde_json::to_writer(out, object)?));
}

/// Prints JSON straight to where it goes: a list may be long.
fn json_by(write: impl FnOnce(&mut Harmless<io::BufWriter<io::StdoutLock<'static>>>) -> io::Result<()>) {
    let mut out = Harmless(io::BufWriter::new(io::stdout().lock()));
    if let Err(error) = write(&mut out).and_then(|()| out.0.write_all(b"\n")).and_then(|()| out.0.flush()) {
        drop(out);
        not_printed(&error);
    }
}

/// JSON on its way out, in which what could do something to a terminal becomes an escape. It comes in pieces that are whole texts.
struct Harmless<W>(W);

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece).map(|()| piece.len())
    }

    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        let text = std::str::from_utf8(piece).map_err(io::Error::other)?;
        let mut rest = text;
        while let Some((at, character)) = rest.char_indices().find(|(_, it)| *it != '\n' && is_harmful(*it)) {
            self.0.write_all(&rest.as_bytes()[..at])?;
            write!(self.0, "\\u{:04x}", u32::from(character))?;
            rest = &rest[at + character.len_utf8()..];
        }
        self.0.write_all(rest.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Lines beside standard output that say how far something is: on a terminal each takes the place of the one before.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) is_terminal: bool,
    /// A line stands there that another one may take the place of.
    open: bool,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), open: false }
    }

    /// Writes a line that the next one may take the place of.
    pub(crate) fn passing(&mut self, text: &str) {
        if !self.is_terminal {
            return self.line(text);
        }
        self.open = true;
        let mut err = io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{}", harmless(text));
        let _ = err.flush();
    }

    /// Writes a line that stays.
    pub(crate) fn line(&mut self, text: &str) {
        self.end();
        let _ = writeln!(io::stderr(), "{}", harmless(text));
    }

    /// Ends the line that stands there.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = writeln!(io::stderr());
        }
    }
}

/// Whether there is a person to ask.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a person. Without a terminal nobody is there to answer.
pub(crate) fn asked(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{question} There is no terminal to ask on: say --yes")));
    }
    let _ = write!(io::stderr(), "{} [y/N] ", harmless_lines(question));
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
    let _ = write!(io::stderr(), "{}\n[{}] ", harmless_lines(question), words.join("/"));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    Ok(words.iter().find(|word| read.is_ok() && answer.trim() == **word).copied())
}

/// Prints an error or warning for people; it may have several lines.
pub(crate) fn error(message: &str) {
    let _ = writeln!(io::stderr(), "milescale: {}", harmless_lines(&without_secrets(message, &SECRETS)));
}

#[cfg(test)]
mod tests {
    use super::{Line, Screen, Style, cut, secrets_in, without_secrets};

    #[test]
    fn a_password_among_the_arguments_is_not_repeated() {
        for argument in [
            "postgresql://ada:s3cret@host/d",
            "--engine=postgresql://ada:s3@cret@host/d",
            "host=h password = 's3cret' dbname=d",
            "host=h password='s3 cret' dbname=d",
            r"host=h password=s3\ cret",
            r"host=h password='s3\'cret'",
            "host=h PASSWORD=s3cret",
            "postgres:ada:s3cret@host/d",
            "postgresql://h/d?user=u&password=s3cret&x=1",
            "postgresql://h/d?pass%77ord=s3cret",
        ] {
            let secrets = secrets_in(argument);
            let value = argument.strip_prefix("--engine=").unwrap_or(argument);
            let shown = without_secrets(&format!("invalid value '{value}' for"), &secrets);
            assert!(!shown.contains("s3") && !shown.contains("cret") && shown.ends_with("' for"), "{shown}");
        }
        for (argument, password) in [
            ("postgresql://ada:s3cret@host/d", "s3cret"),
            ("--engine=postgresql://ada:s3@cret@host/d", "s3@cret"),
            ("host=h password = 's3cret' dbname=d", "s3cret"),
        ] {
            let shown = without_secrets(&format!("the server says {password}"), &secrets_in(argument));
            assert_eq!(shown, "the server says …", "{argument}");
        }
        assert!(["m-1", "postgresql://ada@host/d", "a: b"].iter().all(|it| secrets_in(it).is_empty()));
    }

    #[test]
    fn only_milescales_own_colours_reach_a_terminal() {
        let screen = Screen { colour: true, width: None };
        let Line(line) = screen.paint(Style::Bad, "a\u{1b}[32m\n").then(" b\u{202e}\u{9b}");
        assert_eq!(line, "\u{1b}[31ma\\u{1b}[32m\\n\u{1b}[0m b\\u{202e}\\u{9b}");
        assert_eq!(super::harmless_lines("a\u{7}\nb"), "a\\u{7}\nb");
    }

    #[test]
    fn cuts_by_what_characters_take_up() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("🔄🔄🔄", 4), "🔄…");
        assert_eq!(cut("é→ü→é→", 4), "é→ü…");
    }
}
