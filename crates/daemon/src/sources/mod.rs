//! Everything that figures come from, looked at together: marker, store, log of storage events.

pub(crate) mod opened;
mod proof;
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use milescale_core::backend::InUse;
use milescale_core::config::Config;
use milescale_core::figures::{Figures, Stale};
use milescale_document::document::Flaw;
use milescale_document::timestamp;
use milescale_sensing::log::EventLog;
use milescale_sensing::watch::Hints;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::marker;
use milescale_workspace::record::Record;

use crate::engine::Mode;
use crate::follow::{Follower, Standing};
use crate::note::Note;
use crate::state::State;
use opened::{LastIds, Opened};

/// How long a milestone must have been unparsable before that is said: editors write in several steps.
const FLAWED_AFTER: Duration = Duration::from_secs(2);

/// Bytes of the paths of milestones that were said to be unparsable: they have to fit into a file that is read again. More are counted.
const SAID_AT_MOST: usize = 4 << 20;

/// How often a source that cannot be read is tried.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long the watch is trusted before everything is looked at again.
const ALL_AGAIN_AFTER: Duration = Duration::from_hours(1);

/// Whether there will be another look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// There will: what may pass by itself is not said yet.
    Wait,
    /// There will not (`check`): it is said at once.
    SayAtOnce,
}

/// The instant of a look, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: SystemTime,
    pub(crate) instant: Instant,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { wall: SystemTime::now(), instant: Instant::now() }
    }

    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::try_from(self.wall).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// The sources of one workspace.
#[derive(Debug)]
pub(crate) struct Sources {
    workspace: Workspace,
    patience: Patience,
    mode: Mode,
    follower: Follower,
    standing: Standing,
    store: Option<Opened>,
    last_ids: LastIds,
    /// The number of milescale's last switch that was followed.
    epoch: u64,
    /// The last look at the store: when it ended, and how long it took.
    surveyed: Option<(Instant, Duration)>,
    /// Why that look failed, where it did: place and cause.
    store_failed: Option<(String, String)>,
    /// Files that the last look wants to see again.
    fresh: BTreeSet<PathBuf>,
    /// When all of the store was looked at last.
    seen_all: Option<Instant>,
    /// Changes of the store may have been missed: only a look at everything tells.
    store_missed: bool,
    log: EventLog,
    figures: Figures,
    marker_modified: Option<SystemTime>,
    /// There is no `.milestones/`, or what milescale has moved there cannot be read.
    is_blind: bool,
    /// A store that is named was not proven, for another command was at work: what that does need not be told.
    is_held_up: bool,
    /// Sources that cannot be read now, and why.
    unavailable: BTreeMap<String, String>,
    /// That the index of hybrid does not take what the files say: its place, and why.
    index_refuses: Option<(String, String)>,
    /// Of these, those that were said.
    said: BTreeMap<String, String>,
    /// Milestones that cannot be parsed, by path as people read it: since when, and those that were said.
    flawed_since: BTreeMap<String, Instant>,
    flawed_said: BTreeSet<String>,
    /// When this process has counted a day.
    day_began: Option<Instant>,
}

impl Sources {
    pub(crate) fn new(workspace: Workspace, state: &State, patience: Patience, mode: Mode) -> Self {
        Self {
            mode,
            store: None,
            last_ids: LastIds::default(),
            epoch: state.epoch,
            surveyed: None,
            store_failed: None,
            fresh: BTreeSet::new(),
            seen_all: None,
            store_missed: true,
            index_refuses: stores::refused_before(&state.unavailable, &workspace),
            log: EventLog::new(workspace.storage_events(), state.log_reported),
            workspace,
            patience,
            follower: Follower::new(state.followed, state.refused.clone()),
            standing: Standing::Undecidable("nothing has been looked at yet".to_owned()),
            figures: state.figures,
            marker_modified: None,
            is_blind: false,
            is_held_up: false,
            unavailable: BTreeMap::new(),
            said: state.unavailable.clone(),
            flawed_since: BTreeMap::new(),
            flawed_said: state.flawed.clone(),
            day_began: None,
        }
    }

