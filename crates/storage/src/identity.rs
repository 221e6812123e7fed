//! Which workspace this is: a number drawn once, so that two workspaces never take one table for theirs.

use std::io;

use milescale_core::text::harmless;

use crate::durable;
use crate::read::{Symlinks, read_regular};
use crate::workspace::{OWN_GITIGNORE, Workspace};

/// A workspace's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// 32 hexadecimal digits, drawn when it was first needed.
    pub number: String,
    /// Where the workspace is.
    pub path: String,
}

impl Identity {
    /// The workspace's identity; `None` where none was drawn yet.
    ///
    /// # Errors
    /// When what is there cannot be read: another one is not drawn for it.
    pub fn of(workspace: &Workspace) -> io::Result<Option<Self>> {
        let text = match read_regular(&workspace.identity(), Symlinks::Refuse, 4096) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?.0,
        };
        let number = String::from_utf8_lossy(&text).trim().to_owned();
        if number.len() != 32 || !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not the 32 digits that milescale wrote"));
        }
        Ok(Some(Self { number, path: harmless(&workspace.root().to_string_lossy()) }))
    }

    /// The workspace's identity, drawn and written where there is none.
    pub fn of_or_drawn(workspace: &Workspace) -> io::Result<Self> {
        if let Some(identity) = Self::of(workspace)? {
            return Ok(identity);
        }
        let mut bytes = [0_u8; 16];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        durable::create_folder(&workspace.own())?;
        durable::create(&workspace.own_gitignore(), OWN_GITIGNORE.as_bytes())?;
        // Another process may have been first: what is there counts.
        durable::create(&workspace.identity(), format!("{digits}\n").as_bytes())?;
        Self::of(workspace)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it vanished"))
    }
}
