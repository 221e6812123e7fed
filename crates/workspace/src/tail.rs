//! Reading the lines of a file from its end backwards.

use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use crate::folder::File;

/// The longest line that is read, in bytes; a longer one is [`Line::TooLong`].
pub const LINE_LIMIT: usize = 16 << 20;

const CHUNK: usize = 64 << 10;

/// Bytes at the end of a file that are looked through at most: one that somebody has made may be of any length.
const LOOKED_THROUGH: u64 = 256 << 20;

/// A line without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// The bytes.
    Whole(&'a [u8]),
    /// Longer than [`LINE_LIMIT`].
    TooLong,
}

impl<'a> Line<'a> {
    /// Its text, where it is one.
    pub fn text(&self) -> Option<&'a str> {
        let Self::Whole(bytes) = self else { return None };
        std::str::from_utf8(bytes).ok()
    }
}

/// The part of a line that follows the NULs which a power cut left in the place of lines before it.
pub fn after_nuls(line: &[u8]) -> &[u8] {
    memchr::memrchr(0, line).map_or(line, |last| &line[last + 1..])
}

/// Hands the lines of the first `end` bytes to `each`, last line first, each with the offset it begins at, until `each`
/// breaks. The piece after the last newline comes first, also when it is empty. A file that is cut shorter meanwhile
/// ends the reading early.
pub fn lines_backwards(
    file: &File,
    end: u64,
    mut each: impl FnMut(u64, Line<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut position = end;
    // The parts of a line whose beginning has not been read yet, the last part first: they are joined once, however many they are.
    let mut rest: Vec<Vec<u8>> = Vec::new();
    let mut length = 0;
    let mut too_long = false;
    let mut chunk = vec![0; CHUNK];
    while position > 0 && end - position < LOOKED_THROUGH {
        let size = usize::try_from(position).unwrap_or(CHUNK).min(CHUNK);
        position -= size as u64;
        match file.read_exact_at(&mut chunk[..size], position) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let mut stop = size;
        while let Some(newline) = memchr::memrchr(b'\n', &chunk[..stop]) {
            let begin = position + newline as u64 + 1;
            let line = &chunk[newline + 1..stop];
            let flow = if too_long {
                each(begin, Line::TooLong)
            } else if rest.is_empty() {
                each(begin, Line::Whole(line))
            } else {
                rest.push(line.to_vec());
                each(begin, Line::Whole(&joined(&rest)))
            };
            if flow.is_break() {
                return Ok(());
            }
            rest.clear();
            length = 0;
            too_long = false;
            stop = newline;
        }
        length += stop;
        if length > LINE_LIMIT {
            too_long = true;
            rest = Vec::new();
        } else if !too_long && stop > 0 {
            rest.push(chunk[..stop].to_vec());
        }
    }
    if position > 0 {
        return Ok(());
    }
    let whole = joined(&rest);
    let first = if too_long { Line::TooLong } else { Line::Whole(&whole) };
    let _ = each(0, first);
    Ok(())
}

/// Parts in order, of which the last one stands first.
fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    parts.iter().rev().for_each(|part| whole.extend_from_slice(part));
    whole
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, LINE_LIMIT, Line, lines_backwards};
    use std::io::Write;
    use std::ops::ControlFlow;

    fn read(content: &[u8]) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let mut found = Vec::new();
        lines_backwards(&file, content.len() as u64, |offset, line| {
            found.push((offset, if let Line::Whole(line) = line { Some(line.to_vec()) } else { None }));
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn gives_each_line_once_with_its_offset() {
        let expected = |lines: &[(u64, &str)]| -> Vec<_> {
            lines.iter().map(|(offset, line)| (*offset, Some(line.as_bytes().to_vec()))).collect()
        };
        assert_eq!(read(b"a\nbc\n"), expected(&[(5, ""), (2, "bc"), (0, "a")]));
        assert_eq!(read(b"a\nbc"), expected(&[(2, "bc"), (0, "a")]));
        assert_eq!(read(b"\n\n"), expected(&[(2, ""), (1, ""), (0, "")]));
        assert_eq!(read(b""), expected(&[(0, "")]));
    }

    #[test]
    fn lines_may_cross_chunks() {
        for length in [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
            let content = [vec![b'x'; length], vec![b'\n'], vec![b'y'; length], vec![b'\n']].concat();
            let lines = read(&content);
            let lengths: Vec<_> = lines.iter().map(|(_, line)| line.as_ref().unwrap().len()).collect();
            assert_eq!(lengths, [0, length, length]);
            assert!(lines[1].1.as_ref().unwrap().iter().all(|&byte| byte == b'y'));
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_named_and_its_neighbours_stay() {
        let content = [b"a\n".to_vec(), vec![b'x'; LINE_LIMIT + CHUNK], b"\nb\n".to_vec()].concat();
        let lines = read(&content);
        let found: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
        assert_eq!(found, [Some(vec![]), Some(b"b".to_vec()), None, Some(b"a".to_vec())]);
    }
}