    /// Looks at what the hints name; `record` is what milescale has moved. When to look again without a hint.
    pub(crate) fn look(
        &mut self,
        hints: &Hints,
        moment: Moment,
        record: &io::Result<Record>,
        config: &Config,
        notes: &mut Vec<Note>,
    ) -> Option<Duration> {
        self.unavailable = self.index_refuses.clone().into_iter().collect();
        let mut again = None;
        let folder = self.workspace.look_again();
        let folder_is_there = folder.is_ok();
        self.is_blind = !folder_is_there || record.is_err();
        if folder_is_there {
            self.follow_the_switch(record);
            again = earlier(again, self.look_at_marker(hints, moment, config, notes));
            again = earlier(again, self.look_at_store(hints, moment, config));
            self.look_at_log(moment, notes);
            again = earlier(again, self.say_flawed(moment, notes));
        } else {
            self.store_missed = true;
            let reason = match folder {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => error.to_string(),
                _ => "the folder is gone; put it back, or run milescale init".to_owned(),
            };
            self.unavailable.insert(self.shown(&self.workspace.folder()), reason);
        }
        self.say_unavailable(notes);
        if !self.unavailable.is_empty() {
            // The store says itself when it is worth another try.
            again = again.or(Some(RETRY_AFTER));
        }
        again
    }

