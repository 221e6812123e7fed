//! The plain subset of YAML that nearly every milestone is written in, read line by line.
//!
//! The reader either gives exactly what the full parser gives, nodes, places and all, or abstains. So it knows no errors
//! and guesses nothing: what is not certain here is the full parser's. That the two agree is held by a comparison over
//! generated and mutated texts (`tests`).
//!
//! Read are: block mappings and lists, flow ones within a line, plain and quoted scalars within a line, literal texts (`|`,
//! `|-`), comments. Left to the full parser are, among others: tabs, carriage returns, anchors, aliases, tags, directives,
//! several documents, folded texts, values that go over several lines.

use std::borrow::Cow;

use milescale_core::document::{Content, Document, Node, NodeId, Position};

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
    if text.len() > LONGEST || !text.bytes().all(|byte| (byte >= b' ' && byte != 0x7f) || byte == b'\n') {
        return None;
    }
    let is_ascii = text.is_ascii();
    if !is_ascii && text.chars().any(is_special) {
        return None;
    }
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        is_ascii,
        nodes: Vec::with_capacity(text.len() / 16 + 8),
        waiting: Vec::with_capacity(64),
        line: Line::default(),
        at: 0,
        depth: 0,
    };
    let root = reader.document()?;
    Some(Document::new(reader.nodes, root, None))
}

