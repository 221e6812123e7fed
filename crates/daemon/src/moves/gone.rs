//! A store in use that does not exist any more or is no database, and the ways on without it.

use std::time::{Duration, Instant};

use milescale_core::backend::{Backend, InUse};
use milescale_core::base::Side;
use milescale_document::text::in_command;
use milescale_storage::open::Which;
use milescale_storage::sqlite::is_no_database;
use milescale_workspace::backup;
use milescale_workspace::error::StoreError;
use milescale_workspace::record::Old;

use super::Mover;
use crate::access::lost_files;
use crate::sweeps::{gone, not_swept};

/// A store in use that does not exist any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Which one.
    pub in_use: InUse,
    /// Its path or table, as people read it.
    pub place: String,
    /// Whether something lies there that is no database, and has to be moved away first.
    pub is_in_the_way: bool,
    /// What can be done about it, a sentence each.
    pub ways: Vec<String>,
}

/// How long backups are compared with their digests for an error that names one.
const LOOKED_FOR: Duration = Duration::from_secs(4);

impl Gone {
    /// What is wrong, for display.
    pub fn what(&self) -> String {
        let what = if self.is_in_the_way { "its file is no database" } else { "does not exist any more" };
        format!("{}: {} is in use, and {what}", self.place, self.in_use)
    }

    /// What to do about it, for display.
    pub fn do_this(&self) -> String {
        let first = if self.is_in_the_way {
            format!("First move {} away, with its -wal and -journal; milescale never removes it. Then one", self.place)
        } else {
            "One".to_owned()
        };
        format!("{first} of these: {}.", self.ways.join("; or "))
    }
}

impl Mover {
    /// The store in use where its file, table or folder does not exist any more; `None`: it does, or that cannot be found out.
    ///
    /// # Errors
    /// When it is not known which store is in use.
    pub fn gone(&self) -> Result<Option<Gone>, String> {
        let in_use = self.in_use()?;
        let database = self.workspace.enterprise_db();
        let is_in_the_way = in_use.side() == Side::Sqlite && is_no_database(&database);
        let place = match in_use.side() {
            Side::Sqlite if is_in_the_way => Some(self.workspace.shown(&database)),
            Side::Files => lost_files(&self.workspace, in_use).map(|lost| lost.place),
            Side::Sqlite | Side::Postgresql => {
                let store = self.open(in_use).ok();
                let lost = store.and_then(|mut store| if store.is_gone() { store.ids().err() } else { None });
                lost.map(|lost| lost.place)
            }
        };
        let Some(place) = place else { return Ok(None) };
        let ways = self.ways_on(in_use)?;
        Ok(Some(Gone { in_use, place, is_in_the_way, ways }))
    }

    /// The old stores that cannot be swept now: the name of each, and why. They are asked anew.
    ///
    /// # Errors
    /// When the record of moves cannot be read.
    pub fn away(&self) -> Result<Vec<(String, String)>, String> {
        let record = self.record()?;
        let is_gone = |old: &Old| -> Result<bool, StoreError> {
            let mut store = Which::of(old.was, self.config()).open(&self.workspace, 0)?;
            Ok(!store.exists()? && store.is_another()?.is_none())
        };
        let why = |old: &Old| match is_gone(old) {
            Ok(is_gone) => is_gone.then(|| gone(old)),
            Err(error) => Some(not_swept(old, &error.to_string())),
        };
        Ok(record.swept().filter_map(|old| Some((old.name.clone(), why(old)?))).collect())
    }

    fn ways_on(&self, in_use: InUse) -> Result<Vec<String>, String> {
        let mut ways = vec!["put it back from a copy of yours: milescale notices by itself".to_owned()];
        ways.extend(self.newest_backup().map(|(id, count, taken)| {
            format!(
                "`milescale restore {}` makes it anew with the {count} milestones of {taken} (`milescale backups list` \
                 names all backups)",
                in_command(&id)
            )
        }));
        ways.extend(self.others(in_use)?.into_iter().filter_map(|other| self.way_to(other)));
        Ok(ways)
    }

    /// The newest backup that holds milestones: its name, how many, and when it was taken.
    fn newest_backup(&self) -> Option<(String, u64, String)> {
        let backups = backup::list(&self.workspace).ok()?;
        let whole = backups.into_iter().rev().filter_map(|(_, read)| read.ok());
        // A person waits: all of them together have so much time, for one may have any size.
        let began = Instant::now();
        let goes_on = || began.elapsed() < LOOKED_FOR;
        whole
            .filter(|it| it.milestone_count > 0)
            .take_while(|_| goes_on())
            .find(|it| backup::verify_while(&self.workspace, it, &goes_on).is_ok())
            .map(|it| (it.id, it.milestone_count, it.timestamp))
    }

    /// The stores that could be in use in its place: those that were before, and the files.
    fn others(&self, in_use: InUse) -> Result<Vec<InUse>, String> {
        let record = self.record()?;
        // What an unfinished move has brought somewhere may be all that there is of it.
        let reached = record.intent.iter().map(|intent| intent.to);
        let mut others: Vec<InUse> = record.old.iter().map(|old| old.was).collect();
        others.extend(reached.filter(|it| record.old.iter().all(|old| old.side != it.side())));
        if others.iter().all(|other| other.side() != Side::Files) {
            others.push(InUse { backend: Backend::File, engine: None });
        }
        others.retain(|other| other.side() != in_use.side());
        Ok(others)
    }

    /// How to go on with another store that can be read.
    fn way_to(&self, other: InUse) -> Option<String> {
        let count = Which::of(other, self.config()).open(&self.workspace, 0).ok()?.ids().ok()?.len();
        let marker = self.workspace.shown(&self.workspace.marker());
        let engine = other.engine.filter(|engine| *engine != self.config().database.engine);
        let engine =
            engine.map_or_else(String::new, |engine| format!(", set storage.database.type to {}", engine.as_str()));
        Some(format!(
            "write {} into {marker}{engine} and run `milescale doctor --fix`: {other} is in use then, with the {count} \
             milestones that it holds",
            other.backend
        ))
    }
}
