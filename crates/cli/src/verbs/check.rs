//! `milescale check`: one cycle, with the reference's sentences.

use std::process::ExitCode;
use std::time::Duration;

use milescale_core::decision::Verdict;
use milescale_daemon::status::Status;
use milescale_daemon::{Engine, Mode, Patience, Stop, take_lock};
use milescale_migration::Told;

use super::migrate::{Bar, stop_on_signal};
use crate::args::JsonOptions;
use crate::context::{Context, Failure};
use crate::terminal;

/// How long what was written to an old store is waited for to stand still.
const STILL_WITHIN: Duration = Duration::from_secs(3);

pub(crate) fn run(context: &Context, options: &JsonOptions) -> Result<ExitCode, Failure> {
    let workspace = context.workspace()?;
    let _lock = take_lock(&workspace)?;
    let mut engine = Engine::open(workspace, Context::environment(), Mode::Writing, Patience::SayAtOnce);
    let stop = stop_on_signal(engine.workspace());
    engine.stop_when(Stop::new(stop.clone()));
    engine.settle();
    engine.bring_over(STILL_WITHIN);
    let (cycle, _) = engine.full_cycle();
    let status = Status::of(&engine);
    for problem in &status.output_problems {
        terminal::error(problem);
    }
    for problem in status.migration.problems.iter().chain(&status.migration.stuck) {
        terminal::error(problem);
    }
    let failed = !status.output_problems.is_empty()
        || engine.is_unrecovered()
        || status.migration.stuck.is_some()
        || engine.is_undecidable();
    let code = if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if options.json {
        terminal::json(&status);
        return Ok(code);
    }
    terminal::line("🔍 Performing scale detection analysis...");
    let (current, optimal) = (&status.current_backend, &status.optimal_backend);
    match cycle.decision.verdict {
        Verdict::Optimal => terminal::line("✅ Current scale configuration is optimal"),
        Verdict::Monitoring => {
            terminal::line("👀 Monitoring scale patterns. Migration may be needed soon.");
        }
        Verdict::MigrationRecommended => {
            terminal::line(&format!("🔄 Scale migration recommended: {current} → {optimal}"));
            if engine.wants_to_migrate() {
                terminal::line("⚡ Initiating automatic scale migration...");
                return migrate(&mut engine, &stop);
            }
            if let Some(why) = engine.waits_because() {
                terminal::line(&format!("⏸  No automatic migration: {why}"));
            }
            if let Some((_, to)) = cycle.decision.recommended_move() {
                terminal::line(&format!("📋 Manual migration required. Run: {}", engine.command(to)));
            }
            if cycle.notified {
                let path = engine.workspace().shown(&engine.workspace().notification());
                terminal::line(&format!("📄 Migration notification created: {path}"));
            }
        }
        Verdict::Unavailable => {
            terminal::line("⚠️  Nothing can be decided:");
            for reason in &cycle.decision.unavailable_because {
                terminal::line(&format!("   {reason}"));
            }
        }
    }
    for stale in status.stale_sources_not_told() {
        terminal::error(&format!("figures are not of now: {stale}"));
    }
    Ok(code)
}

/// Carries out the move that is due. Exit status 1 where it was not done: the old store is in use then.
fn migrate(engine: &mut Engine, stop: &dyn Fn() -> bool) -> Result<ExitCode, Failure> {
    let (mut screen, mut done) = (Bar::new(false), None);
    engine.migrate(stop, &mut |told| {
        screen.tell(told);
        match told {
            Told::Completed { from, to, milestones, .. } => {
                done = Some(Ok(format!("✅ Migration completed: {from} → {to}, {milestones} milestones")));
            }
            Told::Failed { reason, .. } => done = Some(Err(reason.clone())),
            _ => {}
        }
    });
    screen.end();
    engine.settle();
    match done {
        Some(Ok(text)) => {
            terminal::line(&text);
            Ok(ExitCode::SUCCESS)
        }
        Some(Err(reason)) => Err(Failure::Failed(format!("the migration failed: {reason}"))),
        None => Err(Failure::Failed("another migration is under way".to_owned())),
    }
}
