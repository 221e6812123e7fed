//! Flow collections within a line.

use std::borrow::Cow;

use crate::tree::Shape;

use super::scalars::kept;
use super::{Reader, Sink};

impl<'t, S: Sink<'t>> Reader<'t, S> {
    /// A flow collection or a scalar in one, within the line.
    pub(super) fn flow(&mut self) -> Option<()> {
        let spot = self.spot();
        let (text, plain) = match self.byte()? {
            b'[' => return self.deeper(Self::flow_list),
            b'{' => return self.deeper(Self::flow_mapping),
            b'"' | b'\'' => (self.quoted()?, false),
            first => (kept(self.flow_plain(first)?)?, true),
        };
        self.sink.scalar(text, plain, spot);
        Some(())
    }

    fn flow_list(&mut self) -> Option<()> {
        self.sink.start(Shape::List, self.spot());
        self.at += 1;
        self.skip_blanks();
        while self.byte()? != b']' {
            self.flow()?;
            self.flow_comma(b']')?;
        }
        self.at += 1;
        self.sink.end();
        Some(())
    }

    fn flow_mapping(&mut self) -> Option<()> {
        self.sink.start(Shape::Mapping, self.spot());
        let base = self.keys.len();
        self.at += 1;
        self.skip_blanks();
        while self.byte()? != b'}' {
            let spot = self.spot();
            let (text, plain) = match self.byte()? {
                b'"' | b'\'' => match self.quoted()? {
                    Cow::Borrowed(text) => (text, false),
                    Cow::Owned(_) => return None,
                },
                first => (self.flow_plain(first)?, true),
            };
            if self.byte()? != b':' || self.bytes.get(self.at + 1) != Some(&b' ') {
                return None;
            }
            self.tell_key(text, plain, spot, base)?;
            self.at += 1;
            self.skip_blanks();
            self.flow()?;
            self.flow_comma(b'}')?;
        }
        self.at += 1;
        self.keys.truncate(base);
        self.sink.end();
        Some(())
    }

    /// What stands between two entries; or nothing, where `end` follows.
    fn flow_comma(&mut self, end: u8) -> Option<()> {
        self.skip_blanks();
        match self.byte()? {
            b',' => {
                self.at += 1;
                self.skip_blanks();
                // A comma before the end is allowed, and rare.
                (self.byte()? != end).then_some(())
            }
            byte => (byte == end).then_some(()),
        }
    }

    fn flow_plain(&mut self, first: u8) -> Option<&'t str> {
        if !self.may_begin_plain(first) {
            return None;
        }
        let (line, start) = (self.rest(), self.at);
        let mut end = 0;
        loop {
            match *line.get(end)? {
                b',' | b']' | b'}' => break,
                b'[' | b'{' | b'#' => return None,
                b':' => match line.get(end + 1)? {
                    b' ' => break,
                    b',' | b'[' | b']' | b'{' | b'}' => return None,
                    _ => {}
                },
                _ => {}
            }
            end += 1;
        }
        let is_key = line[end] == b':';
        while line[end - 1] == b' ' {
            if is_key {
                return None;
            }
            end -= 1;
        }
        self.at = start + end;
        Some(&self.text[start..self.at])
    }
}
