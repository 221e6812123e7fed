//! `milescale status`: the figures, the decision with its reasons, and what is wrong. Looks itself, also beside a
//! daemon, so that what it prints is of now; of the daemon it tells whether it runs and when it last looked.

use std::process::ExitCode;

use milescale_core::decision::{Part, Verdict};
use milescale_daemon::status::{DaemonStatus, MigrationStatus, Status, published};
use milescale_document::text::{counted, harmless};
use milescale_workspace::Workspace;
use milescale_workspace::lock;
use serde_json::{Value, json};

use super::migrate::mover;
use crate::args::StatusOptions;
use crate::context::{Context, Failure};
use crate::terminal::{self, Line, Screen, Style};

/// The exit status where a source of figures cannot be read, or nothing can be decided.
const UNAVAILABLE: u8 = 12;

pub(crate) fn run(context: &Context, options: &StatusOptions) -> Result<ExitCode, Failure> {
    let mut engine = context.looked_at()?;
    engine.measure_machine();
    let mut status = Status::of(&engine);
    let daemon = Daemon::of(engine.workspace());
    status.daemon = daemon.status.clone();
    status.output_problems.clone_from(&daemon.output_problems);
    daemon.add_to(&mut status.migration);
    // A server that cannot be read cannot be asked that either.
    if status.stale_sources.is_empty() {
        status.migration.in_question = mover(context)?.in_question().ok().flatten();
    }
    if options.json {
        if status.unavailable_because.is_empty() {
            status.unavailable_because = status.stale_sources_not_told();
        }
        let mut object = json!(status);
        object["daemon"]["last_look"] = json!(daemon.last_look);
        terminal::json(&object);
    } else {
        Page { screen: Screen::new(), status: &status, daemon: &daemon }.print();
    }
    Ok(match status.status {
        _ if !options.exit_code => ExitCode::SUCCESS,
        // A verdict on the last known figures is none on those of now.
        _ if !status.stale_sources.is_empty() => ExitCode::from(UNAVAILABLE),
        Verdict::Optimal => ExitCode::SUCCESS,
        Verdict::Monitoring => ExitCode::from(10),
        Verdict::MigrationRecommended => ExitCode::from(11),
        Verdict::Unavailable => ExitCode::from(UNAVAILABLE),
    })
}

/// The daemon, as its lock and what it publishes tell.
#[derive(Debug, Default)]
pub(crate) struct Daemon {
    pub(crate) status: DaemonStatus,
    pub(crate) last_look: Option<String>,
    pub(crate) output_problems: Vec<String>,
    /// Old stores that it cannot sweep now, and why.
    sweep_problems: Vec<String>,
    /// What keeps it from carrying out the recommended move.
    waits_because: Option<String>,
}

impl Daemon {
    pub(crate) fn of(workspace: &Workspace) -> Self {
        let holder = lock::holder(&workspace.daemon_lock());
        let published = published(workspace).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mut daemon = Self {
            status: DaemonStatus { running: holder.is_some(), pid: holder.flatten(), ..DaemonStatus::default() },
            last_look: text(&published["looked_at"]),
            output_problems: Vec::new(),
            sweep_problems: Vec::new(),
            waits_because: None,
        };
        daemon.status.last_cycle = text(&published["daemon"]["last_cycle"]);
        if daemon.status.running {
            daemon.status.interval = published["daemon"]["interval"].as_f64();
            daemon.status.not_watching = text(&published["daemon"]["not_watching"]);
            let problems = published["output_problems"].as_array().into_iter().flatten();
            daemon.output_problems = problems.filter_map(text).collect();
            let problems = published["migration"]["problems"].as_array().into_iter().flatten();
            daemon.sweep_problems = problems.filter_map(text).collect();
            daemon.waits_because = text(&published["migration"]["waits_because"]);
        }
        daemon
    }

    /// Adds to what was moved what only the daemon knows.
    pub(crate) fn add_to(&self, moves: &mut MigrationStatus) {
        for problem in &self.sweep_problems {
            if !moves.problems.contains(problem) {
                moves.problems.push(problem.clone());
            }
        }
        moves.waits_because = moves.waits_because.take().or_else(|| self.waits_because.clone());
    }
}

