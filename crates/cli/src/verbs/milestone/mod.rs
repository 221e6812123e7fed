//! `milescale milestone`: the verbs on milestones, and the storage event that each leaves.

mod archive;
mod export;
mod list;
mod put;
mod show;

use std::io;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use milescale_core::line::{Operation, StorageEvent};
use milescale_daemon::Access;
use milescale_document::milestone::Milestone;
use milescale_document::text::harmless;
use milescale_storage::archive::Archive;
use milescale_storage::outline::{Outline, Wanted};
use milescale_storage::scan::scan_as;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::error::StoreError;
use milescale_workspace::jsonl::{self, Rotation};
use milescale_workspace::switch;
use serde::Serialize;

use crate::args::MilestoneCommand;
use crate::context::{Context, Failure};
use crate::terminal;

/// How long a switch of milescale's is waited for; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The log of adapters is theirs to rotate.
const NEVER_ROTATED: Rotation = Rotation { at_bytes: u64::MAX, files: 1 };

/// What a verb works with.
pub(super) struct Desk {
    pub(super) workspace: Workspace,
    pub(super) access: Access,
    pub(super) archive: Archive,
}

impl Desk {
    /// The store, for a verb that writes.
    fn writable(&mut self) -> Result<&mut dyn Store, Failure> {
        match &self.access.only_read {
            Some(why) => Err(Failure::Failed(format!("nothing was written: {why}"))),
            None => Ok(&mut *self.access.store),
        }
    }

