//! What a migration would do, and every reason why it could not, all at once; nothing is changed for it.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use milescale_core::backend::InUse;
use milescale_core::base::Side;
use milescale_core::migration::Adopt;
use milescale_document::columns::ARCHIVED;
use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_document::text::harmless;
use milescale_storage::scan::scan_as;
use milescale_storage::store::Store;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::record::Record;
use milescale_workspace::trial::Hindrance;
use serde::Serialize;

use crate::context::{Context, Error};
use crate::level::there;
use crate::moving::adopt::Comparison;
use crate::on_the_way::on_the_way;
use crate::preflight;
use crate::told::word;

/// How long a milestone that cannot be read has to stand still before it is an obstacle.
const STANDS_STILL: Duration = Duration::from_millis(1200);

/// How often it is looked at meanwhile: one that is written again and again is half written at some looks, not at all.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long it is waited for at most, where it goes on changing.
const PATIENCE: Duration = Duration::from_millis(3600);

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The store in use.
    pub from: InUse,
    /// The store that is to be.
    pub to: InUse,
    /// What `DATABASE_TYPE` says, where it is set.
    pub engine_of_environment: Option<String>,
    /// What `DATABASE_URL` says, where it is set.
    pub url_of_environment: Option<String>,
    /// How a target is taken over that another program has filled; `None`: that stands against the move.
    pub adopt: Option<Adopt>,
    /// Whether milescale moves by itself, and no person was asked.
    pub automatic: bool,
    /// Whether a backup is restored into the target afterwards: then what is gone in the source is meant to be gone.
    pub restores: bool,
}

/// Why a migration could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// Where: a path or a table.
    pub place: String,
    /// The line, where there is one.
    pub line: Option<u32>,
    /// Why.
    pub reason: String,
    /// What to do.
    pub do_this: String,
}

/// What a migration would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The word of the store in use.
    pub from: &'static str,
    /// The word of the store that is to be.
    pub to: &'static str,
    /// The store in use, as people read it.
    pub source: String,
    /// The store that is to be.
    pub target: String,
    /// Milestones.
    pub milestones: u64,
    /// Bytes of their texts.
    pub bytes: u64,
    /// Seconds that it may take.
    pub estimated_seconds: f64,
    /// Whether a backup is taken first.
    pub backup: bool,
    /// Every reason why it could not be done.
    pub obstacles: Vec<Obstacle>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// Milestones that count now and would not afterwards.
    pub counted_no_more: Vec<String>,
    /// Archived milestones that do not count now and would afterwards.
    pub counted_again: Vec<String>,
    /// How source and target compare, where the target is taken over.
    pub adopting: Option<Comparison>,
    /// The target is another store than the one that milescale knows as an old one.
    #[serde(skip)]
    pub target_is_another: bool,
}

/// What a plan keeps of a milestone that it has read.
struct Seen {
    id: String,
    place: String,
    bytes: u64,
    is_archived: bool,
    /// Why not every store can keep it, where that is so.
    doubtful: Option<Box<Doubtful>>,
}

/// A milestone that not every store can keep, or that is just being written.
struct Doubtful {
    id: String,
    place: String,
    text: Digest,
    flaw: Option<Flaw>,
}

impl Doubtful {
    fn of(milestone: Milestone) -> Self {
        Self { text: milestone.digest(), id: milestone.id, place: milestone.place, flaw: milestone.value.err() }
    }
}

impl Seen {
    fn of(milestone: Milestone) -> Self {
        let is_doubtful = milestone.value.is_err() || milestone.id.parse::<Id>().is_err();
        Self {
            id: milestone.id.clone(),
            place: milestone.place.clone(),
            bytes: milestone.text.len() as u64,
            is_archived: milestone.columns.status.as_deref() == Some(ARCHIVED),
            doubtful: is_doubtful.then(|| Box::new(Doubtful::of(milestone))),
        }
    }
}

