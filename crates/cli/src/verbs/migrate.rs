//! `milescale migrate` and `milescale rollback`.

use std::process::ExitCode;

use milescale_core::backend::{Engine, InUse};
use milescale_core::migration::Adopt;
use milescale_daemon::Mover;
use milescale_document::text::counted;
use milescale_migration::{Done, Plan, Progress, Told};
use milescale_workspace::Workspace;
use serde_json::json;

use crate::args::{ConsentOptions, MigrateOptions};
use crate::context::{Context, Failure};
use crate::terminal::{self, Lines};

/// Characters of the bar.
const BAR: usize = 24;

/// Changes that wait for a person, named before a move.
const NAMED: usize = 5;

pub(crate) fn migrate(context: &Context, options: &MigrateOptions) -> Result<ExitCode, Failure> {
    let mover = mover_of_stores(context, options.engine, options.consent.yes)?;
    // A dry run changes nothing; whoever moves goes by what an interrupted migration comes to.
    let (mover, has_finished) = if options.dry_run { (mover, false) } else { recovered(&mover)? };
    let to = mover.store(options.backend, options.engine);
    if options.engine.is_some() && to.engine.is_none() {
        return Err(Failure::Usage(format!("--engine is for the backend database, and {to} has none")));
    }
    if let Some(pinned) = mover.pinned().filter(|pinned| *pinned != to.backend && !options.force) {
        return Err(Failure::Usage(format!(
            "storage.backend pins {pinned}; say --force to migrate to {to} all the same, and set storage.backend then"
        )));
    }
    let in_use = mover.in_use().map_err(Failure::Failed)?;
    if in_use == to && !options.dry_run && mover.write_back().map_err(Failure::Failed)? {
        terminal::line(&format!("{to} is in use, and marker and configuration say so again"));
        return Ok(ExitCode::SUCCESS);
    }
    if in_use == to && has_finished {
        terminal::line(&format!("the interrupted migration is finished: {to} is in use"));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(named) = mover.named_instead().map_err(Failure::Failed)?.filter(|_| in_use == to && options.dry_run) {
        mover.can_be_written_back().map_err(Failure::Failed)?;
        print_write_back(to, named, options.consent.json);
        return Ok(ExitCode::SUCCESS);
    }
    let how = if options.source_wins { Adopt::SourceWins } else { Adopt::TargetWins };
    let adopt = options.adopt.then_some(how);
    if options.dry_run {
        let stop = stop_on_signal(mover.workspace());
        let plan = mover.plan(to, adopt, &stop).map_err(Failure::Failed)?;
        print_plan(&plan, options.consent.json);
        return Ok(if plan.is_possible() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    carry_out(&mover, (to, adopt), &options.consent, &format!("Move the milestones from {in_use} to {to}?"))
}

pub(crate) fn rollback(context: &Context, options: &ConsentOptions) -> Result<ExitCode, Failure> {
    let (mover, _) = recovered(&mover_of_stores(context, None, options.yes)?)?;
    let to = mover.before().map_err(Failure::Failed)?;
    let in_use = mover.in_use().map_err(Failure::Failed)?;
    if to == in_use {
        return Err(Failure::Failed(format!("{to} is in use; there is nothing to go back from")));
    }
    let question = format!("Move the milestones back from {in_use} to {to}, with everything written since?");
    carry_out(&mover, (to, None), options, &question)
}

/// What a move to a store brings along that waits for a person, said before it is asked for: a sentence, or nothing.
pub(super) fn brought_along(mover: &Mover, to: InUse) -> Result<String, Failure> {
    let held = mover.held(to.side()).map_err(Failure::Failed)?;
    // What came into a retired place stands in the way of a move there.
    if held.is_empty() || mover.is_retired(to.side()).map_err(Failure::Failed)? {
        return Ok(String::new());
    }
    let more = if held.len() > NAMED { ", …" } else { "" };
    let named = held.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    Ok(format!(
        "{} changes of {} wait for `milescale import` and come with this move: {named}{more}. ",
        held.len(),
        to.side()
    ))
}

/// The same, for what moves milestones: consent to the server that they go to is asked for.
pub(super) fn mover_of_stores(context: &Context, engine: Option<Engine>, yes: bool) -> Result<Mover, Failure> {
    Ok(Mover::new(context.workspace_with_stores(engine, yes)?, Context::environment()))
}

pub(super) fn mover(context: &Context) -> Result<Mover, Failure> {
    Ok(Mover::new(context.workspace()?, Context::environment()))
}

/// Recovers what a crash has left, and says what becomes of it.
pub(super) fn recovered(mover: &Mover) -> Result<(Mover, bool), Failure> {
    let mut screen = Bar::new(false);
    let recovered = mover.recovered(&mut |told| screen.tell(&told));
    recovered.map_err(|why| Failure::Failed(format!("{why}\nnothing was moved")))
}

fn carry_out(
    mover: &Mover,
    (to, adopt): (InUse, Option<Adopt>),
    options: &ConsentOptions,
    question: &str,
) -> Result<ExitCode, Failure> {
    let held = brought_along(mover, to)?;
    if !options.yes && !terminal::asked(&format!("{held}{question}"))? {
        return Err(Failure::Failed("nothing was changed".to_owned()));
    }
    if options.yes && !held.is_empty() {
        terminal::error(held.trim_end());
    }
    let stop = stop_on_signal(mover.workspace());
    let mut screen = Bar::new(options.json);
    let done = mover.migrate(to, adopt, &stop, &mut |told| screen.tell(&told));
    screen.end();
    let done = done.map_err(|error| {
        let in_use = mover.in_use().map_or_else(|_| "the old store".to_owned(), |in_use| in_use.to_string());
        Failure::Failed(format!("{error}\nnothing was moved; {in_use} is in use"))
    })?;
    print_done(&done, options.json);
    Ok(ExitCode::SUCCESS)
}

fn print_done(done: &Done, json: bool) {
    if json {
        return terminal::json(&json!({
            "from": done.from.to_string(), "to": done.to.to_string(), "backup": done.backup,
            "milestones": done.milestones, "seconds": done.seconds, "paused_ms": done.paused.as_secs_f64() * 1000.0,
            "later": done.later,
        }));
    }
    terminal::line(&format!(
        "{} → {}: {} milestones, compared on both sides, in {:.1} s; milescale's own verbs waited {:.0} ms",
        done.from,
        done.to,
        done.milestones,
        done.seconds,
        done.paused.as_secs_f64() * 1000.0
    ));
    if let Some(backup) = &done.backup {
        terminal::line(&format!("backup: {backup}"));
    }
    if let Some(later) = &done.later {
        terminal::error(&format!("the move is done; what is left is done by the daemon or `milescale check`: {later}"));
    }
}

/// What a move to the store in use comes to where marker or configuration name another one.
fn print_write_back(to: InUse, named: InUse, json: bool) {
    let note = format!(
        "{to} is in use, and marker or configuration name {named}: what stood there before is written back, and no milestone \
         is moved"
    );
    if json {
        return terminal::json(&json!({ "from": to, "to": to, "obstacles": [], "notes": [note] }));
    }
    terminal::line(&note);
    terminal::line("nothing stands against it");
}

pub(super) fn print_plan(plan: &Plan, json: bool) {
    if json {
        return terminal::json(plan);
    }
    terminal::line(&format!("from {}: {}", plan.from, plan.source));
    terminal::line(&format!("to {}: {}", plan.to, plan.target));
    let backup = if plan.backup { "with a backup first" } else { "without a backup" };
    terminal::line(&format!(
        "{} milestones, {} KiB, about {:.1} s, {backup}",
        plan.milestones,
        plan.bytes.div_ceil(1024),
        plan.estimated_seconds
    ));
    for note in &plan.notes {
        terminal::line(&format!("note: {note}"));
    }
    if plan.is_possible() {
        terminal::line("nothing stands against it");
    } else {
        let reasons = counted(plan.obstacles.len() as u64, "reason", "reasons");
        terminal::line(&format!("{reasons} why it cannot be done:"));
        for line in plan.obstacles_text().lines() {
            terminal::line(&format!("  {line}"));
        }
    }
}

/// The first SIGINT or SIGTERM stops a migration before its switch, which then is undone; waits of the stores hear it too.
pub(super) fn stop_on_signal(workspace: &Workspace) -> impl Fn() -> bool + Clone + Send + Sync + 'static + use<> {
    let stop = workspace.stop().clone();
    if let Err(error) = milescale_daemon::stop_on_signals(&stop) {
        terminal::error(&format!("signals cannot be received: {error}"));
    }
    move || stop.is_asked()
}

/// How far a migration is: a bar on a terminal, lines elsewhere.
pub(super) struct Bar {
    lines: Lines,
    silent: bool,
}

impl Bar {
    pub(super) fn new(silent: bool) -> Self {
        Self { lines: Lines::new(), silent }
    }

    pub(super) fn tell(&mut self, told: &Told) {
        let text = match told {
            Told::Progress(_, _, progress) => self.progress(progress),
            Told::Conflict { id, kept_as, reason, .. } => format!("conflict: {id}: {reason}; kept as {kept_as}"),
            Told::Imported(side, ids) => format!("{} changes of {side} are brought over", ids.len()),
            Told::Held { side, ids, .. } => format!("{} changes of {side} wait for `milescale import`", ids.len()),
            Told::Reported(side, seen) => {
                format!("{} milestones of {side} are reported in the scale events", seen.len())
            }
            Told::RolledBack { target_kept: true, .. } => "the unfinished target is kept to be looked at".to_owned(),
            Told::RolledBack { .. } => "the unfinished target is cleared".to_owned(),
            Told::Stuck { reason, .. } => format!("stuck: {reason}"),
            Told::Started { .. } | Told::Completed { .. } | Told::Failed { .. } => return,
        };
        let is_progress = matches!(told, Told::Progress(..));
        if self.silent {
            return;
        }
        if is_progress {
            self.lines.passing(&text);
        } else {
            self.lines.line(&text);
        }
    }

    fn progress(&self, it: &Progress) -> String {
        let phase = it.phase.as_str().replace('_', " ");
        let figures = format!("{} of {}, {:.0} a second, {} s left", it.done, it.total, it.per_second, it.seconds_left);
        if !self.lines.is_terminal {
            return format!("{phase}: {figures}");
        }
        let part = it.done.saturating_mul(BAR as u64).checked_div(it.total).unwrap_or(0);
        let filled = usize::try_from(part).unwrap_or(BAR).min(BAR);
        format!("{phase:<10} [{}{}] {figures}", "█".repeat(filled), " ".repeat(BAR - filled))
    }

    pub(super) fn end(&mut self) {
        self.lines.end();
    }
}
