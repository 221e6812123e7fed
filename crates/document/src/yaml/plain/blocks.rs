//! Block mappings and lists.

use std::borrow::Cow;

use crate::scalar;
use crate::tree::Shape;

use super::{LONGEST_KEY, MOST_ENTRIES, Reader, Sink, Spot};

/// What a value stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    Mapping,
    List,
}

impl<'t, S: Sink<'t>> Reader<'t, S> {
    /// A block mapping, whose first key is next.
    pub(super) fn mapping(&mut self) -> Option<()> {
        self.deeper(|reader| {
            let (indent, base) = (reader.column(), reader.keys.len());
            reader.sink.start(Shape::Mapping, reader.spot());
            loop {
                reader.key(base)?;
                reader.value(indent, Parent::Mapping)?;
                if reader.is_done() || reader.column() < indent {
                    break;
                }
                if reader.column() > indent {
                    return None;
                }
            }
            reader.keys.truncate(base);
            reader.sink.end();
            Some(())
        })
    }

    /// A block list, whose first dash is next.
    fn list(&mut self, parent: Parent) -> Option<()> {
        self.deeper(|reader| {
            let (indent, mut spot) = (reader.column(), reader.spot());
            if parent == Parent::Mapping {
                // The place that the full parser gives a list that stands as far left as its key: its first item's.
                spot.at += 1 + reader.rest()[1..].iter().take_while(|&&byte| byte == b' ').count();
            }
            reader.sink.start(Shape::List, spot);
            loop {
                reader.at += 1;
                if reader.byte() != Some(b' ') {
                    return None;
                }
                reader.skip_blanks();
                if reader.is_key()? {
                    reader.mapping()?;
                } else {
                    reader.value(indent, Parent::List)?;
                }
                if reader.is_done() || reader.column() < indent {
                    break;
                }
                if reader.column() > indent {
                    return None;
                }
                if !reader.is_dash() {
                    // Only a list that stands as far left as its key may end here.
                    if parent == Parent::Mapping {
                        break;
                    }
                    return None;
                }
            }
            reader.sink.end();
            Some(())
        })
    }

    fn is_dash(&self) -> bool {
        self.byte() == Some(b'-') && matches!(self.bytes.get(self.at + 1), None | Some(b' ' | b'\n'))
    }

    /// Whether what is next is a key and a colon.
    fn is_key(&mut self) -> Option<bool> {
        match self.byte()? {
            b'"' | b'\'' => {
                let at = self.at;
                self.quoted()?;
                let is_key = self.byte() == Some(b':');
                self.at = at;
                Some(is_key)
            }
            b'[' | b'{' | b'|' => Some(false),
            _ => Some(self.colon().is_some()),
        }
    }

    /// Where the colon of a plain key is. Keys are short: a loop is faster than a search.
    fn colon(&self) -> Option<usize> {
        let line = self.rest();
        let mut before = 0;
        for (at, &byte) in line.iter().enumerate() {
            if byte == b':' && line.get(at + 1).is_none_or(|&byte| byte == b' ') {
                return Some(self.at + at);
            }
            if byte == b'#' && before == b' ' {
                return None;
            }
            before = byte;
        }
        None
    }

    /// A key and its colon, unless the mapping whose keys begin at `base` has it already.
    fn key(&mut self, base: usize) -> Option<()> {
        let (start, spot) = (self.at, self.spot());
        let first = self.byte()?;
        let is_quoted = matches!(first, b'"' | b'\'');
        let text = if is_quoted {
            // One with escapes is rare.
            let Cow::Borrowed(text) = self.quoted()? else { return None };
            text
        } else {
            let end = self.colon()?;
            if !self.may_begin_plain(first) || self.bytes[end - 1] == b' ' {
                return None;
            }
            self.at = end;
            &self.text[start..end]
        };
        if self.byte() != Some(b':') {
            return None;
        }
        self.at += 1;
        self.tell_key(text, !is_quoted, spot, base)
    }

    pub(super) fn tell_key(&mut self, text: &'t str, plain: bool, spot: Spot, base: usize) -> Option<()> {
        let siblings = &self.keys[base..];
        if text.len() > LONGEST_KEY || siblings.len() > MOST_ENTRIES || siblings.contains(&text) {
            return None;
        }
        if plain && scalar::key_flaw(text).is_some() {
            return None;
        }
        self.keys.push(text);
        self.sink.key(text, plain, spot);
        Some(())
    }

    /// The value after a colon or a dash, up to the next line that says something.
    fn value(&mut self, indent: usize, parent: Parent) -> Option<()> {
        if self.ends() {
            return if parent == Parent::Mapping { self.block_value(indent) } else { None };
        }
        if self.byte() != Some(b' ') && parent == Parent::Mapping {
            return None;
        }
        self.skip_blanks();
        match self.byte()? {
            b'|' => return self.literal(indent),
            b'[' | b'{' => self.flow()?,
            first => self.scalar(first)?,
        }
        self.end_line()
    }

    /// The value of a key that is the last of its line: on the lines below, or nothing.
    fn block_value(&mut self, indent: usize) -> Option<()> {
        // The full parser gives what is not there the place of its colon, and the sign for it.
        let mut empty = self.spot();
        empty.at -= 1;
        self.next_line()?;
        if !self.is_done() {
            if self.is_dash() && self.column() >= indent {
                let parent = if self.column() == indent { Parent::Mapping } else { Parent::List };
                return self.list(parent);
            }
            if self.column() > indent {
                return self.mapping();
            }
        }
        self.sink.scalar(Cow::Borrowed("~"), true, empty);
        Some(())
    }
}
