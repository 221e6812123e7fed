//! Which workspace this is: a number drawn once, so that two workspaces never take one table for theirs, and the mark of
//! the place where it was drawn, so that a copy is known to be one.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use milescale_core::text::harmless;

use crate::durable;
use crate::read::{Symlinks, read_regular};
use crate::workspace::Workspace;

/// A workspace's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// 32 hexadecimal digits, drawn when it was first needed.
    pub number: String,
    /// Where the workspace is.
    pub path: String,
    /// Whether the file that holds the number is another one than that which was written, or on another machine: the
    /// workspace was copied, cloned or restored.
    pub is_copy: bool,
}

impl Identity {
    /// The workspace's identity; `None` where none was drawn yet.
    ///
    /// # Errors
    /// When what is there cannot be read: another one is not drawn for it.
    pub fn of(workspace: &Workspace) -> io::Result<Option<Self>> {
        let (text, metadata) = match read_regular(&workspace.identity(), Symlinks::Refuse, 4096) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let text = String::from_utf8_lossy(&text);
        let mut words = text.split_ascii_whitespace();
        let number = words.next().unwrap_or_default().to_owned();
        if number.len() != 32 || !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not the 32 digits that milescale wrote"));
        }
        // Written by a version that kept no mark: taken for an original.
        let is_copy = words.next().is_some_and(|mark| *mark != place_mark(metadata.ino()));
        Ok(Some(Self { number, path: harmless(&workspace.root().to_string_lossy()), is_copy }))
    }

    /// The workspace's identity, drawn and written where there is none.
    pub fn of_or_drawn(workspace: &Workspace) -> io::Result<Self> {
        if let Some(identity) = Self::of(workspace)? {
            return Ok(identity);
        }
        durable::create_own_folder(workspace)?;
        let digits = random_digits()?;
        // Another process may have been first: what is there counts.
        durable::create_marked(&workspace.identity(), |inode| format!("{digits} {}\n", place_mark(inode)))?;
        Self::of(workspace)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it vanished"))
    }

    /// Draws a new number for a copy, so that it touches nothing of its original; or, where a person says that the
    /// original is gone, keeps the number for this place.
    pub fn renew(workspace: &Workspace, keep_number: bool) -> io::Result<Self> {
        let digits = match Self::of(workspace)? {
            Some(identity) if keep_number => identity.number,
            _ => random_digits()?,
        };
        durable::replace_marked(&workspace.identity(), |inode| format!("{digits} {}\n", place_mark(inode)))?;
        Self::of(workspace)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it vanished"))
    }
}

/// What a copy of a file on this or another machine does not have: its inode and the machine's number. The device is left
/// out, for its number may change with a restart.
fn place_mark(inode: u64) -> String {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let machine: String = machine.trim().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{inode}@{machine}")
}

pub(crate) fn random_digits() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
