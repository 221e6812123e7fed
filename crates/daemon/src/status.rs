//! What `status` tells: the figures, the decision with its reasons, and everything that is wrong.

use std::io;

use milescale_core::backend::Backend;
use milescale_core::base::Side;
use milescale_core::config::{Choice, Config, Problem};
use milescale_core::decision::{Cause, Outlook, Reason, Verdict};
use milescale_core::figures::{Figures, MachineFigures, Stale};
use milescale_core::trend::Trend;
use milescale_document::document::Flaw;
use milescale_document::timestamp;
use milescale_migration::Memory;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::conflicts;
use milescale_workspace::durable;
use milescale_workspace::lock;
use milescale_workspace::read::read_regular;
use milescale_workspace::record::Record;
use milescale_workspace::restoring::Restoring;
use serde::Serialize;
use serde_json::Value;

use crate::config::Origin;
use crate::engine::Engine;

/// Milestones listed; the rest is a count.
const LISTED: usize = 50;

/// Everything that `status --json` prints. The first keys are those of the reference, with its meaning.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the keys are the contract's, sections 4 and 9, or speak for themselves")]
pub struct Status {
    pub current_backend: String,
    pub optimal_backend: String,
    pub status: Verdict,
    pub migration_confidence: Option<u8>,
    pub milestone_count: Option<u64>,
    pub concurrent_users: Option<u64>,
    pub team_size: Option<u64>,
    pub kiro_enabled_count: Option<u64>,
    pub dependency_count: Option<u64>,
    pub complexity_score: Option<u64>,
    pub avg_read_time_ms: Option<i64>,
    pub avg_write_time_ms: Option<i64>,
    pub avg_query_time_ms: Option<i64>,
    pub recent_avg_read_time_ms: Option<i64>,
    pub recent_avg_write_time_ms: Option<i64>,
    pub recent_avg_query_time_ms: Option<i64>,
    pub backend_age_hours: Option<u64>,
    pub performance_trend: Trend,
    pub system: MachineFigures,
    pub reasons: Vec<Reason>,
    pub causes: Vec<Cause>,
    pub outlook: Option<Outlook>,
    pub unavailable_because: Vec<String>,
    pub stale: bool,
    pub stale_sources: Vec<Stale>,
    /// The backend that the configuration pins, where it does.
    pub pinned: Option<Backend>,
    /// The store in use, without a password.
    pub store: String,
    /// What a person could have `doctor --fix` add to the store.
    pub store_improvement: Option<&'static str>,
    pub workspace: String,
    pub looked_at: String,
    pub config: ConfigStatus,
    pub migration: MigrationStatus,
    pub milestones: MilestoneStatus,
    pub log_lines_unreadable: u64,
    /// Of these, those that a power cut left.
    pub log_lines_cut: u64,
    /// The latest stamp of the log, where it lies ahead of the clock.
    pub log_stamp_ahead: Option<String>,
    /// Events whose stamps cannot be read.
    pub log_stamps_unreadable: u64,
    /// The stamp of the last of them as it is written, where there is one.
    pub log_last_unreadable_stamp: Option<String>,
    /// What milescale itself cannot write.
    pub output_problems: Vec<String>,
    /// Who looked: filled in by the daemon and by who asks.
    pub daemon: DaemonStatus,
}

/// The configuration's part of the status.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "they speak for themselves")]
pub struct ConfigStatus {
    pub file: String,
    pub origin: Origin,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
    pub auto_migrate: bool,
    pub thresholds: Thresholds,
}

/// The thresholds in force.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the keys are the contract's, section 3")]
pub struct Thresholds {
    pub milestone_count: milescale_core::config::Steps,
    pub concurrent_users: milescale_core::config::Steps,
}

/// What was moved, what is under way, and what waits for a person.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "they speak for themselves")]
pub struct MigrationStatus {
    /// The phase of the migration under way, or of one that was interrupted.
    pub phase: Option<&'static str>,
    /// Why one is stuck, and what to do.
    pub stuck: Option<String>,
    pub paused: bool,
    /// How often milescale has switched here.
    pub switches: u64,
    /// The number of the last switch that whoever looked has followed.
    pub followed_switch: u64,
    /// Stores that were in use before, as people read them: swept or retired.
    pub old_stores: Vec<OldStore>,
    /// Changes of old stores that wait for `milescale import`.
    pub held: u64,
    /// These milestones, of each old store; a few.
    pub held_milestones: Vec<(Side, String)>,
    /// Milestones of old stores that cannot be brought over.
    pub failing: u64,
    /// These milestones and why; a few.
    pub failing_milestones: Vec<(Side, String, String)>,
    /// What keeps the recommended move from being carried out by itself, where `auto_migrate` is on.
    pub waits_because: Option<String>,
    /// Why nothing may be written on the server of this workspace, where that was asked: it may be a copy.
    pub in_question: Option<String>,
    /// The restore that is not over, and the commands that end it.
    pub unfinished_restore: Option<String>,
    /// Contents in conflict that wait for `milescale conflicts resolve`.
    pub conflicts: u64,
    /// What cannot be swept or read now, and why.
    pub problems: Vec<String>,
    /// Attempts of milescale's own that failed, the last because of.
    pub failed_attempts: u32,
    pub last_failure: Option<String>,
}

