//! `milescale check`: one cycle, with the reference's sentences.

use std::process::ExitCode;

use milescale_core::decision::Verdict;
use milescale_daemon::status::Status;
use milescale_daemon::{Engine, Mode, Patience, command, take_lock};

use crate::args::JsonOptions;
use crate::context::{Context, Failure};
use crate::terminal;

pub(crate) fn run(context: &Context, options: &JsonOptions) -> Result<ExitCode, Failure> {
    let workspace = context.workspace()?;
    let _lock = take_lock(&workspace)?;
    let mut engine = Engine::open(workspace, Context::environment(), Mode::Writing, Patience::SayAtOnce);
    engine.settle();
    let (cycle, _) = engine.cycle();
    let status = Status::of(&engine);
    for problem in &status.output_problems {
        terminal::error(problem);
    }
    let code = if status.output_problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
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
            let command = command(engine.workspace(), "status");
            terminal::line(&format!("📋 Manual migration required. Run: {command}"));
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
    for stale in &status.stale_sources {
        terminal::error(&format!("figures are not of now: {}: {}", stale.source, stale.reason));
    }
    Ok(code)
}
