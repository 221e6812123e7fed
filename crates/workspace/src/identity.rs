//! Which workspace this is: a number drawn once, so that two workspaces never take one table for theirs, and the places
//! where it was seen, so that a copy is doubted before anything is written on a server in its name.
//!
//! What decides whether a workspace may write on a server is the chain of tokens ([`milescale_core::chain`]). A place only
//! raises a doubt. It is raised by another inode of `.milescale` (`cp -r`, a restored archive), and by a path *and* a
//! device that are both new (a copied image, a snapshot). The same folder under another path of the same device (moved, or
//! mounted into a container) raises none, nor does a new number of the device after a restart, nor `/etc/machine-id`.

use std::io;
use std::os::unix::fs::MetadataExt;

use milescale_core::base::Side;
use milescale_document::text::harmless;
use serde::{Deserialize, Serialize};

use crate::Workspace;
use crate::durable;
use crate::random;
use crate::read::{read_regular, unreadable};
use crate::record::Record;
use crate::tokens::Tokens;

/// The version of the file's shape. The first one was two words; what reads that finds no number in this one, and stops.
const FORMAT: u32 = 2;

/// Bytes of a workspace's number.
const NUMBER: usize = 16;

/// Places remembered, newest last.
const PLACES: usize = 16;

/// A workspace's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// 32 hexadecimal digits, drawn when it was first needed.
    pub number: String,
    /// Where the workspace is, for display.
    pub path: String,
    /// Why this may be a copy of the workspace that the number was drawn for, where that is so.
    pub doubt: Option<String>,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    format: u32,
    number: String,
    /// The inode of the folder `.milescale`, which no copy of it has.
    folder: u64,
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    path: String,
    device: u64,
}

/// What is known of a workspace's identity, and whether the file says all of it.
struct Found {
    kept: Kept,
    doubt: Option<String>,
    is_to_be_written: bool,
}

impl Place {
    fn of(workspace: &Workspace) -> io::Result<(u64, Self)> {
        let metadata = workspace.own().status()?;
        let path = harmless(&workspace.root().to_string_lossy());
        Ok((metadata.ino(), Self { path, device: metadata.dev() }))
    }
}

impl Kept {
    fn new(number: String, workspace: &Workspace) -> io::Result<Self> {
        let (folder, place) = Place::of(workspace)?;
        Ok(Self { format: FORMAT, number, folder, places: vec![place] })
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Why the place where it lies now is doubted.
    fn doubt(&self, folder: u64, now: &Place) -> Option<String> {
        let last = self.places.last().map(|place| place.path.as_str()).unwrap_or_default();
        if folder != self.folder {
            return Some(format!(
                "its folder .milescale is another one than that of {last}: it was copied or restored"
            ));
        }
        let is_known = self.places.iter().any(|place| place.path == now.path || place.device == now.device);
        (!is_known).then(|| format!("it was at {last} before, on another device: its file system was copied or moved"))
    }

    /// Adds the place where it lies now; `false`: it is known.
    fn remember(&mut self, now: Place) -> bool {
        if self.places.contains(&now) {
            return false;
        }
        self.places.retain(|place| place.path != now.path);
        self.places.push(now);
        let surplus = self.places.len().saturating_sub(PLACES);
        self.places.drain(..surplus);
        true
    }
}

impl Identity {
    /// The workspace's identity; `None` where none was drawn yet.
    ///
    /// # Errors
    /// When what is there cannot be read: another one is not drawn for it.
    pub fn of(workspace: &Workspace) -> io::Result<Option<Self>> {
        let step = "put it back from a copy of yours; or remove it, which draws another number, and where milestones are on a \
                    server, give `milescale doctor --fix identity` then";
        let found =
            found(workspace).map_err(|error| unreadable(&error, &workspace.shown(&workspace.identity()), step))?;
        Ok(found.map(|Found { kept, doubt, .. }| Self::new(workspace, kept.number, doubt)))
    }

    fn new(workspace: &Workspace, number: String, doubt: Option<String>) -> Self {
        Self { number, path: harmless(&workspace.root().to_string_lossy()), doubt }
    }

