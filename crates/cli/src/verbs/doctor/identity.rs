//! `milescale doctor --fix identity`: whether a workspace that may be a copy goes on or is a separate one.

use milescale_workspace::identity::Identity;

use super::super::migrate::mover;
use super::checks;
use super::{Finding, Level, are_missing};
use crate::context::{Context, Failure};
use crate::terminal;

const ON: &str = "on";
const SEPARATE: &str = "separate";

/// What stands against writing on the server of this workspace.
pub(super) fn finding(context: &Context) -> Option<Finding> {
    let mover = mover(context).ok()?;
    if let Err(error) = Identity::of(mover.workspace()) {
        let means = "No migration can be done, and nothing is written on a server.";
        return Some(checks::finding(Level::Wrong, error.to_string(), means, "Do what the line says."));
    }
    // A server that cannot be asked is another check's matter.
    let why = mover.in_question().ok()??;
    // A copy of a workspace has the right table, and another table is not read either.
    let means = if why.contains("nothing was read") {
        "Neither commands nor the daemon read or write it."
    } else {
        "Milestones can be read. Nothing is written on the server, neither by commands nor by the daemon."
    };
    Some(checks::finding(
        Level::Wrong,
        why,
        means,
        "`milescale doctor --fix identity` asks on a terminal whether this workspace goes on or is a separate one.",
    ))
}

/// Asks which it is, and does that.
pub(super) fn fix(context: &Context, yes: bool) -> Result<(), Failure> {
    let mover = mover(context)?;
    let Some(why) = mover.in_question().map_err(Failure::Failed)? else {
        terminal::error("this workspace is the only one that writes its milestones; nothing was changed");
        return Ok(());
    };
    let separate = mover.data_of_a_separate_one();
    // Another table than before may be named: what was written to that one is not in this one.
    let lost = match &*mover.missing_on_the_server() {
        [] => String::new(),
        missing => format!("Of the table that was in use: {}.\n", are_missing(missing)),
    };
    let question = format!(
        "{why}\n\
         {ON}: this workspace goes on. It keeps its number and what is on the server; every copy of it is refused there from \
         then on. Where another store is in use and the server went back, what differs there is kept as a conflict. Where this is another \
         table than the one in use before, what was written to that one stays there and is not brought here: to go on with that one, put \
         back what named it in the configuration.\n\
         {lost}\
         {SEPARATE}: this workspace is another one and gets a new number; {separate}.\n\
         Anything else changes nothing."
    );
    if yes {
        return Err(Failure::Usage(format!(
            "{question}\n--yes cannot answer that: say it on a terminal, without --yes"
        )));
    }
    match terminal::chosen(&question, &[ON, SEPARATE])? {
        Some(ON) => mover.go_on().map_err(|why| {
            // Who has lost the server can say nothing there.
            let gone = format!(
                "{why}. Where that server is gone for good, answer {SEPARATE}, which asks it nothing, and then see `milescale doctor`"
            );
            Failure::Failed(gone)
        })?,
        Some(_) => {
            mover.separate().map_err(Failure::Failed)?;
            terminal::line(&format!("this workspace has a number of its own now; {separate}"));
        }
        None => return Err(Failure::Failed("nothing was changed".to_owned())),
    }
    Ok(())
}
