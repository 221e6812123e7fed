//! The store in use, opened; and the ids that it held when it was last read in full, which another store must hold before
//! it is followed.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, BufWriter, Write};

use milescale_core::backend::InUse;
use milescale_core::config::Config;
use milescale_storage::open::Which;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::error::StoreError;
use milescale_workspace::read::read_json;
use milescale_workspace::record::Record;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A store, opened as the configuration says.
#[derive(Debug)]
pub(super) struct Opened {
    which: Which,
    pub(super) store: Box<dyn Store>,
    /// The store's generation whose ids were written last.
    kept: Option<u64>,
}

impl Opened {
    /// The store in use; opened anew where the configuration says another one than before.
    pub(super) fn open(
        before: Option<Self>,
        workspace: &Workspace,
        in_use: InUse,
        config: &Config,
        remembered: u64,
    ) -> Result<Self, StoreError> {
        let which = Which::of(in_use, config);
        match before {
            Some(before) if before.which == which => Ok(before),
            _ => Ok(Self { store: which.open(workspace, remembered)?, which, kept: None }),
        }
    }
}

/// Bytes that the list of ids may have.
const LIMIT: u64 = 64 << 20;

/// Writes a list of ids in the place of the last one.
fn write_down(workspace: &Workspace, ids: impl FnOnce(&mut dyn FnMut(&str))) -> io::Result<()> {
    durable::replace_with(&workspace.last_ids(), |file| {
        let mut list = List::new(BufWriter::new(file));
        ids(&mut |id| list.add(id));
        list.finish()
    })
}

/// The ids of the last full reading, kept across restarts.
#[derive(Debug, Default)]
pub(crate) struct LastIds {
    /// What was written last, in eight bytes.
    written: Option<u64>,
}

impl LastIds {
    /// Writes the ids, where they are not those that were written last.
    pub(super) fn keep(&mut self, workspace: &Workspace, opened: &mut Opened) -> io::Result<()> {
        let Opened { store, kept, .. } = opened;
        let generation = store.generation();
        if generation.is_some() && generation == *kept && workspace.last_ids().exists() {
            return Ok(());
        }
        let mut hash = 0_u64;
        let mut add = |id: &str| hash = hash.wrapping_add(BuildHasherDefault::<DefaultHasher>::default().hash_one(id));
        // One that does not remember them is asked; where it cannot answer, what was written stays.
        let asked = if store.each_known_id(&mut add) {
            None
        } else {
            let Ok(ids) = store.ids() else { return Ok(()) };
            for id in &ids {
                add(id);
            }
            Some(ids)
        };
        if self.written != Some(hash) || !workspace.last_ids().exists() {
            write_down(workspace, |add| match &asked {
                Some(ids) => ids.iter().for_each(|id| add(id)),
                None => drop(store.each_known_id(add)),
            })?;
        }
        (self.written, *kept) = (Some(hash), generation);
        Ok(())
    }

    /// Writes those of files that a move is about to leave: a folder that is lost before the switch is known by them.
    pub(crate) fn note(workspace: &Workspace, in_use: InUse, config: &Config) -> Result<(), String> {
        let mut opened = Opened::open(None, workspace, in_use, config, 0).map_err(|error| error.to_string())?;
        // One that was just opened remembers none.
        let ids = opened.store.ids().map_err(|error| error.to_string())?;
        let noted = write_down(workspace, |add| ids.iter().for_each(|id| add(id)));
        noted.map_err(|error| format!("{}: {error}", workspace.shown(&workspace.last_ids())))
    }

    /// Those that were written down last; `None` where none were.
    pub(crate) fn written_down(workspace: &Workspace) -> io::Result<Option<Vec<String>>> {
        Ok(read_json::<Listed>(&workspace.last_ids(), LIMIT)?.map(|listed| listed.0))
    }

    /// Those of the last full reading: of this process, else of the file. Without either the store is asked what it holds
    /// now.
    pub(super) fn of(
        workspace: &Workspace,
        followed: Option<&dyn Store>,
        in_use: InUse,
        config: &Config,
    ) -> Result<Vec<String>, String> {
        let mut ids = Vec::new();
        if followed.is_some_and(|store| store.each_known_id(&mut |id| ids.push(id.to_owned()))) {
            return Ok(ids);
        }
        let path = workspace.last_ids();
        let unknown =
            |why: String| format!("what the last store held is not known ({}: {why})", workspace.shown(&path));
        if let Some(ids) = Self::written_down(workspace).map_err(|error| unknown(error.to_string()))? {
            return Ok(ids);
        }
        let opened = Opened::open(None, workspace, in_use, config, 0);
        opened.and_then(|mut opened| opened.store.ids()).map_err(|error| unknown(error.to_string()))
    }
}

/// Bytes of memory that a list of ids may take: short ones take several times what they have in a file.
const MEMORY: usize = 256 << 20;

/// A list of ids, as it is read.
struct Listed(Vec<String>);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ids;
        impl<'de> Visitor<'de> for Ids {
            type Value = Listed;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of ids")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed, A::Error> {
                let (mut ids, mut bytes) = (Vec::new(), 0);
                while let Some(id) = list.next_element::<String>()? {
                    // A text has a place in the list and one of its own.
                    bytes += size_of::<String>() + id.len().next_multiple_of(2 * size_of::<usize>()).max(32);
                    if bytes > MEMORY {
                        return Err(A::Error::custom("there are more ids than milescale has room for"));
                    }
                    ids.push(id);
                }
                Ok(Listed(ids))
            }
        }
        deserializer.deserialize_seq(Ids)
    }
}

/// A list of texts in JSON, written piece by piece.
struct List<W> {
    out: W,
    written: io::Result<()>,
    count: u64,
}

impl<W: Write> List<W> {
    fn new(out: W) -> Self {
        Self { out, written: Ok(()), count: 0 }
    }

    fn add(&mut self, text: &str) {
        if self.written.is_ok() {
            let before: &[u8] = if self.count == 0 { b"[" } else { b"," };
            self.written = self.out.write_all(before).and_then(|()| Ok(serde_json::to_writer(&mut self.out, text)?));
            self.count += 1;
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.written?;
        self.out.write_all(if self.count == 0 { b"[]" } else { b"]" })?;
        self.out.flush()
    }
}

/// Refuses a store where another one of its side is an old store that is not retired: what is written there would be nobody's then.
///
/// # Errors
/// Why not, in words.
pub(crate) fn is_no_other_old_store(workspace: &Workspace, named: InUse, store: &mut dyn Store) -> Result<(), String> {
    let record = Record::load(workspace).map_err(|error| error.to_string())?;
    let old = record.old.iter().find(|old| old.side == named.side() && old.retired.is_none());
    let Some(old) = old else { return Ok(()) };
    let another = store.is_another().map_err(|error| error.to_string())?;
    another.map_or(Ok(()), |why| {
        let side = named.side().as_str();
        let place = &old.name;
        Err(format!(
            "{why}. The old store {place} is not retired, and what is written there would not be brought over: put back what named \
             it, or end it with `milescale retire {side}`"
        ))
    })
}
