//! The reasons why a migration could not be done that do not lie in single milestones.

use std::path::Path;

use milescale_core::backend::{Backend, Engine};
use milescale_core::base::Side;
use milescale_core::migration::Phase;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_document::text::glimpse;
use milescale_storage::store::{Part, Store};
use milescale_workspace::error::Problem;
use milescale_workspace::git;
use milescale_workspace::identity::Identity;
use milescale_workspace::record::{self, Old, Record};

use crate::context::{Context, Error};
use crate::level::there;
use crate::machine;
use crate::moving::engine_of_file;
use crate::plan::{Plan, Wish};

mod old_target;
mod places;
mod stores;

pub(crate) use stores::{has_to_try, refused};

/// Ids named in one obstacle.
const NAMED: usize = 5;

/// A backup needs so many times the bytes of the milestones, and a target so many.
const BACKUP_FACTOR: u64 = 2;
const TARGET_FACTOR: u64 = 4;

/// What is left free beside all that.
const SPARE: u64 = 16 << 20;

pub(crate) fn look(
    plan: &mut Plan,
    wish: &Wish,
    record: &Record,
    source: &mut dyn Store,
    target: Result<Box<dyn Store>, Error>,
    archived: &[String],
    context: &mut Context<'_>,
) -> Result<(), Error> {
    if wish.from == wish.to {
        plan.obstacle(&plan.source.clone(), None, format!("{} is in use already", wish.to), "");
        return Ok(());
    }
    under_way(plan, record, context);
    if record.is_lost() && wish.adopt.is_none() {
        let place = context.workspace.shown(&context.workspace.record());
        let do_this = "put the record of now back from a copy of yours; or `--adopt` takes over what the target holds; or `milescale doctor \
                       --fix` begins a new record";
        plan.obstacle(&place, None, record::LOST, do_this);
    }
    if let Err(error) = Identity::of(context.workspace) {
        plan.obstacle("this workspace", None, error.to_string(), "");
    }
    environment(plan, wish, context)?;
    machine(plan, wish, context);
    let moves = wish.from.side() != wish.to.side();
    places::look(plan, wish, context)?;
    if moves {
        stores::look(plan, source, Part::Source);
    }
    match target {
        Err(error) => plan.obstacle("the target", None, error.to_string(), ""),
        Ok(mut target) if moves => {
            match look_at_target(plan, wish, record, (source, &mut *target), archived, context) {
                Ok(()) => {}
                Err(Error::Store(error)) => plan.obstacle(&error.place, None, error.cause, ""),
                Err(error) => return Err(error),
            }
        }
        Ok(_) => {}
    }
    if wish.from.side() == Side::Files {
        places::note_odd_names(plan, context);
    }
    if moves && wish.from.side() == Side::Files && git::keeps(context.workspace, Path::new(".milestones/active")) {
        plan.notes.push(
            "git keeps the milestone files: they stay where they are as they were, and are not what is current any more; \
             a checkout or pull that changes more than 5 of them waits for `milescale import`"
                .to_owned(),
        );
    }
    if !plan.counted_no_more.is_empty() {
        plan.notes.push(format!(
            "{} milestones in active/ have status archived: they count now, and not in a database",
            plan.counted_no_more.len()
        ));
    }
    if !plan.counted_again.is_empty() {
        plan.notes.push(format!(
            "{} archived milestones have their old files in active/ still: they go there, and count again ({})",
            plan.counted_again.len(),
            named(&plan.counted_again)
        ));
    }
    Ok(())
}

fn under_way(plan: &mut Plan, record: &Record, context: &Context<'_>) {
    let Some(intent) = &record.intent else { return };
    let place = context.workspace.shown(&context.workspace.record());
    if intent.phase == Phase::Stuck {
        let why = intent.stuck.clone().unwrap_or_default();
        plan.obstacle(&place, None, format!("an earlier migration is stuck: {why}"), "");
    } else {
        plan.notes.push("an earlier migration was interrupted; what it left is dealt with first".to_owned());
    }
}