/// How many times as long as its plan a migration takes: what moves between the same files is planned by sizes alone, and what
/// comes from SQLite is read with pauses, which are most of its plan.
fn effort(from: InUse, to: InUse) -> f64 {
    match (from.side(), to.side()) {
        (Side::Files, Side::Files) => 12.0,
        (_, Side::Sqlite) => 6.0,
        (Side::Sqlite, Side::Files) => 5.0,
        (_, Side::Files | Side::Postgresql) => 10.0,
    }
}

/// Plans. Reads all of the store in use; changes nothing.
///
/// # Errors
/// When the store in use or milescale's own files cannot be read.
pub fn plan(wish: &Wish, record: &Record, context: &mut Context<'_>) -> Result<Plan, Error> {
    let Wish { from, to, .. } = *wish;
    let started = Instant::now();
    let mut source = context.open(from)?;
    let mut target = context.open(to);
    if let Ok(target) = &mut target {
        target.may_be_another();
    }
    let mut plan = Plan {
        from: word(from),
        to: word(to),
        source: source.name(),
        target: target.as_ref().map(|target| target.name()).unwrap_or_default(),
        milestones: 0,
        bytes: 0,
        estimated_seconds: 0.0,
        backup: context.config.migration.backup_before_migration,
        obstacles: Vec::new(),
        notes: Vec::new(),
        counted_no_more: Vec::new(),
        counted_again: Vec::new(),
        adopting: None,
        target_is_another: false,
    };
    let moves = from.side() != to.side();
    let has_to_try = moves && target.as_mut().is_ok_and(|target| preflight::has_to_try(&mut **target));
    let tried = target.as_mut().ok().filter(|_| has_to_try);
    let (archived, doubtful) = plan.read(&mut *source, tried, moves, context)?;
    plan.estimated_seconds = started.elapsed().as_secs_f64() * effort(from, to);
    plan.look_again(&mut *source, doubtful, context)?;
    if moves && from.side() == Side::Files {
        plan.counted_no_more.clone_from(&archived);
    }
    preflight::look(&mut plan, wish, record, &mut *source, target, &archived, context)?;
    // A server that cannot be reached stands against each look at it in the same words.
    let mut told = HashSet::new();
    plan.obstacles.retain(|it| told.insert((it.place.clone(), it.line, it.reason.clone())));
    Ok(plan)
}

