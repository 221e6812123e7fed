//! Contents that are in conflict with what is current: kept, named, and looked at by a person.
//!
//! Each is two files in `.milescale/conflicts/`: the content, `YYYYMMDDTHHMMSSZ-DIGEST-SIDE-0.ID.yaml`, and what is known of
//! it under the same name with `.json` behind it. A content that a program wrote into a replaced file has only the first.
//! An id that is long, or cannot be a file's name, stands in the name as `row-DIGEST`.

use std::collections::HashMap;
use std::fmt;
use std::io;

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_document::text::as_told;
use milescale_document::timestamp;
use milescale_document::yaml;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::folder::Metadata;
use crate::read::{digest_of, read_json, read_regular};
use crate::readers::Readers;
use crate::short::{self, in_name};
use crate::{Place, Workspace};

/// Bytes of what is noted of a conflict.
const NOTE_AT_MOST: u64 = 64 << 10;

/// Letters of each of its words that are kept in memory where there are many conflicts.
const WORD_AT_MOST: usize = 1000;

/// Of the others in the archive, the same.
const OTHERS_AT_MOST: usize = 100;

/// How a name begins, as names of displaced contents do: the second in which it was kept.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// What is known of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Its name, by which commands know it.
    #[serde(default)]
    pub name: String,
    /// The milestone.
    pub id: String,
    /// When it was kept, as RFC 3339.
    pub at: String,
    /// The side whose content is kept; `None` where it is a write into a file that was replaced already.
    pub side: Option<Side>,
    /// Where that content stood.
    pub place: String,
    /// Why it was not taken over.
    pub reason: String,
    /// The digest of what was current then.
    pub current: Option<Digest>,
    /// The backup of the migration that left this side.
    pub backup: Option<String>,
    /// The digests of what lay in `completed/` under its id, and is another document than those two; `None` where nobody noted
    /// that.
    #[serde(default)]
    pub others: Option<Vec<Digest>>,
}

/// Who knows what lies in the archive.
pub trait Beside: fmt::Debug {
    /// The digests of what lies in `completed/` under an id, but for what `is_it` takes for the milestone itself. `None` where it
    /// cannot be read.
    fn others(&mut self, id: &Id, is_it: &dyn Fn(&Milestone) -> bool) -> Option<Vec<Digest>>;

    /// Who may read all milestones, wherever their texts stand.
    fn readers(&mut self) -> Readers;
}

/// What keeps contents. It reads the names of those that are kept once, so that keeping many costs what each costs.
#[derive(Debug)]
pub struct Keeper {
    folder: Place,
    /// Once it was asked for.
    readers: Option<Readers>,
    archive: Box<dyn Beside>,
    /// By digits of a digest that may be the content's, and by what stands for the id; oldest first. What a review has moved
    /// here bears the digest of another one.
    names: HashMap<(String, String), Vec<String>>,
}

impl Keeper {
    /// Reads what is kept by now. To be used while nobody else keeps anything.
    pub fn open(workspace: &Workspace, archive: Box<dyn Beside>) -> io::Result<Self> {
        let folder = workspace.conflicts();
        durable::create_folder(&folder)?;
        let mut by_key: HashMap<_, Vec<String>> = HashMap::new();
        for (key, name) in names(workspace)?.into_iter().filter_map(|name| Some((key_of(&name)?, name))) {
            by_key.entry(key).or_default().push(name);
        }
        Ok(Self { folder, readers: None, archive, names: by_key })
    }

    /// Keeps a content durably. The path under which it is kept, and whether it was not kept before.
    pub fn keep(&mut self, conflict: &Conflict, text: &[u8], now: Timestamp) -> io::Result<(Place, bool)> {
        let there = self.kept(conflict, text).next();
        match there {
            Some(there) => Ok((there, false)),
            None => self.write(conflict, text, now),
        }
    }