/// Shells whose environment says something else would go on with another store.
fn environment(plan: &mut Plan, wish: &Wish, context: &Context<'_>) -> Result<(), Error> {
    if wish.to.backend != Backend::Database {
        return Ok(());
    }
    let engine = wish.to.engine.unwrap_or(Engine::Sqlite);
    if let Some(word) = wish.engine_of_environment.as_deref().filter(|word| *word != engine.as_str()) {
        let reason = format!("the environment says {}, and the target is {}", glimpse(word), engine.as_str());
        plan.obstacle("DATABASE_TYPE", None, reason, "unset it, or set it to the target's engine, for all programs");
    }
    let file = engine_of_file(context);
    if let Err(error) = &file {
        let (place, why) = ("config/storage-config.yaml", error.to_string());
        // The error names the file as well.
        let why = why.split_once(&format!("{place}: ")).map_or(&*why, |(_, why)| why);
        plan.obstacle(place, None, why, "mend it first");
    }
    if engine == Engine::Postgresql {
        let of_file = milescale_workspace::config_file::text(&context.workspace.config_file()).ok().flatten();
        let of_file = of_file.and_then(|text| milescale_workspace::config_file::parse(&text).ok());
        let of_file = of_file.map(|read| read.config.database.url).unwrap_or_default();
        match wish.url_of_environment.as_deref() {
            Some(url) if !of_file.is_empty() && url != of_file => {
                let reason = "it is another one than storage.database.url";
                plan.obstacle("DATABASE_URL", None, reason, "make them the same, or unset one");
            }
            Some(_) if of_file.is_empty() => plan.notes.push(
                "the server is known from DATABASE_URL only: every program that uses the milestones needs it"
                    .to_owned(),
            ),
            _ => {}
        }
    }
    Ok(())
}

fn machine(plan: &mut Plan, wish: &Wish, context: &Context<'_>) {
    let folder = context.workspace.folder();
    if let Some(kind) = machine::network_file_system(&folder) {
        let reason =
            format!("it lies on a network file system ({kind}), where renames and locks are no ground to stand on");
        plan.obstacle(&context.workspace.shown(&folder), None, reason, "move the workspace to a local disk");
    }
    let local_target = wish.to.side() != Side::Postgresql && wish.from.side() != wish.to.side();
    let factor = if plan.backup { BACKUP_FACTOR } else { 0 } + if local_target { TARGET_FACTOR } else { 1 };
    let needed = plan.bytes.saturating_mul(factor).saturating_add(plan.milestones * 512).saturating_add(SPARE);
    if let Some(free) = machine::free_bytes(&folder).filter(|free| *free < needed) {
        let reason = format!("{} MiB are free, and backup and target may need {} MiB", free >> 20, needed >> 20);
        plan.obstacle(&context.workspace.shown(&folder), None, reason, "make room first");
    }
}

/// The target has to be empty, or an old store of this workspace's.
fn look_at_target(
    plan: &mut Plan,
    wish: &Wish,
    record: &Record,
    (source, target): (&mut dyn Store, &mut dyn Store),
    archived: &[String],
    context: &Context<'_>,
) -> Result<(), Error> {
    let to = wish.to.side();
    // Files that were retired are not in their place any more.
    let old = record.known(to, wish.from.side()).filter(|old| to != Side::Files || old.retired.is_none());
    stores::look(plan, target, Part::Target);
    target.can_be_filled()?;
    let another = target.is_another()?;
    plan.target_is_another = another.is_some();
    let old = match (old, &another) {
        (Some(old), Some(why)) => {
            not_the_old_one(plan, wish, &old, target, why);
            None
        }
        (old, _) => old,
    };
    let is_old = old.is_some();
    // Where there is none yet, it is made.
    let exists = target.exists()?;
    let ids = if exists { target.ids()? } else { Vec::new() };
    if exists {
        plan.hindered(&target.hidden()?);
    }
    if !is_old && !ids.is_empty() {
        let left_over = another.is_none() && record.has_failed_last(wish.to);
        let strange = strangers(target, wish.from.side(), &ids, left_over)?;
        let was_retired = record.is_retired(to);
        // What came into a retired place, and is in the store in use by now, is in nobody's way.
        let is_equal = was_retired
            && to == Side::Files
            && wish.adopt.is_none()
            && stores::are_held(source, target, &strange, context)?;
        let strange = if is_equal { Vec::new() } else { strange };
        if let Some(how) = wish.adopt.filter(|_| !strange.is_empty()) {
            stores::adopt(plan, how, (&mut *source, &mut *target), &strange, context)?;
        } else if !strange.is_empty() {
            let reason = format!(
                "it is neither empty nor an old store of this workspace that is not retired: {} milestones stand there that \
                 no move that is recorded here has brought there ({})",
                strange.len(),
                named(&strange)
            );
            let another = match to {
                Side::Files => "",
                Side::Sqlite => ", or move that file away",
                Side::Postgresql => ", or name another database or schema",
            };
            let adopt = if was_retired {
                // What is in use is what was written since.
                "--adopt --source-wins` writes over them what is in use, and keeps what differs; or `milescale import` brings them over \
                 first"
            } else {
                "--adopt` takes them over as they are"
            };
            // What a move has filled may hold what is nowhere else, where the record of that move is lost.
            let is_filled = !was_retired && to != Side::Files && !target.filled_from()?.is_empty();
            let instead = if is_filled { String::new() } else { format!("; or take them out{another}") };
            let do_this = format!(
                "`{} {adopt} (--dry-run counts what is equal, missing and different){instead}",
                wish.to.command()
            );
            plan.obstacle(&target.name(), None, reason, &do_this);
        }
    }
    if let Some(old) = old.filter(|_| exists) {
        old_target::look(plan, wish, (&old, &ids), (&mut *source, &mut *target), context)?;
    }
    if to == Side::Files {
        archived_ones(plan, source, (target, is_old), archived)?;
    }
    Ok(())
}