impl Plan {
    /// Whether it could be done.
    pub fn is_possible(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// Every obstacle, a line each.
    pub fn obstacles_text(&self) -> String {
        let line = |it: &Obstacle| {
            let line = it.line.map(|line| format!(":{line}")).unwrap_or_default();
            let advice = if it.do_this.is_empty() { String::new() } else { format!("; {}", it.do_this) };
            harmless(&format!("{}{line}: {}{advice}", it.place, it.reason))
        };
        self.obstacles.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Takes over what was found to hinder the move.
    pub(crate) fn hindered(&mut self, found: &[Hindrance]) {
        for Hindrance { place, reason, do_this } in found {
            self.obstacle(place, None, reason.as_str(), do_this);
        }
    }

    pub(crate) fn obstacle(&mut self, place: &str, line: Option<u32>, reason: impl Into<String>, do_this: &str) {
        let (place, reason, do_this) = (place.to_owned(), reason.into(), do_this.to_owned());
        self.obstacles.push(Obstacle { place, line, reason, do_this });
    }

    /// Counts what is there and finds ids that stand twice. Where contents move, every milestone is read: the ids of archived
    /// ones, and those that not every store can keep. `tried` is a target that each of them is tried on.
    fn read(
        &mut self,
        source: &mut dyn Store,
        tried: Option<&mut Box<dyn Store>>,
        moves: bool,
        context: &Context<'_>,
    ) -> Result<(Vec<String>, Vec<Doubtful>), Error> {
        let (mut before, mut stopped): (Option<(String, String)>, _) = (None, Ok(()));
        let mut count = |id: String, place: String, bytes: u64| {
            self.milestones += 1;
            self.bytes += bytes;
            if let Some((_, other)) = before.as_ref().filter(|(before, _)| *before == id) {
                let reason = format!("its id stands a second time, in {other}");
                self.obstacle(&place, None, reason, "rename or remove one of the two");
            }
            before = Some((id, place));
            stopped = context.go_on();
            if stopped.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let (mut archived, mut doubtful) = (Vec::new(), Vec::new());
        let mut keep = |seen: Seen| {
            archived.extend(seen.is_archived.then(|| seen.id.clone()));
            doubtful.extend(seen.doubtful.map(|doubtful| *doubtful));
            count(seen.id, seen.place, seen.bytes)
        };
        let refused = match tried {
            Some(target) => read_and_try(source, &mut **target, context.now(), &mut keep)?,
            None if moves => scan_as(source, Seen::of, &mut keep).map(|()| Ok(Vec::new()))?,
            None => source.scan_sizes(&mut count).map(|()| Ok(Vec::new()))?,
        };
        stopped?;
        match refused {
            Ok(refused) => preflight::refused(self, source, &refused),
            Err(error) => self.obstacle(&error.place, None, format!("it cannot be tried there: {}", error.cause), ""),
        }
        Ok((archived, doubtful))
    }

    /// Milestones that not every store can keep, or that are just being written: half a file is read again.
    fn look_again(
        &mut self,
        source: &mut dyn Store,
        mut doubtful: Vec<Doubtful>,
        context: &Context<'_>,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let mut changed = started;
        while changed.elapsed() < STANDS_STILL && started.elapsed() < PATIENCE {
            if doubtful.iter().all(|it| it.id.parse::<Id>().is_err()) {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
            context.go_on()?;
            let mut still = Vec::new();
            for before in doubtful {
                let Ok(id) = before.id.parse::<Id>() else {
                    still.push(before);
                    continue;
                };
                match there(source.get(&id)) {
                    Ok(Some(now)) if now.value.is_err() => {
                        let now = Doubtful::of(now);
                        if now.text != before.text {
                            changed = Instant::now();
                        }
                        still.push(now);
                    }
                    Ok(_) => {}
                    Err(_) => still.push(before),
                }
            }
            doubtful = still;
        }
        for it in &doubtful {
            self.look_at(it);
        }
        Ok(())
    }

    /// A milestone that not every store can keep.
    fn look_at(&mut self, doubtful: &Doubtful) {
        if let Some(flaw) = &doubtful.flaw {
            let line = flaw.position.map(|position| position.line);
            self.obstacle(&doubtful.place, line, flaw.reason.clone(), "");
        }
        if let Err(bad) = doubtful.id.parse::<Id>() {
            self.obstacle(&doubtful.place, None, bad.to_string(), "give it another id");
        }
    }
}

/// Reads every milestone and tries each on the target meanwhile. Those that it would refuse, or why they cannot be tried.
fn read_and_try(
    source: &mut dyn Store,
    target: &mut dyn Store,
    now: Timestamp,
    keep: &mut dyn FnMut(Seen) -> ControlFlow<()>,
) -> Result<Result<Vec<(String, String)>, StoreError>, Error> {
    let (mut sending, received) =
        on_the_way(|(packed, _): &(Option<Packed>, Seen)| packed.as_ref().map_or(0, Packed::bytes));
    thread::scope(|scope| {
        let reader = thread::Builder::new().spawn_scoped(scope, move || {
            // What no store can keep is an obstacle anyway.
            let both = |it: Milestone| (Draft::of(it.clone(), now).ok().map(Packed::of), Seen::of(it));
            let read = scan_as(source, both, &mut |both| sending.send(both));
            sending.end();
            read
        });
        let reader = reader.map_err(|error| Error::no_thread(&error))?;
        let mut milestones = received.map_while(|(packed, seen)| keep(seen).is_continue().then_some(packed)).flatten();
        let refused = target.try_out(&mut milestones);
        milestones.for_each(drop);
        reader.join().unwrap_or_else(|_| {
            Err(StoreError::new(Problem::Unavailable, "the plan", "the reader of the source panicked"))
        })?;
        Ok(refused)
    })
}
