//! A restore under way: `.milescale/restore.json`, from before its first change until after its last. What a death leaves half
//! restored is named by it.

use std::io;

use jiff::Timestamp;
use milescale_document::timestamp;
use serde::{Deserialize, Serialize};

use crate::Workspace;
use crate::backup::is_id;
use crate::durable;
use crate::read::{newer, read_json};

/// The version of the file's shape.
const VERSION: u32 = 1;

/// Bytes that the file may have.
const LIMIT: u64 = 1 << 20;

/// A restore that has begun and is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoring {
    version: u32,
    /// The backup that is restored.
    pub backup: String,
    /// The backups of what was there before, oldest first: one for each attempt that came so far.
    pub displaced: Vec<String>,
    /// When the first attempt began, as RFC 3339.
    pub began: String,
}

impl Restoring {
    /// A restore that begins. What an earlier one has left half done goes on to be named.
    pub fn begin(backup: &str, earlier: Option<Self>, now: Timestamp) -> Self {
        let same = earlier.as_ref().filter(|earlier| earlier.backup == backup);
        let began = same.map_or_else(|| timestamp::to_text(now), |earlier| earlier.began.clone());
        let displaced = earlier.map(|earlier| earlier.displaced).unwrap_or_default();
        Self { version: VERSION, backup: backup.to_owned(), displaced, began }
    }

    /// Reads the restore that is under way, or was interrupted.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn load(workspace: &Workspace) -> io::Result<Option<Self>> {
        match read_json::<Self>(&workspace.restoring(), LIMIT)? {
            Some(it) if it.version > VERSION => Err(newer(it.version)),
            Some(it) if !it.backups().all(|id| is_id(id)) || timestamp::from_text(&it.began).is_none() => {
                let cause = "it names what is no BACKUP_ID or no time, and milescale has not written it; look at it, and remove it";
                Err(io::Error::new(io::ErrorKind::InvalidData, cause))
            }
            it => Ok(it),
        }
    }

    /// Writes it down, durably.
    pub fn save(&self, workspace: &Workspace) -> io::Result<()> {
        durable::create_own_folder(workspace)?;
        durable::replace(&workspace.restoring(), &serde_json::to_vec(self)?)
    }

    /// Forgets it: it is over.
    pub fn discard(workspace: &Workspace) -> io::Result<()> {
        durable::remove(&workspace.restoring())
    }

    /// The backups that it needs: none of them may go.
    pub fn backups(&self) -> impl Iterator<Item = &String> {
        self.displaced.iter().chain([&self.backup])
    }

    /// Describes it for display, with the commands that end it.
    pub fn sentence(&self) -> String {
        let Self { backup, displaced, began, .. } = self;
        let back = displaced.first().map_or_else(String::new, |first| {
            format!(", `milescale restore {first}` brings back what was there before")
        });
        format!(
            "the restore of {backup}, begun at {began}, is not over: some milestones may be restored and others not; `milescale \
             restore {backup}` finishes it{back}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Restoring;
    use crate::Workspace;
    use std::fs;

    #[test]
    fn one_of_a_newer_milescale_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        fs::create_dir_all(workspace.own().path()).unwrap();
        assert_eq!(Restoring::load(&workspace).unwrap(), None);
        fs::write(workspace.restoring().path(), r#"{"version":2,"backup":"b","displaced":[],"began":""}"#).unwrap();
        let error = Restoring::load(&workspace).unwrap_err().to_string();
        assert_eq!(error, "it is of version 2, written by a newer milescale");
        let began = "2026-01-01T00:00:00Z";
        let load = |backup: &str, displaced: &str, began: &str| {
            let text = format!(r#"{{"version":1,"backup":"{backup}","displaced":{displaced},"began":"{began}"}}"#);
            fs::write(workspace.restoring().path(), text).unwrap();
            match Restoring::load(&workspace) {
                Err(error) => {
                    assert!(error.to_string().contains("no BACKUP_ID or no time"), "{error}");
                    None
                }
                loaded => loaded.unwrap(),
            }
        };
        for (backup, displaced) in [("migration-1;x", "[]"), ("x", "[]"), ("migration-1", r#"["migration-$(x)"]"#)] {
            assert_eq!(load(backup, displaced, began), None);
        }
        assert_eq!(load("migration-1", "[]", "x"), None);
        assert!(load("migration-1", r#"["migration-2"]"#, began).is_some());
    }
}
