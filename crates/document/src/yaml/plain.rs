//! The plain subset of YAML that nearly every milestone is written in, read line by line.
//!
//! The reader either tells exactly what the full parser tells, places and all, or abstains. So it knows no errors and
//! guesses nothing: what is not certain here is the full parser's. That the two agree is held by a comparison over
//! generated and mutated texts (`tests`). Who listens makes a tree of it ([`read`]), or only gathers what figures need
//! ([`gather`]).
//!
//! Read are: block mappings and lists, flow ones within a line, plain and quoted scalars within a line, literal texts (`|`,
//! `|-`), comments. Left to the full parser are, among others: tabs, carriage returns, anchors, aliases, tags, directives,
//! several documents, folded texts, values that go over several lines, and what not every store keeps, which it finds the words for.

mod blocks;
mod flow;
mod scalars;
mod tree;

use std::borrow::Cow;

use crate::document::Document;
use crate::gathered::{Gathered, Gatherer};
use crate::tree::Shape;
use crate::word::{any, below_blank, equal_to};

/// Longer texts are left to the full parser: its limits need not be counted here.
const LONGEST: usize = 256 << 10;

/// Deeper nesting is left to the full parser.
const DEEPEST: usize = 32;

/// The longest key: YAML allows 1024 characters where no `?` stands before it.
const LONGEST_KEY: usize = 256;

/// Entries of a mapping, beyond which keys that stand twice are the full parser's to find.
const MOST_ENTRIES: usize = 64;

/// Reads a document, or abstains.
pub(super) fn read(text: &str) -> Option<Document<'_>> {
    let mut reader = Reader::new(text, tree::Builder::new(text))?;
    reader.document()?;
    reader.sink.finish()
}

/// Gathers what figures and indexes need of a document, or abstains.
pub(super) fn gather(text: &str) -> Option<Gathered<'_>> {
    let mut reader = Reader::new(text, Gatherer::default())?;
    reader.document()?;
    Some(reader.sink.finish())
}

/// Who is told what stands in a document, in the order of the text.
trait Sink<'t> {
    /// A list or mapping begins.
    fn start(&mut self, shape: Shape, spot: Spot);
    /// It ends.
    fn end(&mut self);
    /// A key of the innermost mapping. It is none that the mapping has already.
    fn key(&mut self, text: &'t str, plain: bool, spot: Spot);
    /// A scalar that is no key.
    fn scalar(&mut self, text: Cow<'t, str>, plain: bool, spot: Spot);
}

impl<'t> Sink<'t> for Gatherer<'t> {
    fn start(&mut self, shape: Shape, _: Spot) {
        Self::start(self, shape);
    }

    fn end(&mut self) {
        Self::end(self);
    }

    fn key(&mut self, text: &'t str, _: bool, _: Spot) {
        Self::key(self, text);
    }

    fn scalar(&mut self, text: Cow<'t, str>, plain: bool, _: Spot) {
        Self::scalar(self, text, plain);
    }
}

/// A place in the text.
#[derive(Debug, Clone, Copy)]
struct Spot {
    /// The number of its line, from 1.
    line: u32,
    /// Where its line starts.
    start: usize,
    at: usize,
}

/// Characters that break lines or are no text, for YAML 1.1 or 1.2.
fn is_special(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Whether a text has control characters other than the ends of lines.
fn has_controls(text: &str) -> bool {
    any(text.as_bytes(), |word| below_blank(word) & !equal_to(word, b'\n') | equal_to(word, 0x7f))
}

/// The line that is read. All are offsets in the text.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    /// Its number, from 1; 0 before the first one.
    number: u32,
    start: usize,
    /// Where its newline or the end of the text is.
    end: usize,
}

struct Reader<'t, S> {
    text: &'t str,
    bytes: &'t [u8],
    sink: S,
    /// Keys of the mappings that are open, the innermost one's last.
    keys: Vec<&'t str>,
    line: Line,
    /// The byte that comes next; it is within the line.
    at: usize,
    depth: usize,
    has_begun: bool,
}

impl<'t, S: Sink<'t>> Reader<'t, S> {
    fn new(text: &'t str, sink: S) -> Option<Self> {
        if text.len() > LONGEST || has_controls(text) || !text.is_ascii() && text.chars().any(is_special) {
            return None;
        }
        let keys = Vec::with_capacity(32);
        Some(Self {
            text,
            bytes: text.as_bytes(),
            sink,
            keys,
            line: Line::default(),
            at: 0,
            depth: 0,
            has_begun: false,
        })
    }

    fn document(&mut self) -> Option<()> {
        self.line.end = usize::MAX;
        self.next_line()?;
        if self.column() == 0 && self.rest() == b"---" {
            self.has_begun = true;
            self.next_line()?;
        }
        self.has_begun = true;
        if self.is_done() || self.column() != 0 {
            return None;
        }
        self.mapping()?;
        self.is_done().then_some(())
    }

    fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn byte(&self) -> Option<u8> {
        self.bytes[..self.line.end].get(self.at).copied()
    }

    fn rest(&self) -> &'t [u8] {
        &self.bytes[self.at..self.line.end]
    }

    /// How far the next byte is from the start of its line, in bytes.
    fn column(&self) -> usize {
        self.at - self.line.start
    }

    /// Where the next byte is.
    fn spot(&self) -> Spot {
        Spot { line: self.line.number, start: self.line.start, at: self.at }
    }

    /// Goes to the first line after this one, whatever is in it. `false` at the end of the text.
    fn any_line(&mut self) -> bool {
        let start = if self.line.number == 0 { 0 } else { self.line.end + 1 };
        if start >= self.bytes.len() {
            (self.at, self.line.end) = (self.bytes.len(), self.bytes.len());
            return false;
        }
        let end = memchr::memchr(b'\n', &self.bytes[start..]).map_or(self.bytes.len(), |length| start + length);
        self.line = Line { number: self.line.number + 1, start, end };
        self.at = start;
        true
    }

    /// Goes to the first byte of the next line that says something.
    fn next_line(&mut self) -> Option<()> {
        while self.any_line() {
            self.skip_blanks();
            match self.byte() {
                None | Some(b'#') => {}
                Some(_) => {
                    // The ends of documents, which may stand wherever a line begins.
                    let marks_document = self.column() == 0 && matches!(self.rest().get(..3), Some(b"---" | b"..."));
                    let is_first = !self.has_begun && self.rest() == b"---";
                    return (!marks_document || is_first).then_some(());
                }
            }
        }
        Some(())
    }

    fn skip_blanks(&mut self) {
        while self.byte() == Some(b' ') {
            self.at += 1;
        }
    }

    /// Whether nothing but a comment follows in the line.
    fn ends(&self) -> bool {
        let mut at = self.at;
        while at < self.line.end && self.bytes[at] == b' ' {
            at += 1;
        }
        at == self.line.end || (self.bytes[at] == b'#' && at > self.at)
    }

    /// Goes on after a value that has to be the last of its line.
    fn end_line(&mut self) -> Option<()> {
        if self.ends() { self.next_line() } else { None }
    }

    fn deeper(&mut self, work: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }
}

#[cfg(test)]
mod tests;