    /// The workspace's identity, drawn and written where there is none. A copy that has nothing on a server to be mistaken
    /// for its original gets a number of its own; a new place that raises no doubt is remembered.
    pub fn of_or_drawn(workspace: &Workspace) -> io::Result<Self> {
        durable::create_own_folder(workspace)?;
        match found(workspace)? {
            None => {
                let kept = Kept::new(random::hexadecimal::<NUMBER>()?, workspace)?;
                // Another process may have been first: what is there counts.
                durable::create(&workspace.identity(), &kept.text()?)?;
                Self::of(workspace)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it vanished"))
            }
            Some(Found { doubt: Some(_), .. }) if !has_something_on_a_server(workspace) => {
                Self::settle(workspace, Settled::Separate)
            }
            Some(Found { kept, doubt, is_to_be_written }) => {
                if is_to_be_written && doubt.is_none() {
                    // Without it the next command does the same.
                    let written = durable::replace(&workspace.identity(), &kept.text()?);
                    if let Err(error) = written {
                        tracing::debug!(%error, "the place of the workspace is not written down yet");
                    }
                }
                Ok(Self::new(workspace, kept.number, doubt))
            }
        }
    }

    /// Ends a doubt at a person's word: this place is the workspace's from now on.
    pub fn settle(workspace: &Workspace, settled: Settled) -> io::Result<Self> {
        durable::create_own_folder(workspace)?;
        let number = match (settled, found(workspace)?) {
            (Settled::GoesOn, Some(found)) => found.kept.number,
            _ => random::hexadecimal::<NUMBER>()?,
        };
        if settled == Settled::Separate {
            Tokens::of(workspace).forget()?;
        }
        let kept = Kept::new(number, workspace)?;
        durable::replace(&workspace.identity(), &kept.text()?)?;
        Ok(Self::new(workspace, kept.number, None))
    }
}

/// What a person says of a workspace that may be a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is the workspace, and keeps its number.
    GoesOn,
    /// It is another one, and gets a number of its own.
    Separate,
}

/// Reads the file, in its first shape too.
fn found(workspace: &Workspace) -> io::Result<Option<Found>> {
    let (text, metadata) = match read_regular(&workspace.identity(), 64 << 10) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let text = String::from_utf8_lossy(&text);
    let (folder, now) = Place::of(workspace)?;
    if text.trim_start().starts_with('{') {
        let mut kept: Kept = serde_json::from_str(&text)?;
        if kept.format > FORMAT {
            return Err(bad(&format!("it is of format {}, written by a newer milescale", kept.format)));
        }
        let doubt = kept.doubt(folder, &now);
        let is_to_be_written = doubt.is_none() && kept.remember(now);
        return checked(Found { kept, doubt, is_to_be_written }).map(Some);
    }
    let mut words = text.split_ascii_whitespace();
    let number = words.next().unwrap_or_default().to_owned();
    let mark = words.next().and_then(|mark| mark.split('@').next());
    // The mark was the file's inode and the machine's number; the machine does not matter.
    let is_same = mark.is_none_or(|inode| inode == metadata.ino().to_string());
    let doubt = (!is_same).then(|| "its file .milescale/identity is another one: it was copied or restored".to_owned());
    let kept = Kept { format: FORMAT, number, folder, places: vec![now] };
    checked(Found { kept, doubt, is_to_be_written: is_same }).map(Some)
}

fn checked(found: Found) -> io::Result<Found> {
    let number = &found.kept.number;
    if number.len() == 32 && number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(found)
    } else {
        Err(bad("it holds no number of 32 digits, as milescale writes it"))
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Whether anything on a server could be written in the name of this workspace. What cannot be read may say so.
fn has_something_on_a_server(workspace: &Workspace) -> bool {
    let is_there = |side: Side| side == Side::Postgresql;
    Tokens::of(workspace).is_there()
        || Record::load(workspace).map_or(true, |record| {
            record.in_use.is_some_and(|it| is_there(it.side()))
                || record.old.iter().any(|old| is_there(old.side))
                || record.intent.is_some_and(|it| is_there(it.from.side()) || is_there(it.to.side()))
        })
}

#[cfg(test)]
mod tests;
