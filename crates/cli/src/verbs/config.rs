//! `milescale config check|show|schema`.

use std::process::ExitCode;

use milescale_core::config::{Problem, json_schema, key};
use milescale_daemon::config::ConfigKeeper;
use milescale_storage::configured;
use milescale_workspace::config_file;
use serde_json::json;

use crate::args::{CheckOptions, JsonOptions};
use crate::context::{Context, Failure};
use crate::terminal::{self, Screen, Style};

/// Offline: needs no workspace when a file is given, and no daemon.
pub(crate) fn check(context: &Context, options: &CheckOptions) -> Result<ExitCode, Failure> {
    let (text, shown) = match &options.file {
        Some(file) => (config_file::text_at(file), file.display().to_string()),
        None => {
            let place = context.workspace()?.config_file();
            (config_file::text(&place), context.workspace()?.shown(&place))
        }
    };
    let text = match text {
        Ok(None) if options.file.is_some() => Err(vec![problem("there is no such file")]),
        Ok(text) => Ok(text),
        Err(problem) => Err(vec![problem]),
    };
    let there = !matches!(text, Ok(None));
    let (problems, warnings) = match text {
        Ok(text) => text.map(|text| configured::examine(&text, &Context::environment().client)).unwrap_or_default(),
        Err(problems) => (problems, Vec::new()),
    };
    let fails_strictly = options.strict && !warnings.is_empty();
    let fails = !problems.is_empty() || fails_strictly;
    if options.json {
        terminal::json(&json!({
            "file": shown, "exists": there, "valid": !fails, "problems": problems, "warnings": warnings,
        }));
    } else {
        for problem in &problems {
            terminal::line(&located(&shown, "error", problem));
        }
        for warning in &warnings {
            terminal::line(&located(&shown, "warning", warning));
        }
        if problems.is_empty() {
            terminal::line(&if fails_strictly {
                format!("{shown}: not valid: with --strict unknown keys are errors")
            } else if there {
                format!("{shown}: valid")
            } else {
                format!("{shown}: there is none; the defaults are in force")
            });
        }
    }
    Ok(if fails { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// `file:line:column: error: …`, as compilers print it and editors jump to.
fn located(file: &str, level: &str, problem: &Problem) -> String {
    let place = problem.position.map(|it| format!(":{}:{}", it.line, it.column)).unwrap_or_default();
    let key = problem.key.as_deref().map(|key| format!("{key}: ")).unwrap_or_default();
    format!("{file}{place}: {level}: {key}{}", problem.message)
}

fn problem(message: &str) -> Problem {
    Problem { position: None, key: None, message: message.to_owned() }
}

pub(crate) fn show(context: &Context, options: &JsonOptions) -> Result<ExitCode, Failure> {
    let keeper = ConfigKeeper::start(context.workspace()?, Context::environment());
    let values = keeper.values();
    let without_effect = |path: &str| key(path).and_then(|key| key.without_effect);
    if options.json {
        let keys: Vec<_> = values
            .iter()
            .map(|(path, value, origin)| {
                json!({ "key": path, "value": value, "origin": origin, "without_effect": without_effect(path) })
            })
            .collect();
        terminal::json(&json!({
            "file": keeper.shown(), "origin": keeper.origin(), "keys": keys,
            "problems": keeper.problems(), "warnings": keeper.warnings(),
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let screen = Screen::new();
    for (path, value, origin) in values {
        let effect = without_effect(path).map(|why| format!("  (no effect: {why})")).unwrap_or_default();
        terminal::line(&screen.fit(&format!("{path:<56} {:<12} {origin}{effect}", value.to_string())));
    }
    for problem in keeper.problems() {
        terminal::line(
            screen.paint(Style::Bad, &located(&keeper.shown(), "error, so the file is not in force", problem)),
        );
    }
    for warning in keeper.warnings() {
        terminal::line(screen.paint(Style::Attention, &located(&keeper.shown(), "warning", warning)));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn schema() -> Result<ExitCode, Failure> {
    terminal::json(&json_schema());
    Ok(ExitCode::SUCCESS)
}