    /// The same, and the archive.
    fn writable_with_archive(&mut self) -> Result<(&mut dyn Store, &mut Archive), Failure> {
        match &self.access.only_read {
            Some(why) => Err(Failure::Failed(format!("nothing was written: {why}"))),
            None => Ok((&mut *self.access.store, &mut self.archive)),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

pub(crate) fn run(context: &Context, command: &MilestoneCommand) -> Result<ExitCode, Failure> {
    let workspace = context.workspace_with_stores(None, false)?;
    let writes = match command {
        MilestoneCommand::Put(options) => Some(&options.id),
        MilestoneCommand::Archive(options) => Some(&options.id),
        MilestoneCommand::Unarchive(options) => Some(&options.id),
        _ => None,
    };
    // Before any lock: what comes through a pipe may take its time.
    let draft = match command {
        MilestoneCommand::Put(options) => Some(put::draft(&workspace, options)),
        _ => None,
    };
    // Until it is written, no switch makes another store the one in use.
    let _turn = writes.map(|_| switch::share(&workspace, PATIENCE)).transpose()?;
    let access = Access::open(&workspace, Context::environment()).map_err(Failure::Failed)?;
    if let Some(id) = writes.filter(|_| access.is_moving) {
        let shown = workspace.shown(&workspace.dirty());
        switch::note_dirty(&workspace, id)
            .map_err(|error| Failure::Failed(format!("{shown}: {error}; nothing was written")))?;
    }
    let archive = Archive::new(&workspace);
    let mut desk = Desk { workspace, access, archive };
    let (operation, milestone) = match command {
        MilestoneCommand::Show(options) => ("read", Some(options.id.as_str())),
        MilestoneCommand::Put(options) => ("write", Some(options.id.as_str())),
        MilestoneCommand::Archive(options) => ("write", Some(options.id.as_str())),
        MilestoneCommand::Unarchive(options) => ("write", Some(options.id.as_str())),
        MilestoneCommand::List(_) | MilestoneCommand::Search(_) | MilestoneCommand::Export(_) => ("query", None),
    };
    if let Some(why) = desk.access.only_read.as_ref().filter(|_| operation != "write") {
        terminal::error(why);
    }
    let started = Instant::now();
    let result = match command {
        MilestoneCommand::List(options) => list::list(&mut desk, options),
        MilestoneCommand::Search(options) => list::search(&mut desk, options),
        MilestoneCommand::Show(options) => show::run(&mut desk, options),
        MilestoneCommand::Put(options) => {
            let draft = draft.unwrap_or_else(|| put::draft(&desk.workspace, options));
            draft.and_then(|draft| put::put(&mut desk, options, &draft))
        }
        MilestoneCommand::Archive(options) => archive::archive(&mut desk, options),
        MilestoneCommand::Unarchive(options) => archive::unarchive(&mut desk, options),
        MilestoneCommand::Export(options) => export::run(&mut desk, options),
    };
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let details = Operation { operation, duration_ms, success: result.is_ok() };
    let event = StorageEvent::new(Context::now(), milestone, Context::user(), desk.access.in_use.backend, details);
    if let Err(error) = append(&desk.workspace, &event) {
        // What was asked for is done all the same.
        terminal::error(&format!("{}: {error}", desk.workspace.shown(&desk.workspace.storage_events())));
    }
    result.map(|()| ExitCode::SUCCESS)
}

fn append(workspace: &Workspace, event: &StorageEvent) -> io::Result<()> {
    durable::create_folder(&workspace.logs())?;
    jsonl::append(&workspace.storage_events(), event, NEVER_ROTATED)
}

/// A milestone in a list.
#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    title: String,
    status: Option<String>,
    priority: String,
    created_at: Option<String>,
    updated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    place: String,
    /// Why it could not be read, where that is so.
    flaw: Option<String>,
}

impl Listed {
    fn of(milestone: Milestone) -> Self {
        let digest = Some(milestone.digest().to_string());
        Self { digest, ..Self::outlined(Outline::of(milestone)) }
    }

    fn outlined(outline: Outline) -> Self {
        let Outline { id, columns, updated_at, place, flaw } = outline;
        Self {
            id,
            title: columns.title,
            status: columns.status,
            priority: columns.priority,
            created_at: columns.created_at,
            updated_at,
            digest: None,
            place,
            flaw: flaw.map(|flaw| flaw.to_string()),
        }
    }
}

/// Collects what a filter takes, of the archive too where that is asked for.
fn collect(desk: &mut Desk, wanted: &Wanted) -> Result<Vec<Listed>, Failure> {
    let mut found = Vec::new();
    let listed = |milestone: Milestone| wanted.takes(&milestone).then(|| Listed::of(milestone));
    scan_as(&mut *desk.access.store, listed, &mut |listed| {
        found.extend(listed);
        ControlFlow::Continue(())
    })?;
    let shown = found.iter().map(|listed| listed.id.clone()).collect();
    let show = &mut |milestone| found.push(Listed::of(milestone));
    desk.archive.list(&mut *desk.access.store, wanted, &shown, show)?;
    Ok(in_order(found, wanted))
}

/// Collects what a store and the archive show, without the texts.
fn outlines(desk: &mut Desk, wanted: &Wanted) -> Result<Vec<Listed>, Failure> {
    let mut found = Vec::new();
    let show = &mut |outline| found.push(Listed::outlined(outline));
    desk.archive.list_with(&mut *desk.access.store, wanted, show)?;
    Ok(in_order(found, wanted))
}

/// Archived ones stand among the others, each after the one of its id that is in use.
fn in_order(mut found: Vec<Listed>, wanted: &Wanted) -> Vec<Listed> {
    if wanted.asks_for_archived() {
        found.sort_by(|one, other| one.id.cmp(&other.id));
    }
    found
}

/// Prints a list, for people or programs.
fn print(found: &[Listed], json: bool) {
    if json {
        return terminal::json(&found);
    }
    let screen = terminal::Screen::new();
    let width = |of: fn(&Listed) -> &str, most: usize| {
        found.iter().map(|listed| harmless(of(listed)).chars().count()).max().unwrap_or(0).min(most)
    };
    let ids = width(|listed| &listed.id, 40);
    let statuses = width(|listed| listed.status.as_deref().unwrap_or("-"), 16);
    let priorities = width(|listed| &listed.priority, 10);
    for (number, listed) in found.iter().enumerate() {
        let status = harmless(listed.status.as_deref().unwrap_or("-"));
        let (id, priority) = (harmless(&listed.id), harmless(&listed.priority));
        let what = match &listed.flaw {
            Some(flaw) => format!("cannot be read: {}", harmless(flaw)),
            None => harmless(&listed.title),
        };
        // One id can be in use and archived, or archived twice: the places tell them apart.
        let same = |other: Option<&Listed>| other.is_some_and(|other| other.id == listed.id);
        let is_twice = same(found.get(number + 1)) || number > 0 && same(found.get(number - 1));
        let place = if is_twice { format!("  ({})", harmless(&listed.place)) } else { String::new() };
        terminal::line(&screen.fit(&format!("{id:ids$}  {status:statuses$}  {priority:priorities$}  {what}{place}")));
    }
}