/// Characters that break lines or are no text, for YAML 1.1 or 1.2.
fn is_special(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
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

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    is_ascii: bool,
    nodes: Vec<Node<'t>>,
    /// Children of the collections that are open, the innermost one's last.
    waiting: Vec<NodeId>,
    line: Line,
    /// The byte that comes next; it is within the line.
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Option<NodeId> {
        self.line.end = usize::MAX;
        self.next_line()?;
        if self.column() == 0 && self.rest() == b"---" {
            self.next_line()?;
        }
        if self.is_done() || self.column() != 0 {
            return None;
        }
        let root = self.mapping()?;
        self.is_done().then_some(root)
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

    fn position(&self) -> Position {
        let before = &self.bytes[self.line.start..self.at];
        let characters =
            if self.is_ascii { before.len() } else { before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() };
        Position { line: self.line.number, column: u32::try_from(characters + 1).unwrap_or(u32::MAX) }
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
                    let is_first = self.nodes.is_empty() && self.rest() == b"---";
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

    fn add(&mut self, content: Content<'t>, position: Position) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { content, position });
        id
    }

    fn scalar(&mut self, text: Cow<'t, str>, plain: bool, position: Position) -> NodeId {
        self.add(Content::Scalar { text, plain }, position)
    }

    fn deeper<R>(&mut self, work: impl FnOnce(&mut Self) -> Option<R>) -> Option<R> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }

    /// A block mapping, whose first key is next.
    fn mapping(&mut self) -> Option<NodeId> {
        self.deeper(|reader| {
            let indent = reader.column();
            let id = reader.add(Content::Mapping(Vec::new()), reader.position());
            let base = reader.waiting.len();
            loop {
                reader.key(base)?;
                let value = reader.value(indent, Parent::Mapping)?;
                reader.waiting.push(value);
                if reader.is_done() || reader.column() < indent {
                    break;
                }
                if reader.column() > indent {
                    return None;
                }
            }
            reader.close_mapping(id, base);
            Some(id)
        })
    }

    /// A block list, whose first dash is next.
    fn list(&mut self, parent: Parent) -> Option<NodeId> {
        self.deeper(|reader| {
            let indent = reader.column();
            let mut position = reader.position();
            if parent == Parent::Mapping {
                // The place that the full parser gives a list that stands as far left as its key: its first item's.
                let blanks = reader.rest()[1..].iter().take_while(|&&byte| byte == b' ').count();
                position.column += u32::try_from(1 + blanks).unwrap_or_default();
            }
            let id = reader.add(Content::Sequence(Vec::new()), position);
            let base = reader.waiting.len();
            loop {
                reader.at += 1;
                if reader.byte() != Some(b' ') {
                    return None;
                }
                reader.skip_blanks();
                let item = if reader.is_key()? { reader.mapping()? } else { reader.value(indent, Parent::List)? };
                reader.waiting.push(item);
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
            reader.close_list(id, base);
            Some(id)
        })
    }

    fn is_dash(&self) -> bool {
        self.byte() == Some(b'-') && matches!(self.bytes.get(self.at + 1), None | Some(b' ' | b'\n'))
    }

    /// Whether what is next is a key and a colon.
    fn is_key(&mut self) -> Option<bool> {
        match self.byte()? {
            b'"' | b'\'' => {
                let (at, count) = (self.at, self.nodes.len());
                self.quoted()?;
                let is_key = self.byte() == Some(b':');
                self.at = at;
                self.nodes.truncate(count);
                Some(is_key)
            }
            b'[' | b'{' | b'|' => Some(false),
            _ => Some(self.colon().is_some()),
        }
    }

    /// Where the colon of a plain key is.
    fn colon(&self) -> Option<usize> {
        let line = self.rest();
        let mut from = 0;
        while let Some(found) = memchr::memchr2(b':', b'#', &line[from..]) {
            let at = from + found;
            match line[at] {
                b':' if line.get(at + 1).is_none_or(|&byte| byte == b' ') => return Some(self.at + at),
                b'#' if at > 0 && line[at - 1] == b' ' => return None,
                _ => from = at + 1,
            }
        }
        None
    }

    /// A key and its colon, unless the mapping whose children begin at `base` has it already.
    fn key(&mut self, base: usize) -> Option<()> {
        let start = self.at;
        let id = match self.byte()? {
            b'"' | b'\'' => self.quoted()?,
            first => {
                let end = self.colon()?;
                if !self.may_begin_plain(first) || self.bytes[end - 1] == b' ' {
                    return None;
                }
                let position = self.position();
                self.at = end;
                self.scalar(Cow::Borrowed(&self.text[start..end]), true, position)
            }
        };
        if self.byte() != Some(b':') || self.at - start > LONGEST_KEY {
            return None;
        }
        self.at += 1;
        self.remember_key(id, base)
    }

    fn remember_key(&mut self, id: NodeId, base: usize) -> Option<()> {
        let siblings = &self.waiting[base..];
        let text = self.text_of(id);
        if siblings.len() > 2 * MOST_ENTRIES || siblings.iter().step_by(2).any(|&other| self.text_of(other) == text) {
            return None;
        }
        self.waiting.push(id);
        Some(())
    }

    fn text_of(&self, id: NodeId) -> &str {
        match &self.nodes[id.0 as usize].content {
            Content::Scalar { text, .. } => text,
            _ => "",
        }
    }

    /// The value after a colon or a dash, up to the next line that says something.
    fn value(&mut self, indent: usize, parent: Parent) -> Option<NodeId> {
        if self.ends() {
            return if parent == Parent::Mapping { self.block_value(indent) } else { None };
        }
        if self.byte() != Some(b' ') && parent == Parent::Mapping {
            return None;
        }
        self.skip_blanks();
        let id = match self.byte()? {
            b'|' => return self.literal(indent),
            b'[' | b'{' => self.flow()?,
            b'"' | b'\'' => self.quoted()?,
            first => self.plain(first)?,
        };
        self.end_line()?;
        Some(id)
    }

    /// The value of a key that is the last of its line: on the lines below, or nothing.
    fn block_value(&mut self, indent: usize) -> Option<NodeId> {
        // The full parser gives what is not there the place of its colon, and the sign for it.
        let mut empty = self.position();
        empty.column -= 1;
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
        Some(self.scalar(Cow::Borrowed("~"), true, empty))
    }

    /// Whether a plain scalar may begin with a byte, given what follows.
    fn may_begin_plain(&self, first: u8) -> bool {
        match first {
            b'-' => self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_alphanumeric),
            b'?' | b':' | b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
            | b'%' | b'@' | b'`' | b'=' | b'<' => false,
            _ => true,
        }
    }

    /// A plain scalar to the end of the line.
    fn plain(&mut self, first: u8) -> Option<NodeId> {
        if !self.may_begin_plain(first) {
            return None;
        }
        let (line, position) = (self.rest(), self.position());
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
        Some(self.scalar(Cow::Borrowed(&self.text[start..self.at]), true, position))
    }

    /// A quoted scalar within the line.
    fn quoted(&mut self) -> Option<NodeId> {
        let (position, quote) = (self.position(), self.byte()?);
        let start = self.at + 1;
        let other = if quote == b'"' { b'\\' } else { quote };
        let length = memchr::memchr2(quote, other, &self.bytes[start..self.line.end])?;
        let end = start + length;
        let is_whole = self.bytes[end] == quote && (quote == b'"' || self.bytes.get(end + 1) != Some(&b'\''));
        let text = if is_whole {
            self.at = end + 1;
            Cow::Borrowed(&self.text[start..end])
        } else {
            Cow::Owned(self.unescaped(start, quote)?)
        };
        Some(self.scalar(text, false, position))
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

    /// A flow collection or a scalar in one, within the line.
    fn flow(&mut self) -> Option<NodeId> {
        match self.byte()? {
            b'[' => self.deeper(Self::flow_list),
            b'{' => self.deeper(Self::flow_mapping),
            b'"' | b'\'' => self.quoted(),
            first => self.flow_plain(first),
        }
    }

    fn flow_list(&mut self) -> Option<NodeId> {
        let id = self.add(Content::Sequence(Vec::new()), self.position());
        let base = self.waiting.len();
        self.at += 1;
        self.skip_blanks();
        while self.byte()? != b']' {
            let item = self.flow()?;
            self.waiting.push(item);
            self.flow_comma(b']')?;
        }
        self.at += 1;
        self.close_list(id, base);
        Some(id)
    }

    fn flow_mapping(&mut self) -> Option<NodeId> {
        let id = self.add(Content::Mapping(Vec::new()), self.position());
        let base = self.waiting.len();
        self.at += 1;
        self.skip_blanks();
        while self.byte()? != b'}' {
            let start = self.at;
            let key = match self.byte()? {
                b'"' | b'\'' => self.quoted()?,
                first => self.flow_plain(first)?,
            };
            if self.byte()? != b':' || self.bytes.get(self.at + 1) != Some(&b' ') || self.at - start > LONGEST_KEY {
                return None;
            }
            self.remember_key(key, base)?;
            self.at += 1;
            self.skip_blanks();
            let value = self.flow()?;
            self.waiting.push(value);
            self.flow_comma(b'}')?;
        }
        self.at += 1;
        self.close_mapping(id, base);
        Some(id)
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

    fn flow_plain(&mut self, first: u8) -> Option<NodeId> {
        if !self.may_begin_plain(first) {
            return None;
        }
        let (line, position, start) = (self.rest(), self.position(), self.at);
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
        Some(self.scalar(Cow::Borrowed(&self.text[start..self.at]), true, position))
    }

    /// A literal text, whose `|` is next.
    fn literal(&mut self, indent: usize) -> Option<NodeId> {
        let mut position = self.position();
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
                (depth, position) = (self.column(), self.position());
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
        let id = self.scalar(Cow::Owned(text), false, position);
        self.after_literal()?;
        Some(id)
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

    fn close_list(&mut self, id: NodeId, base: usize) {
        let items = self.waiting[base..].to_vec();
        self.waiting.truncate(base);
        self.nodes[id.0 as usize].content = Content::Sequence(items);
    }

    fn close_mapping(&mut self, id: NodeId, base: usize) {
        let pairs = self.waiting[base..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        self.waiting.truncate(base);
        self.nodes[id.0 as usize].content = Content::Mapping(pairs);
    }
}

/// What a value stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    Mapping,
    List,
}

#[cfg(test)]
mod tests;