/// What is written to an old store at another address would not be seen any more once another one has taken its place.
fn not_the_old_one(plan: &mut Plan, wish: &Wish, old: &Old, target: &dyn Store, why: &str) {
    if old.retired.is_some() || wish.adopt.is_some() {
        return;
    }
    let reason = format!("the old store {} is not retired, and this is another one: {why}", old.name);
    let do_this = format!(
        "put back what named it, then `milescale retire {}`, then name this one again; `--adopt` goes on without that, and what \
         is written to the old store is not brought over any more",
        old.side
    );
    plan.obstacle(&target.name(), None, reason, &do_this);
}

/// Milestones of a target that an earlier attempt has not left there.
fn strangers(target: &mut dyn Store, from: Side, ids: &[String], left_over: bool) -> Result<Vec<String>, Error> {
    if !left_over {
        return Ok(ids.to_vec());
    }
    let mut strange = Vec::new();
    for ids in ids.chunks(milescale_storage::ledger::AT_ONCE) {
        let known = target.ledger()?.bases(from, ids)?;
        for id in ids {
            let Ok(named) = id.parse::<Id>() else {
                strange.push(id.clone());
                continue;
            };
            let there = target.held(&named)?;
            let is_ours =
                there.is_some_and(|there| known.get(id).is_some_and(|known| known.content.is_same(&there.content())));
            if !is_ours {
                strange.push(id.clone());
            }
        }
    }
    Ok(strange)
}

/// Where archived milestones come to lie: in their old files, in the archive, or among the conflicts. None is in the way.
fn archived_ones(
    plan: &mut Plan,
    source: &mut dyn Store,
    (target, is_old): (&mut dyn Store, bool),
    archived: &[String],
) -> Result<(), Error> {
    let mut differing = Vec::new();
    for id in archived {
        let Ok(named) = id.parse::<Id>() else { continue };
        match there(target.get(&named)) {
            Ok(Some(_)) => plan.counted_again.push(id.clone()),
            Ok(None) => {
                let Some(lies) = target.archived(&named)? else { continue };
                let Some(row) = there(source.get(&named))? else { continue };
                let differs = row.value.as_ref().is_ok_and(|value| !lies.is_same_milestone(&row.text, value));
                // What is the base of an old store is replaced.
                if differs && !(is_old && is_base(source, id, &lies)?) {
                    differing.push(id.clone());
                }
            }
            // One that stands twice is named elsewhere.
            Err(error) if error.problem == Problem::Refused => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !differing.is_empty() {
        plan.notes.push(format!(
            "archived, and differing from what completed/ holds of the same id: {}; what completed/ holds stays, the other \
             content is kept as a conflict",
            named(&differing)
        ));
    }
    Ok(())
}

/// Whether what an old store of files holds of a milestone is its base.
fn is_base(source: &mut dyn Store, id: &str, held: &Milestone) -> Result<bool, Error> {
    let known = source.ledger()?.bases(Side::Files, &[id.to_owned()])?;
    Ok(known.get(id).is_some_and(|known| known.content.is_same(&held.content())))
}

/// Some ids, for a message.
fn named(ids: &[String]) -> String {
    let more = if ids.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", ids.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "))
}
