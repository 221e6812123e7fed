//! The JSON that most rows hold, read in one pass. What is not plain, a flaw above all, is left to the full reader: it
//! finds the words for it.

use std::collections::HashSet;

use super::{DEPTH_LIMIT, Number, Value};
use crate::word::{below_blank, equal_to, first};

/// More keys than this are looked up, not compared with each other.
const COMPARED: usize = 16;

/// The value of a text, exactly as the full reader has it; `None` where only that one can tell.
pub(super) fn read(text: &str) -> Option<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_space();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Goes past the next character that is no space, where it is this one.
    fn takes(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())?;
        Some(value)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_space();
        match self.peek()? {
            b'{' => self.mapping(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(Value::Text),
            b't' => self.word("true", Value::Flag(true)),
            b'f' => self.word("false", Value::Flag(false)),
            b'n' => self.word("null", Value::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn mapping(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut entries: Vec<(String, Value)> = Vec::new();
        // What is in it may be as deep as the limit, not deeper.
        if depth >= DEPTH_LIMIT {
            return None;
        }
        if !self.takes(b'}') {
            loop {
                self.skip_space();
                let key = (self.peek() == Some(b'"')).then(|| self.string())??;
                let value = self.takes(b':').then(|| self.value(depth + 1))??;
                entries.push((key, value));
                if self.takes(b'}') {
                    break;
                }
                self.takes(b',').then_some(())?;
            }
        }
        is_each_once(&entries).then_some(Value::Mapping(entries))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut items = Vec::new();
        if depth >= DEPTH_LIMIT {
            return None;
        }
        if !self.takes(b']') {
            loop {
                items.push(self.value(depth + 1)?);
                if self.takes(b']') {
                    break;
                }
                self.takes(b',').then_some(())?;
            }
        }
        Some(Value::List(items))
    }

    fn number(&mut self) -> Option<Value> {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let length = rest.bytes().take_while(is_part).count();
        self.at += length;
        Number::from_json(&rest[..length]).map(Value::Number)
    }

    /// From one quote to the other.
    fn string(&mut self) -> Option<String> {
        let start = self.at + 1;
        let end = start + special(&self.text.as_bytes()[start..])?;
        self.at = end + 1;
        if self.text.as_bytes()[end] == b'"' {
            return Some(self.text[start..end].to_owned());
        }
        self.at = end;
        self.escaped(self.text[start..end].to_owned())
    }

    /// The rest of a text in which a backslash stands.
    fn escaped(&mut self, mut content: String) -> Option<String> {
        loop {
            let start = self.at;
            self.at += special(&self.text.as_bytes()[start..])?;
            content.push_str(&self.text[start..self.at]);
            self.at += 1;
            match self.text.as_bytes()[self.at - 1] {
                b'"' => return Some(content),
                b'\\' => {}
                _ => return None,
            }
            let escape = self.peek()?;
            self.at += 1;
            content.push(match escape {
                b'"' | b'\\' | b'/' => char::from(escape),
                b'b' => '\x08',
                b'f' => '\x0c',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.code()?,
                _ => return None,
            });
        }
    }

    /// Four digits that are a character. Halves of one, and the one that no text may have, are the full reader's matter.
    fn code(&mut self) -> Option<char> {
        let digits = self.text.get(self.at..self.at + 4)?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
        self.at += 4;
        char::from_u32(u32::from_str_radix(digits, 16).ok()?).filter(|character| *character != '\0')
    }
}

/// Where the next quote, backslash or control character stands.
fn special(bytes: &[u8]) -> Option<usize> {
    first(bytes, |word| equal_to(word, b'"') | equal_to(word, b'\\') | below_blank(word))
}

fn is_each_once(entries: &[(String, Value)]) -> bool {
    if entries.len() > COMPARED {
        let mut seen = HashSet::with_capacity(entries.len());
        return entries.iter().all(|(key, _)| seen.insert(key.as_str()));
    }
    entries.iter().enumerate().all(|(number, (key, _))| entries[..number].iter().all(|(before, _)| before != key))
}

#[cfg(test)]
mod tests;