    /// The same, also where the content is kept for another reason already: who undoes something knows it by its reason.
    pub fn keep_for_its_reason(
        &mut self,
        conflict: &Conflict,
        text: &[u8],
        now: Timestamp,
    ) -> io::Result<(Place, bool)> {
        let known = |path: &Place| read_about(path).is_ok_and(|known| known.reason == conflict.reason);
        let there = self.kept(conflict, text).find(|path| known(path));
        match there {
            Some(there) => Ok((there, false)),
            None => self.write(conflict, text, now),
        }
    }

    /// Where a content is kept by now, newest first. Programs may have written into what is there: it is read.
    fn kept(&self, conflict: &Conflict, text: &[u8]) -> impl Iterator<Item = Place> {
        let digest = Digest::of(text);
        let names = self.names.get(&(short::digits(digest), in_name(&conflict.id))).into_iter().flatten().rev();
        names.map(|name| self.folder.join(name)).filter(move |path| digest_of(path).is_ok_and(|(it, _)| it == digest))
    }

    fn write(&mut self, conflict: &Conflict, text: &[u8], now: Timestamp) -> io::Result<(Place, bool)> {
        let key = (digits(text), in_name(&conflict.id));
        let side = conflict.side.map_or("file", Side::as_str);
        let name = |number: u64| format!("{}-{}-{side}-{number}.{}.yaml", now.strftime(STAMP), key.0, key.1);
        let mut number = 0;
        while self.folder.join(name(number)).exists() {
            number += 1;
        }
        let name = name(number);
        let path = self.folder.join(&name);
        // The content last: a conflict without one would name nothing.
        let known = serde_json::to_vec_pretty(&Conflict { others: self.others(conflict, text), ..conflict.clone() })?;
        let readers = self.readers();
        durable::replace_for(&about(&path), readers, &known)?;
        let is_new = match durable::create_for(&path, readers, text) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            created => created?.durably().map(|()| true)?,
        };
        self.names.entry(key).or_default().push(name);
        Ok((path, is_new))
    }

    fn readers(&mut self) -> Readers {
        *self.readers.get_or_insert_with(|| self.archive.readers())
    }

    /// What lies in `completed/` beside the two that are in conflict.
    fn others(&mut self, conflict: &Conflict, text: &[u8]) -> Option<Vec<Digest>> {
        let kept = Digest::of(text);
        let is_it = |it: &Milestone| it.digest() == kept || Some(it.digest()) == conflict.current;
        self.archive.others(&conflict.id.parse().ok()?, &is_it)
    }
}

/// Keeps one content durably, as [`Keeper::keep`] does.
pub fn keep(
    workspace: &Workspace,
    archive: Box<dyn Beside>,
    conflict: &Conflict,
    text: &[u8],
    now: Timestamp,
) -> io::Result<(Place, bool)> {
    Keeper::open(workspace, archive)?.keep(conflict, text, now)
}

/// The digits of a content's digest that stand in a name.
fn digits(text: &[u8]) -> String {
    short::digits(Digest::of(text))
}

/// What a name of a conflict says of its content and id.
fn key_of(name: &str) -> Option<(String, String)> {
    let (head, id) = name.strip_suffix(".yaml")?.split_once('.')?;
    let (_, rest) = head.split_once('-')?;
    let (digits, _) = rest.split_once('-')?;
    Some((digits.to_owned(), id.to_owned()))
}

/// How many conflicts there are. Reads none of them.
pub fn count(workspace: &Workspace) -> io::Result<u64> {
    Ok(names(workspace)?.len() as u64)
}

/// Every conflict, oldest first. Long words in them are cut; [`one`] has all of it.
pub fn list(workspace: &Workspace) -> io::Result<Vec<Conflict>> {
    let stop = workspace.stop();
    let goes_on = |_: &String| !stop.is_asked();
    let found =
        names(workspace)?.into_iter().take_while(goes_on).map(|name| one(workspace, name).shortened()).collect();
    if stop.is_asked() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(found) }
}

