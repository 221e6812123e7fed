//! `milescale import`, `milescale retire`, `milescale pause` and `milescale resume`.

use std::process::ExitCode;

use milescale_core::line::EventName;
use milescale_document::timestamp;
use milescale_migration::{Retired, Swept};
use milescale_workspace::durable;
use serde_json::json;

use super::migrate::{Bar, mover, mover_of_stores, stop_on_signal};
use crate::args::{JsonOptions, RetireOptions};
use crate::context::{Context, Failure};
use crate::terminal;

pub(crate) fn import(context: &Context, options: &JsonOptions) -> Result<ExitCode, Failure> {
    let mover = mover_of_stores(context, None, false)?;
    let mut screen = Bar::new(options.json);
    let stop = stop_on_signal(mover.workspace());
    let Swept { imported, conflicts, failing, .. } =
        mover.import(&stop, &mut |told| screen.tell(&told)).map_err(Failure::Failed)?;
    if options.json {
        terminal::json(&json!({ "imported": imported, "conflicts": conflicts, "failing": failing }));
    } else {
        terminal::line(&format!("{imported} changes brought over, {conflicts} kept as conflicts"));
        if failing > 0 {
            terminal::error(&format!("{failing} milestones cannot be brought over; `milescale doctor` names them"));
        }
    }
    Ok(if failing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn retire(context: &Context, options: &RetireOptions) -> Result<ExitCode, Failure> {
    let mover = mover_of_stores(context, None, options.consent.yes)?;
    let side = options.side.side();
    let question = if options.gone {
        format!("Retire {side}, which is gone? What was not brought over from it is lost with it.")
    } else {
        format!("Retire {side}? It refuses writes from then on; nothing of it is dropped.")
    };
    if !options.consent.yes && !terminal::asked(&question)? {
        return Err(Failure::Failed("nothing was changed".to_owned()));
    }
    let mut screen = Bar::new(options.consent.json);
    let stop = stop_on_signal(mover.workspace());
    let retired = mover.retire((side, options.gone), &stop, &mut |told| screen.tell(&told)).map_err(Failure::Failed)?;
    if options.consent.json {
        let (imported, gone) = match retired {
            Retired::After(imported) => (imported, false),
            Retired::Gone | Retired::Unasked(_) => (0, true),
        };
        terminal::json(&json!({ "retired": side, "imported": imported, "gone": gone }));
        return Ok(ExitCode::SUCCESS);
    }
    terminal::line(&match retired {
        Retired::After(imported) => format!("{side} is retired; {imported} last changes were brought over"),
        Retired::Gone => format!(
            "{side} is retired; it did not exist any more, and what was not brought over by then is lost with it"
        ),
        Retired::Unasked(why) => format!(
            "{side} is retired, as you say that it is gone: it could not be asked ({why}), and what was not brought over by then is lost with it"
        ),
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn pause(context: &Context) -> Result<ExitCode, Failure> {
    let mover = mover(context)?;
    let path = mover.workspace().paused();
    let text = json!({ "since": timestamp::to_text(Context::now()), "by": Context::user() }).to_string();
    let written =
        durable::create_folder(&mover.workspace().own()).and_then(|_| durable::create(&path, text.as_bytes()));
    let is_new = written.map_err(|error| Failure::Failed(format!("{}: {error}", mover.workspace().shown(&path))))?;
    if is_new {
        mover.say(EventName::MigrationsPaused, json!({ "paused": true, "by": Context::user() }));
    }
    terminal::line("automatic migrations are paused; `milescale resume` lets them go on");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn resume(context: &Context) -> Result<ExitCode, Failure> {
    let mover = mover(context)?;
    let path = mover.workspace().paused();
    let was_paused = path.exists();
    durable::remove(&path).map_err(|error| Failure::Failed(format!("{}: {error}", mover.workspace().shown(&path))))?;
    if was_paused {
        mover.say(EventName::MigrationsPaused, json!({ "paused": false, "by": Context::user() }));
    }
    terminal::line("automatic migrations go on");
    Ok(ExitCode::SUCCESS)
}