/// A store that was in use before.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "they speak for themselves")]
pub struct OldStore {
    pub side: Side,
    pub name: String,
    pub retired: Option<String>,
}

/// What is wrong with milestones.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "they speak for themselves")]
pub struct MilestoneStatus {
    pub unparsable: u64,
    pub first_unparsable: Vec<Unparsable>,
    /// Ids that several files have.
    pub duplicate_ids: Vec<(String, Vec<String>)>,
    /// Files whose `id:` is not their name: path, name, `id:`.
    pub other_ids: Vec<(String, String, String)>,
}

/// A milestone that cannot be parsed.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "they speak for themselves")]
pub struct Unparsable {
    pub path: String,
    #[serde(flatten)]
    pub flaw: Flaw,
}

/// Whether a daemon runs, and when it last looked.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "they speak for themselves")]
pub struct DaemonStatus {
    pub running: bool,
    pub pid: Option<u32>,
    /// When its last complete cycle was.
    pub last_cycle: Option<String>,
    /// Seconds between two cycles.
    pub interval: Option<f64>,
    /// Why changes are found by looking only, where they are.
    pub not_watching: Option<String>,
}

impl Status {
    /// Sources whose figures are not of now, in words, but for those that the reasons why nothing can be decided name already.
    pub fn stale_sources_not_told(&self) -> Vec<String> {
        let stale = self.stale_sources.iter().map(|stale| format!("{}: {}", stale.source, stale.reason));
        stale.filter(|stale| !self.unavailable_because.contains(stale)).collect()
    }

    /// The status of what an engine saw last; one that saw nothing yet has no figures.
    pub fn of(engine: &Engine) -> Self {
        let (sources, keeper) = (&engine.sources, &engine.config);
        let config: &Config = keeper.config();
        let observation = engine.observed.as_ref();
        let figures = observation.map_or_else(Figures::default, |observation| observation.figures);
        let decision = engine.decision.as_ref();
        let word = |backend: Option<Backend>| backend.map_or("", Backend::as_str).to_owned();
        let (store, log) = (figures.store, figures.log);
        let now = observation.map(|observation| observation.now);
        Self {
            current_backend: word(decision.and_then(|decision| decision.current)),
            optimal_backend: word(decision.and_then(|decision| decision.optimal)),
            status: decision.map_or(Verdict::Unavailable, |decision| decision.verdict),
            migration_confidence: decision.and_then(|decision| decision.confidence),
            milestone_count: store.map(|store| store.milestone_count),
            concurrent_users: log.map(|log| log.concurrent_users),
            team_size: log.map(|log| log.team_size),
            kiro_enabled_count: store.map(|store| store.kiro_enabled_count),
            dependency_count: store.map(|store| store.dependency_count),
            complexity_score: figures.complexity_score(),
            avg_read_time_ms: log.map(|log| log.read.average),
            avg_write_time_ms: log.map(|log| log.write.average),
            avg_query_time_ms: log.map(|log| log.query.average),
            recent_avg_read_time_ms: log.map(|log| log.read.recent),
            recent_avg_write_time_ms: log.map(|log| log.write.recent),
            recent_avg_query_time_ms: log.map(|log| log.query.recent),
            backend_age_hours: figures.backend_age_hours(),
            performance_trend: decision.map_or(Trend::Unknown, |decision| decision.trend),
            system: figures.machine,
            reasons: decision.map(|decision| decision.reasons.clone()).unwrap_or_default(),
            causes: decision.map(|decision| decision.causes.clone()).unwrap_or_default(),
            outlook: decision.and_then(|decision| decision.outlook.clone()),
            unavailable_because: decision.map(|decision| decision.unavailable_because.clone()).unwrap_or_default(),
            stale: decision.is_some_and(|decision| decision.stale),
            stale_sources: sources.stale(),
            pinned: match config.backend {
                Choice::Auto => None,
                Choice::Pinned(backend) => Some(backend),
            },
            store: sources.store().map(Store::name).unwrap_or_default(),
            store_improvement: sources.store().and_then(Store::improvement),
            workspace: engine.workspace.root().to_string_lossy().into_owned(),
            looked_at: now.map(timestamp::to_text).unwrap_or_default(),
            config: ConfigStatus {
                file: keeper.shown(),
                origin: keeper.origin(),
                problems: keeper.problems().to_vec(),
                warnings: keeper.warnings().to_vec(),
                auto_migrate: config.migration.auto_migrate,
                thresholds: Thresholds {
                    milestone_count: config.milestone_count,
                    concurrent_users: config.concurrent_users,
                },
            },
            migration: migration(engine),
            milestones: milestones(engine),
            log_lines_unreadable: sources.log().bad_lines(),
            log_lines_cut: sources.log().cut_lines(),
            log_stamps_unreadable: sources.log().undated().count,
            log_last_unreadable_stamp: Some(sources.log().undated().last.clone()).filter(|stamp| !stamp.is_empty()),
            log_stamp_ahead: sources
                .log()
                .latest_stamp()
                .filter(|stamp| now.is_some_and(|now| *stamp > now))
                .map(timestamp::to_text),
            output_problems: engine.output.failing(),
            daemon: DaemonStatus::default(),
        }
    }

