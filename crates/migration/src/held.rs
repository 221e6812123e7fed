//! The changes of old stores that wait for a person, kept across restarts: `.milescale/held.json`.

use std::collections::BTreeMap;
use std::io;

use milescale_core::base::Side;
use milescale_core::digest::Digest;
use milescale_storage::durable;
use milescale_storage::read::{Symlinks, read_regular};
use milescale_storage::workspace::Workspace;

/// Per side and id the digest of the text that waits; `None`: the milestone is gone there.
pub type Held = BTreeMap<Side, BTreeMap<String, Option<Digest>>>;

/// Reads them; without a file there are none.
pub fn load(workspace: &Workspace) -> io::Result<Held> {
    match read_regular(&workspace.held(), Symlinks::Refuse, 1 << 30) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Held::new()),
        other => Ok(serde_json::from_slice(&other?.0)?),
    }
}

/// Writes them; none is no file.
pub fn save(workspace: &Workspace, held: &Held) -> io::Result<()> {
    if held.values().all(BTreeMap::is_empty) {
        return durable::remove(&workspace.held());
    }
    durable::replace(&workspace.held(), &serde_json::to_vec(held)?)
}