struct Page<'a> {
    screen: Screen,
    status: &'a Status,
    daemon: &'a Daemon,
}

/// A figure for people: `?` where none was ever known.
pub(crate) fn figure(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

impl Page<'_> {
    fn print(&self) {
        self.verdict();
        self.figures();
        self.reasons();
        self.moves();
        self.wrong();
        self.daemon();
    }

    /// What was moved, what is under way, what waits for a person.
    fn moves(&self) {
        let moves = &self.status.migration;
        let mut rows = Vec::new();
        if let Some(phase) = moves.phase.filter(|_| moves.stuck.is_none()) {
            rows.push(self.screen.paint(Style::Attention, &format!("under way: {}", phase.replace('_', " "))));
        }
        rows.extend(moves.stuck.iter().map(|why| self.screen.paint(Style::Bad, &format!("stuck: {why}"))));
        if moves.paused {
            rows.push(self.screen.paint(Style::Attention, "automatic migrations are paused (milescale resume)"));
        }
        if let Some(why) = &moves.waits_because {
            rows.push(self.screen.paint(Style::Attention, &format!("the recommended move is not carried out: {why}")));
        }
        let when = if self.daemon.status.running { "" } else { " by `milescale run` or `milescale check`" };
        // Where something stands against it, that is said instead.
        for old in moves.old_stores.iter().filter(|old| old.retired.is_none() && moves.problems.is_empty()) {
            rows.push(Line::from(&format!("what is written to the old store {} is brought over{when}", old.name)));
        }
        let held: Vec<String> = moves.held_milestones.iter().map(|(side, id)| format!("{id} ({side})")).collect();
        rows.extend(moves.failing_milestones.iter().map(|(side, id, why)| {
            self.screen.paint(Style::Bad, &format!("{id} of {side} cannot be brought over: {why}"))
        }));
        let waiting = counted(moves.held, "change of an old store waits", "changes of an old store wait");
        let held = format!("{waiting} for `milescale import`: {}", harmless(&held.join(", ")));
        let conflicts = counted(moves.conflicts, "content is", "contents are");
        let conflicts = format!("{conflicts} in conflict; `milescale conflicts` names them");
        for (count, what) in [(moves.held, held), (moves.conflicts, conflicts)] {
            if count > 0 {
                rows.push(self.screen.paint(Style::Bad, &what));
            }
        }
        rows.extend(moves.unfinished_restore.iter().map(|what| self.screen.paint(Style::Bad, what)));
        rows.extend(moves.in_question.iter().map(|why| self.screen.paint(Style::Bad, why)));
        rows.extend(moves.problems.iter().map(Line::from));
        for (number, row) in rows.into_iter().enumerate() {
            self.row(if number == 0 { "migration" } else { "" }, row);
        }
    }

    fn row(&self, label: &str, text: impl Into<Line>) {
        terminal::line(self.screen.paint(Style::Heading, &format!("{label:<12}")).then(" ").then(text));
    }

    fn verdict(&self) {
        let status = self.status;
        let (style, text) = match status.status {
            Verdict::Optimal => (Style::Good, "optimal".to_owned()),
            Verdict::Monitoring => (Style::Attention, format!("monitoring: {} fits better", status.optimal_backend)),
            Verdict::MigrationRecommended => {
                (Style::Attention, format!("recommended: {} → {}", status.current_backend, status.optimal_backend))
            }
            Verdict::Unavailable => (Style::Bad, "unavailable: nothing can be decided".to_owned()),
        };
        self.row("workspace", &status.workspace);
        let current = if status.current_backend.is_empty() { "?" } else { &status.current_backend };
        let pinned = match status.pinned {
            Some(pinned) if pinned.as_str() == current => " (pinned)".to_owned(),
            Some(pinned) => format!(" (pinned to {pinned}, which is not the one in use; nothing moves by itself)"),
            None => String::new(),
        };
        let age = status.backend_age_hours.map(|hours| format!(", for {hours} h")).unwrap_or_default();
        self.row("backend", &format!("{current}{age}{pinned}"));
        self.row("verdict", self.screen.paint(style, &text));
        for reason in &status.unavailable_because {
            self.row("", reason);
        }
        if let Some(confidence) = status.migration_confidence {
            self.row("confidence", &format!("{confidence} of 100 (a move is recommended from 80 on)"));
        }
        if let Some(outlook) = &status.outlook {
            self.row("outlook", &outlook.words);
        }
    }

    fn figures(&self) {
        let status = self.status;
        // The log of events says nothing of milestones; every other source does.
        let is_log = |source: &str| source.ends_with("storage-events.jsonl");
        let is_stale = status.stale_sources.iter().any(|stale| !is_log(&stale.source));
        let known = if is_stale && status.milestone_count.is_some() { "last known: " } else { "" };
        self.row(
            "milestones",
            &format!(
                "{known}{} ({} kiro workflows, {} dependencies), complexity {}",
                figure(status.milestone_count),
                figure(status.kiro_enabled_count),
                figure(status.dependency_count),
                figure(status.complexity_score)
            ),
        );
        self.row(
            "people",
            &format!(
                "{} in the last hour, {} in the last day",
                figure(status.concurrent_users),
                figure(status.team_size)
            ),
        );
        self.row(
            "mean times",
            &format!(
                "read {} ms, write {} ms, query {} ms (last ten queries {} ms), {}",
                figure(status.avg_read_time_ms),
                figure(status.avg_write_time_ms),
                figure(status.avg_query_time_ms),
                figure(status.recent_avg_query_time_ms),
                status.performance_trend
            ),
        );
        let percent = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| format!("{value} %"));
        let system = status.system;
        self.row(
            "machine",
            &format!(
                "processors {}, memory {}, disk {}",
                percent(system.cpu_usage_percent),
                percent(system.memory_usage_percent),
                percent(system.disk_io_percent)
            ),
        );
    }

    fn reasons(&self) {
        for (number, reason) in self.status.reasons.iter().enumerate() {
            let what = match (reason.part, reason.threshold) {
                (Part::Age, Some(step)) => format!("backend in use for {} h (step {step})", reason.value),
                (Part::Overage, Some(step)) => format!("{} milestones over the threshold (step {step})", reason.value),
                (Part::Overage | Part::Age, None) => "no threshold of milestones to be over".to_owned(),
                (Part::Trend, _) => format!("query times {}", reason.value),
                (Part::Clamp, _) => format!("the sum {} is kept within 0 and 100", reason.value),
            };
            self.row(if number == 0 { "reasons" } else { "" }, &format!("{:+4}  {what}", reason.points));
        }
        for cause in &self.status.causes {
            self.row("", &format!("      {} fits because of {}", self.status.optimal_backend, cause.words()));
        }
    }

    fn wrong(&self) {
        let status = self.status;
        let warn = |text: &str| self.row("", self.screen.paint(Style::Bad, text));
        for stale in status.stale_sources_not_told() {
            warn(&format!("not of now: {stale}"));
        }
        for problem in &status.config.problems {
            warn(&format!("{}: {problem}; what was in force stays so", status.config.file));
        }
        for warning in &status.config.warnings {
            warn(&format!("{}: {warning}", status.config.file));
        }
        for flawed in &status.milestones.first_unparsable {
            warn(&format!("{}: {}", flawed.path, flawed.flaw));
        }
        let more = status.milestones.unparsable.saturating_sub(status.milestones.first_unparsable.len() as u64);
        if more > 0 {
            warn(&format!("and {more} more milestones that cannot be parsed"));
        }
        for (id, paths) in &status.milestones.duplicate_ids {
            warn(&format!("the id {id} stands twice: {}", paths.join(", ")));
        }
        for problem in &status.output_problems {
            warn(problem);
        }
    }

    fn daemon(&self) {
        let DaemonStatus { running, pid, last_cycle, not_watching, .. } = &self.daemon.status;
        let last = match (&self.daemon.last_look, last_cycle) {
            (Some(look), Some(cycle)) => format!("; it last looked at {look}, its last cycle was at {cycle}"),
            (Some(look), None) => format!("; it last looked at {look}"),
            _ => String::new(),
        };
        if *running {
            let pid = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            self.row("daemon", &format!("runs{pid}{last}"));
        } else {
            self.row("daemon", &format!("does not run{last}"));
        }
        if let Some(not_watching) = not_watching {
            self.row("", self.screen.paint(Style::Attention, not_watching));
        }
    }
}
