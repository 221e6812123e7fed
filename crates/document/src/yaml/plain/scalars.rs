//! Scalars: plain and quoted ones within a line, literal texts.

use std::borrow::Cow;

use crate::scalar;

use super::{Reader, Sink};

/// A plain scalar, if every store keeps it.
pub(super) fn kept(text: &str) -> Option<Cow<'_, str>> {
    scalar::flaw(text).is_none().then_some(Cow::Borrowed(text))
}

impl<'t, S: Sink<'t>> Reader<'t, S> {
    /// Whether a plain scalar may begin with a byte, given what follows.
    pub(super) fn may_begin_plain(&self, first: u8) -> bool {
        match first {
            b'-' => self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_alphanumeric),
            b'?' | b':' | b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
            | b'%' | b'@' | b'`' | b'=' | b'<' => false,
            _ => true,
        }
    }

    /// A quoted scalar, or a plain one to the end of the line.
    pub(super) fn scalar(&mut self, first: u8) -> Option<()> {
        let spot = self.spot();
        let is_quoted = matches!(first, b'"' | b'\'');
        let text = if is_quoted { self.quoted()? } else { kept(self.plain(first)?)? };
        self.sink.scalar(text, !is_quoted, spot);
        Some(())
    }

    /// A plain scalar to the end of the line.
    fn plain(&mut self, first: u8) -> Option<&'t str> {
        if !self.may_begin_plain(first) {
            return None;
        }
        let line = self.rest();
        let (mut from, mut end) = (0, line.len());
        while let Some(found) = memchr::memchr2(b':', b'#', &line[from..]) {
            let at = from + found;
            match line[at] {
                b':' if line.get(at + 1).is_none_or(|&byte| byte == b' ') => return None,
                b'#' if line[at - 1] == b' ' => {
                    end = at;
                    break;
                }
                _ => from = at + 1,
            }
        }
        while line[end - 1] == b' ' {
            end -= 1;
        }
        let start = self.at;
        self.at += end;
        Some(&self.text[start..self.at])
    }

    /// A quoted scalar within the line.
    pub(super) fn quoted(&mut self) -> Option<Cow<'t, str>> {
        let quote = self.byte()?;
        let start = self.at + 1;
        let other = if quote == b'"' { b'\\' } else { quote };
        let length = memchr::memchr2(quote, other, &self.bytes[start..self.line.end])?;
        let end = start + length;
        let is_whole = self.bytes[end] == quote && (quote == b'"' || self.bytes.get(end + 1) != Some(&b'\''));
        if is_whole {
            self.at = end + 1;
            return Some(Cow::Borrowed(&self.text[start..end]));
        }
        self.unescaped(start, quote).map(Cow::Owned)
    }

    /// The text of a quoted scalar with escapes.
    fn unescaped(&mut self, start: usize, quote: u8) -> Option<String> {
        let (mut text, mut from, mut at) = (String::new(), start, start);
        loop {
            let byte = *self.bytes[..self.line.end].get(at)?;
            let next = self.bytes[..self.line.end].get(at + 1).copied();
            let stands_for = match (quote, byte) {
                (b'\'', b'\'') if next == Some(b'\'') => "'",
                (b'"', b'\\') => match next? {
                    b'"' => "\"",
                    b'\\' => "\\",
                    b'/' => "/",
                    b'n' => "\n",
                    b't' => "\t",
                    _ => return None,
                },
                _ if byte == quote => break,
                _ => {
                    at += 1;
                    continue;
                }
            };
            text.push_str(&self.text[from..at]);
            text.push_str(stands_for);
            at += 2;
            from = at;
        }
        text.push_str(&self.text[from..at]);
        self.at = at + 1;
        Some(text)
    }

    /// A literal text, whose `|` is next.
    pub(super) fn literal(&mut self, indent: usize) -> Option<()> {
        let mut spot = self.spot();
        let strips = match self.rest() {
            b"|" => false,
            b"|-" => true,
            _ => return None,
        };
        let (mut text, mut depth, mut empty) = (String::new(), 0, 0);
        loop {
            if !self.any_line() {
                break;
            }
            if self.line.end == self.line.start {
                empty += 1;
                continue;
            }
            self.skip_blanks();
            // Blanks alone, and a last line without its end: readers differ.
            if self.at == self.line.end || self.line.end == self.bytes.len() {
                return None;
            }
            if depth == 0 && self.column() > indent {
                (depth, spot) = (self.column(), self.spot());
            }
            if depth == 0 || self.column() < depth {
                break;
            }
            text.extend(std::iter::repeat_n('\n', empty));
            empty = 0;
            text.push_str(&self.text[self.line.start + depth..self.line.end]);
            text.push('\n');
        }
        if depth == 0 {
            return None;
        }
        if strips {
            text.pop();
        }
        self.sink.scalar(Cow::Owned(text), false, spot);
        self.after_literal()
    }

    /// The line after a literal text has been reached: goes to one that says something.
    fn after_literal(&mut self) -> Option<()> {
        if self.is_done() {
            return Some(());
        }
        if self.byte() == Some(b'#') {
            return self.next_line();
        }
        (self.column() != 0 || !matches!(self.rest().get(..3), Some(b"---" | b"..."))).then_some(())
    }
}
