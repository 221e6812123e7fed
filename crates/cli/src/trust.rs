//! What the environment says of trust: where it is written down, and who the caller is (contract §10).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy as _;
use milescale_workspace::durable;
use milescale_workspace::folder::{Folder, system};
use milescale_workspace::lock::{self, Share};
use milescale_workspace::readers::Readers;
use milescale_workspace::stop::Stop;
use milescale_workspace::trust::{Entry, Server, Sources, Trust, text_of};
use milescale_workspace::{Place, Workspace};

use crate::context::Failure;
use crate::terminal;

/// How long another change is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the machine's administrator writes down what is trusted.
const OF_THE_MACHINE: &str = "/etc/milescale/trust";

/// The name of the file in a folder of configuration.
const FILE: &str = "trust";

/// Where trust comes from.
pub(crate) fn sources() -> Sources {
    let folders = std::env::var_os("CONFIGURATION_DIRECTORY").unwrap_or_default();
    let given = std::env::split_paths(&folders).filter(|folder| folder.is_absolute()).map(|folder| folder.join(FILE));
    let own = own_file().into_iter();
    Sources {
        files: own.chain([PathBuf::from(OF_THE_MACHINE)]).chain(given).collect(),
        // Any other one could be a file that a workspace brings.
        named: std::env::var_os("MILESCALE_TRUST").map(PathBuf::from).filter(|file| file.is_absolute()),
        callers: callers(),
    }
}

/// The person's own file.
fn own_file() -> Option<PathBuf> {
    let folder = etcetera::base_strategy::Xdg::new().ok()?.config_dir();
    folder.is_absolute().then(|| folder.join("milescale").join(FILE))
}

/// Who counts as the caller beside the process's own user.
fn callers() -> Vec<u32> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let is_root = rustix::process::geteuid().is_root();
    let by_sudo = number("SUDO_UID").filter(|_| is_root);
    // The service manager has started this very process, in a user namespace that cannot name the workspace's owner.
    let by_manager = number("SYSTEMD_EXEC_PID") == Some(std::process::id()) && !knows_all_users();
    let unnamed = by_manager.then(|| system::text("/proc/sys/kernel/overflowuid").ok()?.trim().parse().ok()).flatten();
    by_sudo.into_iter().chain(unnamed).collect()
}

/// Whether the user namespace has a number for every user.
fn knows_all_users() -> bool {
    let map = system::text("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"]
}

/// Changes what a person's own file says. Where it is. One that is not used is not written either: what somebody else has put there
/// would be the person's own then.
pub(crate) fn change(change: impl FnOnce(&mut Vec<Entry>)) -> Result<PathBuf, Failure> {
    let nowhere =
        "there is no folder for your configuration; set HOME or XDG_CONFIG_HOME, or write /etc/milescale/trust";
    let file = own_file().ok_or_else(|| Failure::Failed(nowhere.to_owned()))?;
    let failed = |error: std::io::Error| Failure::Failed(format!("{}: it cannot be written: {error}", file.display()));
    let folder = file.parent().unwrap_or(Path::new("/"));
    let there = folder.ancestors().find(|above| system::is_folder(above)).unwrap_or(folder);
    let trust = Trust::of(sources());
    let missing = folder.strip_prefix(there).unwrap_or(Path::new(""));
    let there = Folder::of_person(there, &trust).map_err(failed)?;
    let owner = there.place().status().map_err(failed)?.uid();
    if !trust.is_own(owner) {
        let (shown, owner) = (there.path().display(), system::name_of_user(owner));
        return Err(Failure::Failed(format!(
            "{shown} belongs to {owner}, and is no place for what you trust; set HOME or XDG_CONFIG_HOME to a folder of yours, or write \
             {OF_THE_MACHINE}"
        )));
    }
    // What root makes in the folder of who has called it, under sudo, belongs to that person.
    let folder = there.place().join(missing);
    durable::create_folder(&folder).map_err(failed)?;
    // Two who change it at once: the second reads what the first has written.
    let lock = folder.join(format!("{FILE}.lock"));
    let held = lock::wait_for(&lock, Share::Alone, PATIENCE, &Stop::default()).map_err(failed)?;
    let busy = "another `milescale trust` is at work; try again once it has ended";
    let _held = held.ok_or_else(|| Failure::Failed(busy.to_owned()))?;
    let entries = trust.of_file(&file);
    let unused = |why| Failure::Failed(format!("{}: {why}; mend or remove it first", file.display()));
    let mut entries = entries.map_err(unused)?;
    change(&mut entries);
    entries.sort();
    entries.dedup();
    let text = text_of(&entries).map_err(failed)?;
    // A person may keep it elsewhere, behind a symlink: that stays one.
    let place = Place::of_person(&file, &trust).map_err(failed)?;
    durable::replace_for(&place, Readers::OWN, text.as_bytes()).map_err(failed)?;
    Ok(file)
}

/// Writes down that a server may be connected to for a workspace.
pub(crate) fn consent(workspace: &Workspace, servers: &[Server]) -> Result<PathBuf, Failure> {
    let root = root_of(workspace)?;
    change(|entries| {
        entries.extend(servers.iter().map(|server| Entry { server: Some(server.clone()), ..Entry::owner(&root) }));
    })
}

/// The path of a workspace as it is written down.
pub(crate) fn root_of(workspace: &Workspace) -> Result<String, Failure> {
    let root = workspace.root().to_str().map(str::to_owned);
    root.ok_or_else(|| {
        Failure::Failed(format!("{}: its path is not UTF-8, and cannot be written down", workspace.root().display()))
    })
}

/// Asks for consent to each server that a workspace has none for, where there is a person to answer.
pub(crate) fn asked(workspace: &Workspace, servers: &[Server]) -> Result<(), Failure> {
    if servers.is_empty() || !terminal::is_there() {
        return Ok(());
    }
    let named: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let question = format!(
        "The milestones of {} are to be kept on {}. Connect to it, now and from now on? (A yes is written down in {}; `milescale \
         trust --remove` takes it back.)",
        workspace.root().display(),
        named.join(" and "),
        own_file().unwrap_or_default().display()
    );
    if !terminal::asked(&question)? {
        return Err(Failure::Failed("nothing was sent, and nothing was changed".to_owned()));
    }
    consent(workspace, servers).map(drop)
}
