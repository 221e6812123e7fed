//! `milescale doctor`: each thing that could be wrong here, what it means, what to do.

mod backups;
mod checks;
mod identity;
mod moves;
mod places;
mod stores;

use std::process::ExitCode;

use milescale_daemon::status::Status;
use milescale_daemon::{Access, Mover, Unproven};
use milescale_document::text::harmless;
use milescale_migration::Recovered;
use serde::Serialize;
use serde_json::json;

use super::migrate::mover;
use super::some_of;
use super::status::Daemon;
use crate::args::{DoctorOptions, Fix};
use crate::context::{Context, Failure};
use crate::terminal::{self, Screen, Style};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// To be mended.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// What was found.
    pub(crate) what: String,
    /// What that means.
    pub(crate) means: String,
    /// What to do.
    pub(crate) do_this: String,
}

pub(crate) fn run(context: &Context, options: &DoctorOptions) -> Result<ExitCode, Failure> {
    match options.fix {
        Some(Some(Fix::Identity)) => identity::fix(context, options.yes)?,
        Some(None) => fix(context, options.yes)?,
        None => {}
    }
    let engine = context.looked_at()?;
    let mut status = Status::of(&engine);
    let daemon = Daemon::of(engine.workspace());
    status.output_problems.clone_from(&daemon.output_problems);
    daemon.add_to(&mut status.migration);
    // Where it is not known which store is in use, the sources of figures say why.
    let mover = mover(context)?;
    let (in_use, gone) = (mover.in_use().ok(), mover.gone().ok().flatten());
    // The status is of the last look; an old store may have gone away since.
    for (name, why) in mover.away().unwrap_or_default() {
        let place = format!("{name}: ");
        if !status.migration.problems.iter().any(|problem| problem.starts_with(&place)) {
            status.migration.problems.push(format!("{place}{why}"));
        }
    }
    let mut findings = checks::all(engine.workspace(), &status, &daemon, in_use, gone.as_ref());
    let opened = stores::opened(engine.workspace(), &findings);
    findings.extend(opened);
    findings.extend(identity::finding(context));
    let wrong = findings.iter().filter(|finding| finding.level == Level::Wrong).count();
    if options.json {
        terminal::json(&json!({ "wrong": wrong, "findings": findings }));
    } else {
        print(&findings);
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Milestones that are named in a question.
const NAMED: usize = 10;

/// Does what doctor can do by itself: adds to the store what only a person may ask for.
fn fix(context: &Context, yes: bool) -> Result<(), Failure> {
    let engine = context.looked_at()?;
    if Status::of(&engine).migration.stuck.is_some() {
        // Where the store in use is lost, a person who names another one ends the unfinished move as well.
        let mover = mover(context)?;
        return match mover.unproven().ok().flatten() {
            Some(unproven) => follow(&mover, &unproven, yes),
            None => unstick(context, yes),
        };
    }
    if let Ok(Some(why)) = mover(context)?.in_question() {
        return Err(Failure::Failed(why));
    }
    let mover = mover(context)?;
    if let Some(unproven) = mover.unproven().map_err(Failure::Failed)? {
        return follow(&mover, &unproven, yes);
    }
    if let Some(lost) = mover.lost_record().map_err(Failure::Failed)? {
        let in_use = mover.in_use().map_err(Failure::Failed)?;
        let question = format!("{lost}.\nBegin a new record, with {in_use} in use and no old stores?");
        if !yes && !terminal::asked(&question)? {
            return Err(Failure::Failed("nothing was changed".to_owned()));
        }
        return mover.begin_record().map_err(Failure::Failed);
    }
    let Some(improvement) = Status::of(&engine).store_improvement else {
        terminal::error("there is nothing here that doctor can do by itself");
        return Ok(());
    };
    let mut access = Access::open(engine.workspace(), Context::environment()).map_err(Failure::Failed)?;
    if let Some(why) = access.only_read {
        return Err(Failure::Failed(why));
    }
    let question = format!(
        "Add {improvement} to the table in {}? It is written anew, and other programs wait meanwhile.",
        access.store.name()
    );
    if !yes && !terminal::asked(&question)? {
        return Err(Failure::Failed("nothing was changed".to_owned()));
    }
    access.store.improve().map_err(|error| Failure::Failed(error.to_string()))
}

/// That milestones are missing in a store, and what is not known of those that are not.
fn are_missing(ids: &[String]) -> String {
    format!(
        "of what it held when it was read last {} milestones are missing: {}; what was written to it since, and what its milestones \
         said last, is not known",
        ids.len(),
        harmless(&some_of(ids, NAMED))
    )
}

/// Follows a store that was named by hand and that the last one, which is gone, cannot speak for.
fn follow(mover: &Mover, unproven: &Unproven, yes: bool) -> Result<(), Failure> {
    let Unproven { last, why, named, there, missing } = unproven;
    let lost = match missing.as_deref() {
        None => "what it held is not known".to_owned(),
        Some([]) => {
            "no id is missing of those that it held when it was read last; what was written to it since, and what its \
                     milestones said last, is not known"
                .to_owned()
        }
        Some(missing) => are_missing(missing),
    };
    let question = if last == named {
        format!("{why}.\nThe file that lies there has {there} milestones; {lost}.\nGo on with it from now on?")
    } else {
        format!(
            "{last} is in use and cannot be read ({why}). {named} is named, with {there} milestones; {lost}.\nFollow \
             {named} from now on?"
        )
    };
    if !yes && !terminal::asked(&question)? {
        return Err(Failure::Failed("nothing was changed".to_owned()));
    }
    mover.follow(unproven).map_err(Failure::Failed)?;
    terminal::line(&format!("{named} is in use from now on; {lost}"));
    if last.side() != named.side() {
        let side = last.side();
        terminal::line(&format!(
            "{last} is an old store now: once it can be read again, what it holds otherwise is kept as a conflict. Where it is gone \
             for good, `milescale retire {side} --gone` ends that"
        ));
    }
    Ok(())
}

/// Tries again to undo a migration that is stuck.
fn unstick(context: &Context, yes: bool) -> Result<(), Failure> {
    if !yes && !terminal::asked("Try again to undo the migration that is stuck?")? {
        return Err(Failure::Failed("nothing was changed".to_owned()));
    }
    match mover(context)?.unstick(&mut |_| {}).map_err(Failure::Failed)? {
        Recovered::Stuck(why) => Err(Failure::Failed(why)),
        _ => Ok(()),
    }
}

fn print(findings: &[Finding]) {
    let screen = Screen::new();
    for Finding { level, what, means, do_this } in findings {
        let (style, sign) = match level {
            Level::Ok => (Style::Good, "ok   "),
            Level::Note => (Style::Attention, "note "),
            Level::Wrong => (Style::Bad, "wrong"),
        };
        terminal::line(screen.paint(style, sign).then(" ").then(what));
        for text in [means, do_this] {
            if !text.is_empty() {
                terminal::line(&format!("      {text}"));
            }
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    terminal::line(&format!(
        "{} wrong, {} worth knowing, {} as they should be",
        count(Level::Wrong),
        count(Level::Note),
        count(Level::Ok)
    ));
}
