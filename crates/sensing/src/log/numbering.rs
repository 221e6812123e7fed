//! Line numbers, counted only when one has to be told.

use milescale_workspace::folder::File;
use std::os::unix::fs::FileExt;

/// How far a file's lines have been counted.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    offset: u64,
    newlines: u64,
}

impl Numbering {
    /// The numbers, from 1, of the lines that begin at these offsets (ascending). Those that can no longer be counted,
    /// because the file was cut, are left out.
    pub(super) fn numbers(&mut self, file: &File, offsets: &[u64]) -> Vec<u64> {
        let mut numbers = Vec::new();
        let mut chunk = vec![0; 256 << 10];
        for &target in offsets {
            if target < self.offset {
                *self = Self::default();
            }
            while self.offset < target {
                let wanted = usize::try_from(target - self.offset).unwrap_or(chunk.len()).min(chunk.len());
                match file.read_at(&mut chunk[..wanted], self.offset) {
                    Ok(0) | Err(_) => return numbers,
                    Ok(count) => {
                        self.newlines += chunk[..count].iter().map(|&byte| u64::from(byte == b'\n')).sum::<u64>();
                        self.offset += count as u64;
                    }
                }
            }
            numbers.push(self.newlines + 1);
        }
        numbers
    }
}