/// The one of a name.
pub fn one(workspace: &Workspace, name: String) -> Conflict {
    let path = workspace.conflicts().join(&name);
    let known =
        read_about(&path).unwrap_or_else(|why| unknown(workspace, &name, path.status_of_name().ok(), why.as_ref()));
    Conflict { name, ..known }
}

/// The first conflict whose note cannot be read, and why: what it says of backups and moves is not known then.
///
/// # Errors
/// When the folder cannot be listed.
pub fn unreadable(workspace: &Workspace) -> io::Result<Option<(String, io::Error)>> {
    let folder = workspace.conflicts();
    let why = |name: String| match read_about(&folder.join(&name)) {
        Err(Some(error)) if error.kind() == io::ErrorKind::PermissionDenied => Some((name, error)),
        _ => None,
    };
    Ok(names(workspace)?.into_iter().find_map(why))
}

/// The names of all contents that are kept, sorted.
pub fn names(workspace: &Workspace) -> io::Result<Vec<String>> {
    let entries = match workspace.conflicts().entries() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.name.into_string().ok().filter(|name| name.ends_with(".yaml")));
    }
    names.sort();
    Ok(names)
}

/// The content of a conflict.
pub fn text(workspace: &Workspace, name: &str) -> io::Result<Vec<u8>> {
    if name.contains('/') || name.starts_with('.') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a conflict"));
    }
    read_regular(&workspace.conflicts().join(name), yaml::SIZE_LIMIT).map(|(text, _)| text)
}

/// Those who may read the content of a conflict.
pub fn readers(workspace: &Workspace, name: &str) -> io::Result<Readers> {
    let place = workspace.conflicts().join(name);
    Ok(Readers::of(&place.status_of_name()?).as_placed(&place))
}

/// Takes a conflict that a person has dealt with off the list. Its content is kept among what was displaced, for as long as
/// if it had been replaced now. `seen`: the content that was dealt with; where a program has written into it since, that is
/// found there as a conflict of its own.
pub fn settle(workspace: &Workspace, name: &str, seen: Option<Digest>, now: Timestamp) -> io::Result<()> {
    durable::create_folder(&workspace.displaced())?;
    let path = workspace.conflicts().join(name);
    // The days count from now, and its digest is that of what is kept: what a program has written into it since is none of that.
    let kept = key_of(name).map(|(digits, _)| digits).filter(|_| read_about(&path).is_ok());
    let seen = match (seen, kept) {
        (Some(seen), _) => short::digits(seen),
        (None, Some(kept)) => kept,
        (None, None) => short::digits(digest_of(&path)?.0),
    };
    let id = in_name(&key_of(name).map_or_else(|| name.to_owned(), |(_, id)| id));
    let names = (0_u64..).map(|number| {
        let name = format!("{}-{}-resolved-{number}.{id}.yaml", now.strftime(STAMP), seen);
        workspace.displaced().join(name)
    });
    durable::rename_to_free(&path, names)?;
    match durable::remove(&about(&path)) {
        // An older version gave a name so long that nothing could be noted beside it.
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Ok(()),
        other => other,
    }
}

/// What is known of a conflict, where something was noted; else why it cannot be read, where that is the reason.
fn read_about(path: &Place) -> Result<Conflict, Option<io::Error>> {
    read_json(&about(path), NOTE_AT_MOST).map_err(Some)?.ok_or(None)
}

impl Conflict {
    fn shortened(mut self) -> Self {
        for word in [&mut self.id, &mut self.at, &mut self.place, &mut self.reason].into_iter().chain(&mut self.backup)
        {
            if word.len() > WORD_AT_MOST {
                *word = word.chars().take(WORD_AT_MOST).chain(['…']).collect();
            }
        }
        self.reason = as_told(&self.reason);
        if let Some(others) = &mut self.others {
            others.truncate(OTHERS_AT_MOST);
            others.shrink_to_fit();
        }
        self
    }
}

