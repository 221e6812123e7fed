//! How often milescale has switched here, beside the record that says so: `.milescale/switches`. A record that is gone, or was put
//! back from a copy of before the last switch, says less, and is known by that.

use std::io;

use serde::{Deserialize, Serialize};

use crate::Workspace;
use crate::durable;
use crate::read::{newer, read_json};
use crate::record::MOVES;

/// The version of the file's shape.
const VERSION: u32 = 1;

/// Bytes that the file may have.
const LIMIT: u64 = 1 << 10;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Switches {
    version: u32,
    switches: u64,
}

/// How many there were at least; 0 where nothing was noted.
///
/// # Errors
/// When what is there cannot be read, or a newer milescale wrote it.
pub fn noted(workspace: &Workspace) -> io::Result<u64> {
    // Whoever reads the record reads this as well, and would name the record.
    let damaged = |error: io::Error| {
        let step = match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => "; remove it",
            _ => "",
        };
        io::Error::new(error.kind(), format!("{}: {error}{step}", workspace.shown(&workspace.switches())))
    };
    match read_json::<Switches>(&workspace.switches(), LIMIT).map_err(damaged)? {
        Some(it) if it.version > VERSION => Err(newer(it.version)),
        Some(it) if it.switches > MOVES => {
            Err(damaged(io::Error::new(io::ErrorKind::InvalidData, format!("{} switches", it.switches))))
        }
        it => Ok(it.map_or(0, |it| it.switches)),
    }
}

/// Notes that there were so many, unless it says so already.
pub fn note(workspace: &Workspace, switches: u64) -> io::Result<()> {
    if switches <= noted(workspace)? {
        return Ok(());
    }
    durable::replace(&workspace.switches(), &serde_json::to_vec(&Switches { version: VERSION, switches })?)
}
