//! Consent to a connection that leaves the machine: given on it, once a workspace and server (contract §10). A configuration that
//! travels with a repository says where plans are kept, never that they may be sent there. Nor does anything else in the workspace: what
//! says there that a server was used before, whoever may write there can write.

use std::path::{Component, Path};

use milescale_core::config::Database;
use milescale_document::text::{glimpse, harmless, in_command};
use milescale_workspace::Workspace;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::system;
use milescale_workspace::trust::Server;

use super::address::{self, Address};

/// The servers of an address that are not on this machine.
///
/// # Errors
/// When the address cannot be understood.
pub fn servers(database: &Database) -> Result<Vec<Server>, StoreError> {
    Ok(address::read(&database.url, database.url_from, &database.client)?.servers_elsewhere())
}

/// An address as it may be shown: what of it says where the server is; of one that cannot be understood its beginning.
pub fn shown_address(database: &Database) -> String {
    match address::read(&database.url, database.url_from, &database.client) {
        Ok(address) => address.shown,
        Err(_) => glimpse(&database.url),
    }
}

/// Those that a workspace has no consent for.
///
/// # Errors
/// As [`servers`].
pub fn servers_without_consent(workspace: &Workspace, database: &Database) -> Result<Vec<Server>, StoreError> {
    let address = address::read(&database.url, database.url_from, &database.client)?;
    Ok(lacking(workspace, &address))
}

/// Refuses what was not consented to; nothing was sent, and no secret looked up.
///
/// # Errors
/// The sentence that gives consent.
pub(super) fn check(workspace: &Workspace, address: &Address) -> Result<(), StoreError> {
    match brings_an_authority(workspace, address).or_else(|| sentence(workspace, address)) {
        Some(sentence) => Err(StoreError::new(Problem::Refused, &address.shown, sentence)),
        None => Ok(()),
    }
}

/// What a move to this database waits for, in words: the sentence that gives consent to its server. `None`: for nothing, or the
/// address cannot be understood.
pub fn waits_for_consent(workspace: &Workspace, database: &Database) -> Option<String> {
    sentence(workspace, &address::read(&database.url, database.url_from, &database.client).ok()?)
}

/// Why the authority that the workspace names is none: whoever may write there can exchange it, and so be any server.
fn brings_an_authority(workspace: &Workspace, address: &Address) -> Option<String> {
    let authority = address.workspaces_authority.as_ref().filter(|path| path.as_os_str() != "system")?;
    if address.servers_elsewhere().is_empty() {
        return None;
    }
    if !authority.is_absolute() {
        return Some(
            "sslrootcert is no whole path, and could be any file of that name; write where it lies from / on"
                .to_owned(),
        );
    }
    // As it is written, and where it leads.
    let real = [system::real_path(authority).ok(), system::real_path(authority.parent()?).ok()];
    let paths = real.into_iter().flatten().chain([authority.clone()]);
    let lies_in =
        |path: &Path| path.starts_with(workspace.root()) || path.components().any(|part| part == Component::ParentDir);
    paths.into_iter().any(|path| lies_in(&path)).then(|| {
        "sslrootcert lies in the workspace, which may come to hold another one; put it elsewhere, such as into \
         ~/.postgresql/root.crt, and take sslrootcert out"
            .to_owned()
    })
}

fn sentence(workspace: &Workspace, address: &Address) -> Option<String> {
    let server = lacking(workspace, address).into_iter().next()?;
    let problems = workspace.capability().trust().problems();
    let problems = if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) };
    Some(format!(
        "{} is not this machine, and a connection there needs your consent first: `milescale trust {} --server {}`{problems}",
        harmless(&server.host),
        in_command(workspace.root()),
        in_command(&server.to_string()),
    ))
}

fn lacking(workspace: &Workspace, address: &Address) -> Vec<Server> {
    let trust = workspace.capability().trust();
    let mut lacking = address.servers_elsewhere();
    let mode = address.security.mode.as_str();
    lacking.retain(|server| !trust.has_server(workspace.root(), server, mode));
    lacking
}
