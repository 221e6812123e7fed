//! The folders and files that a move writes, tried on files of milescale's own.

use milescale_core::backend::Backend;
use milescale_core::base::Side;
use milescale_core::config::FilesAfter;
use milescale_document::text::counted;
use milescale_storage::files::{files_of_others, odd_names, readers_of_a_server, readers_of_files, unreadable_files};
use milescale_workspace::readers::Readers;
use milescale_workspace::trial::{Hindrance, Use, hindrances};

use super::NAMED;
use crate::context::{Context, Error};
use crate::moving::engine_of_file;
use crate::plan::{Plan, Wish};

pub(super) fn look(plan: &mut Plan, wish: &Wish, context: &Context<'_>) -> Result<(), Error> {
    let found = hindrances(context.workspace, &uses(plan, wish, context));
    plan.hindered(&found);
    // Where they go elsewhere, each is read below.
    if wish.from.side() == Side::Files && !moves(wish) {
        let hinders = |place| {
            Hindrance::new(place, "this user may not read it", "run milescale as a user who may read all of them")
        };
        let unreadable: Vec<_> = unreadable_files(context.workspace)?.into_iter().take(NAMED).map(hinders).collect();
        plan.hindered(&unreadable);
    }
    if moves(wish) && wish.to.side() == Side::Files {
        private_files(plan, wish, context);
    }
    if moves(wish) || wish.to.backend == Backend::Hybrid {
        private_database(plan, wish, context);
    }
    if leaves_files(wish) {
        way_back(plan, &found, context);
        others(plan, context)?;
    }
    Ok(())
}

fn moves(wish: &Wish) -> bool {
    wish.from.side() != wish.to.side()
}

fn leaves_files(wish: &Wish) -> bool {
    moves(wish) && wish.from.side() == Side::Files
}

/// What the move writes.
fn uses(plan: &Plan, wish: &Wish, context: &Context<'_>) -> Vec<Use> {
    let (from, to) = (wish.from, wish.to);
    let mut uses = Vec::new();
    if from.backend != to.backend {
        uses.push(Use::Marker);
    }
    // A file that cannot be read is named elsewhere.
    if to.engine.is_some() && engine_of_file(context).ok() != to.engine {
        uses.push(Use::Configuration);
    }
    if to.backend == Backend::Hybrid {
        uses.push(Use::NewIndex);
    }
    if moves(wish) && [from.side(), to.side()].contains(&Side::Sqlite) {
        uses.push(Use::Documents);
    }
    if moves(wish) && to.side() == Side::Files {
        uses.push(Use::Milestones);
    }
    if leaves_files(wish) {
        let retires = context.config.migration.files_after == FilesAfter::Retire;
        uses.push(if retires { Use::Milestones } else { Use::Note });
    }
    if plan.backup {
        uses.push(Use::Backup);
    }
    uses
}

/// Files that stay where they are hinder nothing. What would hinder the way back to them is worth knowing.
fn way_back(plan: &mut Plan, found: &[Hindrance], context: &Context<'_>) {
    for it in hindrances(context.workspace, &[Use::Milestones]).iter().filter(|it| !found.contains(it)) {
        let Hindrance { place, reason, do_this } = it;
        plan.notes.push(format!("{place}: {reason}; before the milestones can come back to files, {do_this}"));
    }
}

/// What comes back from a store that not all may read is not for all either.
fn private_files(plan: &mut Plan, wish: &Wish, context: &Context<'_>) {
    let (from, place) = (wish.from.side(), context.workspace.active().join("any.yaml"));
    let database = context.workspace.enterprise_db();
    let readers = match from {
        Side::Postgresql => readers_of_a_server(context.workspace),
        _ => database.status().map_or(Readers::ALL, |status| Readers::of(&status).as_placed(&database)),
    };
    if readers.leave_out_some(&place) {
        plan.notes.push(format!(
            "milestones that are new or changed in {from} become files that not all may read who may read {}; give the right to read them \
             (chmod g+rw, o+r) afterwards to those that are not private",
            context.workspace.shown(&context.workspace.active()),
            from = from.as_str()
        ));
    }
}

/// A database of files that are not for all is not for all either.
fn private_database(plan: &mut Plan, wish: &Wish, context: &Context<'_>) {
    let database = match wish.to {
        it if it.backend == Backend::Hybrid => context.workspace.index_db(),
        it if it.side() == Side::Sqlite => context.workspace.enterprise_db(),
        _ => return,
    };
    // What cannot be listed is named elsewhere.
    let is_private = || readers_of_files(context.workspace).is_ok_and(|readers| readers.leave_out_some(&database));
    if wish.from.side() == Side::Files && is_private() {
        plan.notes.push(format!(
            "{} will not be for all who use the workspace, for some milestones are not: who may not read one of them reaches none through \
             it. To change that, give the right to read those (chmod g+r, o+r) before, or stay with files",
            context.workspace.shown(&database)
        ));
    }
}

/// Files whose modes only their owners may change.
fn others(plan: &mut Plan, context: &Context<'_>) -> Result<(), Error> {
    let files = files_of_others(context.workspace)?;
    if !files.is_empty() {
        let named = files.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = if files.len() > NAMED { ", …" } else { "" };
        plan.notes.push(format!(
            "{} to other users, and cannot be made read-only: {named}{more}; what is written there is brought over as ever",
            counted(files.len() as u64, "file belongs", "files belong")
        ));
    }
    Ok(())
}

/// Odd names that one plan names.
const ODD: usize = 20;

/// Files that look like milestones and stay behind, or go under another name.
pub(super) fn note_odd_names(plan: &mut Plan, context: &Context<'_>) {
    let found = odd_names(context.workspace);
    plan.notes.extend(found.iter().take(ODD).map(|odd| format!("{}: {}", odd.place, odd.why)));
    if found.len() > ODD {
        plan.notes.push(format!("and {} more such names", found.len() - ODD));
    }
}
