//! What `doctor` says of the store in use, of what names it, and of the other sources of figures.

use milescale_core::base::Side;
use milescale_daemon::status::Status;
use milescale_daemon::{Access, Gone};
use milescale_storage::store::{Part, Risk, Store};
use milescale_workspace::Workspace;
use milescale_workspace::trial::Hindrance;

use super::checks::{finding, or_ok};
use super::{Finding, Level};
use crate::context::Context;

pub(super) fn sources(status: &Status, gone: Option<&Gone>) -> Vec<Finding> {
    let others = status.stale_sources.iter().filter(|stale| gone.is_none_or(|gone| gone.place != stale.source));
    let others = others.map(|stale| {
        finding(
            Level::Wrong,
            format!("{}: {}", stale.source, stale.reason),
            "Its figures are the last known ones, and nothing is done on them.",
            "Mend what the line says; milescale notices by itself.",
        )
    });
    let gone = gone.map(|gone| {
        let means = "Figures are the last known ones, and nothing is read, written or moved.";
        finding(Level::Wrong, gone.what(), means, gone.do_this())
    });
    or_ok(gone.into_iter().chain(others).collect(), "every source of figures can be read")
}

pub(super) fn marker(workspace: &Workspace, status: &Status) -> Vec<Finding> {
    let path = workspace.shown(&workspace.marker());
    match workspace.marker().status().and_then(|metadata| metadata.modified()) {
        // What it is, the sources of figures say.
        Err(_) if workspace.marker().exists() => Vec::new(),
        Err(_) if !matches!(status.current_backend.as_str(), "" | "file") => vec![finding(
            Level::Wrong,
            format!("{path}: there is no marker, which means file, and {} is in use", status.current_backend),
            "Other programs may write to the files, and milestones are not written through milescale.",
            format!("`milescale migrate {}` writes the marker again; no milestone is moved.", status.current_backend),
        )],
        Err(_) => vec![finding(
            Level::Note,
            format!("{path}: there is no marker"),
            "The backend is file, and its age stays 0: no move is ever recommended by age.",
            "Run `milescale init`.",
        )],
        Ok(modified) if modified > std::time::SystemTime::now() => vec![finding(
            Level::Wrong,
            format!("{path}: its modification time lies ahead"),
            "The age of the backend is taken as 0 until then.",
            "Set the clock right, or `touch` the file.",
        )],
        Ok(_) => vec![finding(
            Level::Ok,
            format!("{path}: the backend is in use for {} h", status.backend_age_hours.unwrap_or_default()),
            "A checkout or `touch` of this file starts the age anew.",
            "",
        )],
    }
}

/// What the store in use says of itself: what it may lose, and what keeps milescale from changing milestones in it.
pub(super) fn opened(workspace: &Workspace, said: &[Finding]) -> Vec<Finding> {
    // A store that cannot be reached is another check's matter.
    let Ok(Access { mut store, in_use, .. }) = Access::open_at_once(workspace, Context::environment()) else {
        return Vec::new();
    };
    let mut findings = refusals(&mut *store);
    findings.extend(risks(&mut *store));
    findings.extend(hidden(&mut *store, said));
    if in_use.side() == Side::Files {
        findings.extend(bases(workspace, &mut *store));
    }
    findings
}

/// Whether what the files had in common with an old store can be read, which is a file of its own. A reader makes none.
fn bases(workspace: &Workspace, store: &mut dyn Store) -> Option<Finding> {
    if !workspace.base_db().exists() {
        return None;
    }
    let error = store.ledger().and_then(|it| it.earlier(None, 1)).err()?;
    let means = "What an old store still gets is not brought over until then.";
    Some(finding(Level::Wrong, error.to_string(), means, "Do what the line says."))
}

/// Milestones that nobody finds, but for those that the figures have named.
fn hidden(store: &mut dyn Store, said: &[Finding]) -> Vec<Finding> {
    let finding = |Hindrance { place, reason, do_this }| {
        let means = "Lists and exports leave them out, and a move out of it is refused.";
        finding(Level::Wrong, format!("{place}: {reason}"), means, format!("To mend it: {do_this}."))
    };
    let is_new = |it: &Hindrance| !said.iter().any(|said| said.what.contains(&it.reason));
    store.hidden().unwrap_or_default().into_iter().filter(is_new).map(finding).collect()
}

/// What the server may lose.
fn risks(store: &mut dyn Store) -> Vec<Finding> {
    let risks = store.risks().unwrap_or_default();
    let finding = |risk: Risk| Finding {
        level: if risk.is_grave { Level::Wrong } else { Level::Note },
        what: format!("{}: {}", store.name(), risk.what),
        means: String::new(),
        do_this: risk.do_this,
    };
    risks.into_iter().map(finding).collect()
}

/// Rights that milescale lacks in it.
fn refusals(store: &mut dyn Store) -> Vec<Finding> {
    let against = store.against(Part::InUse).unwrap_or_default();
    let finding = |Hindrance { place, reason, do_this }| {
        let means = "Milestones are read; `put`, `archive` and what an old store still gets are refused.";
        finding(Level::Wrong, format!("{place}: {reason}"), means, format!("To mend it: {do_this}."))
    };
    against.hindrances.into_iter().map(finding).collect()
}