    /// Lets programs read it while the daemon runs.
    pub(crate) fn publish(&self, workspace: &Workspace) -> io::Result<()> {
        durable::publish(&workspace.published(), &serde_json::to_vec(self)?)
    }
}

/// What the running daemon has published last.
pub fn published(workspace: &Workspace) -> io::Result<Value> {
    let (content, _) = read_regular(&workspace.published(), 16 << 20)?;
    Ok(serde_json::from_slice(&content)?)
}

fn migration(engine: &Engine) -> MigrationStatus {
    let workspace = &engine.workspace;
    let mut problems = engine.unswept();
    problems.extend(locked_out(workspace));
    let record = Record::load(workspace).unwrap_or_else(|error| {
        problems.push(format!("{}: {error}", workspace.shown(&workspace.record())));
        Record::default()
    });
    let memory = Memory::load(workspace).unwrap_or_else(|error| {
        problems.push(error);
        Memory::default()
    });
    // What was said of a store while it was left says nothing of it while it is in use.
    let of_old = || memory.sides().filter(|(side, _)| record.old.iter().any(|old| old.side == *side));
    let held = of_old().flat_map(|(side, of)| of.held.keys().map(move |id| (side, id.clone())));
    let failing =
        of_old().flat_map(|(side, of)| of.failing_named().map(move |(id, why)| (side, id.to_owned(), why.to_owned())));
    let conflicts = conflicts::count(workspace).unwrap_or_else(|error| {
        problems.push(format!("{}: {error}", workspace.shown(&workspace.conflicts())));
        0
    });
    let restoring = Restoring::load(workspace).unwrap_or_else(|error| {
        problems.push(format!("{}: {error}", workspace.shown(&workspace.restoring())));
        None
    });
    let (failed_attempts, last_failure) = engine.failed_attempts();
    MigrationStatus {
        phase: record.intent.as_ref().map(|intent| intent.phase.as_str()),
        stuck: record.intent.as_ref().and_then(|intent| intent.stuck.clone()),
        paused: engine.is_paused(),
        switches: record.epoch,
        followed_switch: engine.sources.epoch(),
        old_stores: record
            .old
            .iter()
            .map(|old| OldStore { side: old.side, name: old.name.clone(), retired: old.retired.clone() })
            .collect(),
        held: of_old().map(|(_, of)| of.held.len() as u64).sum(),
        held_milestones: held.take(LISTED).collect(),
        failing: of_old().map(|(_, of)| of.failing_count()).sum(),
        failing_milestones: failing.take(LISTED).collect(),
        waits_because: engine.waits_because(),
        in_question: None,
        unfinished_restore: restoring.map(|restoring| restoring.sentence()),
        conflicts,
        problems,
        failed_attempts,
        last_failure,
    }
}

/// Locks that this process could not take though it may write beside them, and why.
fn locked_out(workspace: &Workspace) -> Vec<String> {
    let locks = [workspace.migration_lock(), workspace.switch_lock(), workspace.switch_gate(), workspace.write_lock()];
    let unusable = locks.iter().filter_map(|path| {
        let why = lock::unusable(path)?;
        Some(format!("{}: it cannot be locked: {why}", workspace.shown(path)))
    });
    unusable.collect()
}

fn milestones(engine: &Engine) -> MilestoneStatus {
    let flawed = engine.sources.flawed();
    let store = engine.sources.store();
    let duplicates = store.map(Store::duplicates).unwrap_or_default();
    let other_ids = store.map(Store::other_ids).unwrap_or_default();
    MilestoneStatus {
        unparsable: flawed.len() as u64,
        first_unparsable: flawed.into_iter().take(LISTED).map(|(path, flaw)| Unparsable { path, flaw }).collect(),
        duplicate_ids: duplicates.into_iter().take(LISTED).collect(),
        other_ids: other_ids.into_iter().take(LISTED).collect(),
    }
}