    /// The number of milescale's last switch that was followed.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    fn look_at_marker(
        &mut self,
        hints: &Hints,
        moment: Moment,
        config: &Config,
        notes: &mut Vec<Note>,
    ) -> Option<Duration> {
        match marker::read(&self.workspace.marker()) {
            Ok(marker) => {
                self.marker_modified = marker.modified;
                let engine = config.database.engine;
                let (standing, again) = self.follower.judge(&marker, engine, moment.instant, moment.wall, notes);
                self.is_held_up = false;
                let standing = match standing {
                    Standing::Named(named) => self.prove(named, hints, moment, config, notes),
                    standing => standing,
                };
                if let Standing::Undecidable(reason) = &standing {
                    self.unavailable.insert(self.shown(&self.workspace.marker()), reason.clone());
                }
                self.standing = standing;
                earlier(again, (self.marker_is_changing() || self.is_held_up).then_some(RETRY_AFTER))
            }
            Err(error) => {
                let reason = format!("the marker cannot be read: {error}");
                self.unavailable.insert(self.shown(&self.workspace.marker()), reason.clone());
                self.standing = Standing::Undecidable(reason);
                None
            }
        }
    }

    fn look_at_log(&mut self, moment: Moment, notes: &mut Vec<Note>) {
        let now = moment.timestamp();
        let file = self.shown(&self.workspace.storage_events());
        match self.log.look(now) {
            Ok(()) => {
                if let Some(bad) = self.log.take_new_bad_lines() {
                    notes.push(Note::LogLinesUnreadable { file, bad });
                }
            }
            Err(error) => drop(self.unavailable.insert(file, error.to_string())),
        }
    }

    /// Says which milestones cannot be parsed, each once, and which are mended.
    fn say_flawed(&mut self, moment: Moment, notes: &mut Vec<Note>) -> Option<Duration> {
        if !self.store_is_read() {
            return None;
        }
        let flawed = self.flawed();
        let mended: Vec<String> = self.flawed_said.iter().filter(|path| !flawed.contains_key(*path)).cloned().collect();
        for path in &mended {
            self.flawed_said.remove(path);
        }
        if !mended.is_empty() {
            notes.push(Note::MilestonesMended(mended));
        }
        self.flawed_since.retain(|path, _| flawed.contains_key(path));
        let mut said: usize = self.flawed_said.iter().map(String::len).sum();
        let (mut due, mut again) = (Vec::new(), None);
        for (path, flaw) in flawed {
            // What is not remembered would be said at each start.
            if self.flawed_said.contains(&path) || said + path.len() > SAID_AT_MOST {
                continue;
            }
            let since = *self.flawed_since.entry(path.clone()).or_insert(moment.instant);
            let stood = moment.instant.duration_since(since);
            if stood >= FLAWED_AFTER || self.patience == Patience::SayAtOnce {
                self.flawed_since.remove(&path);
                said += path.len();
                self.flawed_said.insert(path.clone());
                due.push((path, flaw));
            } else {
                again = earlier(again, Some(FLAWED_AFTER.saturating_sub(stood)));
            }
        }
        if !due.is_empty() {
            notes.push(Note::MilestonesUnparsable(due));
        }
        again
    }

    /// The figures at an instant.
    pub(crate) fn figures(&mut self, moment: Moment) -> Figures {
        let folder_is_there = self.unavailable.keys().all(|source| *source != self.shown(&self.workspace.folder()));
        let log = self.shown(&self.workspace.storage_events());
        if folder_is_there && !self.unavailable.contains_key(&log) {
            self.figures.log = Some(self.log.figures(moment.timestamp()));
        }
        if folder_is_there && matches!(self.standing, Standing::Follows(_)) {
            let modified = self.marker_modified.and_then(|modified| Timestamp::try_from(modified).ok());
            let age = modified.map_or(0, |modified| timestamp::seconds_between(modified, moment.timestamp()));
            self.figures.backend_age_seconds = Some(age);
        }
        self.figures
    }

    /// The backend in use, and why nothing can be decided where that is so.
    pub(crate) fn current(&self) -> (Option<InUse>, Option<String>) {
        match &self.standing {
            Standing::Follows(in_use) | Standing::Named(in_use) => (Some(*in_use), None),
            Standing::Stale { current, .. } => (*current, None),
            Standing::Undecidable(reason) => (self.follower.followed(), Some(reason.clone())),
        }
    }

    /// Sources whose figures are not of now.
    pub(crate) fn stale(&self) -> Vec<Stale> {
        let changed = match &self.standing {
            Standing::Stale { reason, .. } => {
                Some(Stale { source: self.shown(&self.workspace.marker()), reason: reason.clone() })
            }
            _ => None,
        };
        let unavailable = self.unavailable.iter();
        let unavailable = unavailable.map(|(source, reason)| Stale { source: source.clone(), reason: reason.clone() });
        unavailable.chain(changed).collect()
    }

    /// Writes into the memory what must outlive a restart.
    pub(crate) fn remember(&self, state: &mut State) {
        state.followed = self.follower.followed();
        state.epoch = self.epoch;
        state.refused = self.follower.refused().cloned();
        state.unavailable.clone_from(&self.said);
        state.flawed.clone_from(&self.flawed_said);
        state.log_reported = self.log.reported();
    }

    /// Milestones that cannot be parsed, by place as people read it.
    pub(crate) fn flawed(&self) -> BTreeMap<String, Flaw> {
        self.store().map(Store::flawed).unwrap_or_default()
    }

    /// Whether the store in use is followed and could be read. Other sources of figures have no part in that.
    fn store_is_read(&self) -> bool {
        let is_followed = matches!(self.standing, Standing::Follows(_));
        is_followed && self.store_failed.is_none() && self.surveyed.is_some() && !self.is_blind
    }

    /// Whether the store in use is followed and could be read.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.standing, Standing::Follows(_)) && self.store_is_read()
    }

    /// The store in use, where it is followed and could be read.
    pub(crate) fn followed_store(&mut self) -> Option<(InUse, &mut dyn Store)> {
        let Standing::Follows(in_use) = self.standing else { return None };
        if !self.store_is_read() {
            return None;
        }
        self.store.as_mut().map(|opened| (in_use, &mut *opened.store as &mut dyn Store))
    }

    /// The store in use, where it could be opened.
    pub(crate) fn store(&self) -> Option<&dyn Store> {
        self.store.as_ref().map(|opened| &*opened.store)
    }

    /// The log of storage events.
    pub(crate) fn log(&self) -> &EventLog {
        &self.log
    }

    /// Whether the marker was changed so recently that it is not judged yet.
    pub(crate) fn marker_is_changing(&self) -> bool {
        matches!(self.standing, Standing::Stale { .. }) && self.follower.refused().is_none()
    }

    /// Whether the whole store was looked at within the last hour, so that a cycle may go by what was told since.
    pub(crate) fn have_seen_everything(&self) -> bool {
        self.seen_all.is_some_and(|seen| seen.elapsed() < ALL_AGAIN_AFTER)
    }

    /// Whether all that another look could be due for are fresh files.
    pub(crate) fn is_settled(&self) -> bool {
        !self.store_missed
            && self.unavailable.is_empty()
            && self.flawed_since.is_empty()
            && !matches!(self.standing, Standing::Stale { .. })
    }

    /// Paths that were read within a clock tick of their last change.
    pub(crate) fn fresh(&self) -> BTreeSet<PathBuf> {
        self.fresh.clone()
    }

    fn shown(&self, path: &milescale_workspace::Place) -> String {
        self.workspace.shown(path)
    }
}

pub(crate) fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