fn about(path: &Place) -> Place {
    path.with_name(format!("{}.json", path.name_text()))
}

fn unknown(workspace: &Workspace, name: &str, metadata: Option<Metadata>, why: Option<&io::Error>) -> Conflict {
    let id = name.strip_suffix(".yaml").and_then(|name| name.split_once('.')).map_or(name, |(_, id)| id);
    let modified = metadata.and_then(|it| it.modified().ok()).and_then(|it| Timestamp::try_from(it).ok());
    Conflict {
        name: String::new(),
        id: short::id_of(workspace, id),
        at: modified.map(timestamp::to_text).unwrap_or_default(),
        side: None,
        place: String::new(),
        reason: why.map_or_else(
            || "it was written to after milescale had replaced it".to_owned(),
            |why| format!("what is noted of it cannot be read: {why}"),
        ),
        current: None,
        backup: None,
        others: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Beside, Conflict, Keeper, count, keep};
    use crate::Workspace;
    use crate::displaced::review;
    use jiff::Timestamp;
    use milescale_document::digest::Digest;
    use milescale_document::id::Id;
    use milescale_document::milestone::Milestone;
    use std::fs;
    use std::time::{Duration, SystemTime};

    /// An archive with nothing in it.
    #[derive(Debug)]
    struct Empty;

    impl Beside for Empty {
        fn others(&mut self, _: &Id, _: &dyn Fn(&Milestone) -> bool) -> Option<Vec<Digest>> {
            Some(Vec::new())
        }

        fn readers(&mut self) -> crate::readers::Readers {
            crate::readers::Readers::OWN
        }
    }

    fn conflict() -> Conflict {
        Conflict {
            name: String::new(),
            id: "x".to_owned(),
            at: String::new(),
            side: None,
            place: String::new(),
            reason: "a reason".to_owned(),
            current: None,
            backup: None,
            others: None,
        }
    }

    #[test]
    fn what_is_kept_is_kept_once_wherever_it_still_is_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let now = Timestamp::now();
        let mut keeper = Keeper::open(&workspace, Box::new(Empty)).unwrap();
        let (first, is_new) = keeper.keep(&conflict(), b"n: 1\n", now).unwrap();
        assert!(is_new);
        assert_eq!(keeper.keep(&conflict(), b"n: 1\n", now).unwrap(), (first.clone(), false));
        // A program writes into it.
        fs::write(first.path(), "n: 2\n").unwrap();
        for again in [false, true] {
            if again {
                keeper = Keeper::open(&workspace, Box::new(Empty)).unwrap();
            }
            let (second, _) = keeper.keep(&conflict(), b"n: 1\n", now).unwrap();
            assert_ne!(second, first);
            assert_eq!(fs::read(second.path()).unwrap(), b"n: 1\n");
        }
        assert_eq!(count(&workspace).unwrap(), 2);
        assert_eq!(fs::read(first.path()).unwrap(), b"n: 2\n", "and what it wrote is there as well");
    }

    /// The name of what a review has moved here says what left its place, and the file holds something else.
    #[test]
    fn what_is_kept_is_not_taken_for_what_a_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        fs::create_dir_all(workspace.displaced().path()).unwrap();
        let digits = super::digits(b"n: 1\n");
        let name = format!("20260101T000000Z-{digits}-{digits}-0123456789ab.x.yaml");
        fs::write(workspace.displaced().join(name).path(), "n: late\n").unwrap();
        assert_eq!(review(&workspace, SystemTime::now() + Duration::from_secs(10)).unwrap().len(), 1);
        let (path, is_new) = keep(&workspace, Box::new(Empty), &conflict(), b"n: 1\n", Timestamp::now()).unwrap();
        assert!(is_new);
        assert_eq!(fs::read(path.path()).unwrap(), b"n: 1\n");
    }
}
