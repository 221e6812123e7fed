//! `milescale trust`: what of a workspace is trusted on this machine, though it is not the caller's own, or leads elsewhere.

use std::path::{Component, Path};
use std::process::ExitCode;

use milescale_core::backend::Engine;
use milescale_core::config::{Database, UrlFrom};
use milescale_document::text::harmless;
use milescale_storage::postgres;
use milescale_workspace::Workspace;
use milescale_workspace::folder::{real_folder, system};
use milescale_workspace::layout::FOLDER;
use milescale_workspace::trust::{Entry, Server, Trust, can_be_trusted};
use serde_json::json;

use crate::args::TrustOptions;
use crate::context::{Context, Failure};
use crate::terminal;
use crate::trust::{change, root_of, sources};

pub(crate) fn run(context: &Context, options: &TrustOptions) -> Result<ExitCode, Failure> {
    if options.list {
        return list(options);
    }
    let workspace = workspace(context, options)?;
    let root = root_of(&workspace)?;
    let links = options.link.iter().map(|name| link(&workspace, &root, name, options.remove));
    let mut wanted = links.collect::<Result<Vec<_>, _>>()?;
    for url in &options.server {
        let server = |server: Server| Entry { server: Some(server), ..Entry::owner(&root) };
        wanted.extend(servers(url)?.into_iter().map(server));
    }
    if wanted.is_empty() {
        if !options.server.is_empty() {
            terminal::line("a server on this machine needs no consent; nothing was written");
            return Ok(ExitCode::SUCCESS);
        }
        wanted.push(Entry::owner(&root));
    }
    let is_all = options.link.is_empty() && options.server.is_empty();
    let mut count = 0;
    let file = change(|entries| {
        if options.remove {
            // Without a link or a server named, nothing of the workspace is trusted any more.
            let goes = |entry: &Entry| {
                Path::new(&entry.workspace) == Path::new(&root)
                    && (is_all || wanted.iter().any(|it| is_same(it, entry)))
            };
            let before = entries.len();
            entries.retain(|entry| !goes(entry));
            count = before - entries.len();
        } else {
            // A link that leads elsewhere by now is the same one.
            entries.retain(|entry| !wanted.iter().any(|it| is_same(it, entry)));
            entries.extend(wanted.iter().cloned());
        }
    })?;
    if options.remove && count == 0 {
        terminal::line(&format!("nothing of it was trusted in {}", file.display()));
    } else {
        say_done(&wanted, options.remove, is_all, &file);
    }
    if options.remove {
        // Other files say so too: those of the machine, of a service, of a container.
        for it in Trust::of(sources()).entries(Some(workspace.root())) {
            if is_all || wanted.iter().any(|one| is_same(one, &it.entry)) {
                terminal::line(&format!("still trusted by {}: {}", it.file.display(), named(&it.entry)));
            }
        }
    } else if let Err(error) = Context::trusting(workspace.root()).look_again() {
        terminal::line(&format!("not enough yet: {error}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was written down.
fn say_done(wanted: &[Entry], is_removed: bool, is_all: bool, file: &Path) {
    let done = if is_removed { "no longer trusted" } else { "trusted" };
    for entry in wanted {
        let what = if is_all && is_removed { format!("{}, and all in it", entry.workspace) } else { named(entry) };
        terminal::line(&format!("{done}: {what}"));
    }
    terminal::line(&format!("written down in {}", file.display()));
}

/// Whether two entries are about the same thing, wherever a link leads, and however a server is talked to.
fn is_same(one: &Entry, other: &Entry) -> bool {
    // As paths: one that a person has written may end in a slash.
    let path = |text: &String| Path::new(text).to_owned();
    let is_same_server = match (&one.server, &other.server) {
        (Some(one), Some(other)) => one.is_same(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    is_same_server
        && (path(&one.workspace), one.link.as_ref().map(path))
            == (path(&other.workspace), other.link.as_ref().map(path))
}

fn named(entry: &Entry) -> String {
    match (&entry.link, &entry.target, &entry.server) {
        (Some(link), Some(target), _) => format!("{}: the symlink {link} to {target}", entry.workspace),
        (Some(link), None, _) => format!("{}: the symlink {link}", entry.workspace),
        (_, _, Some(server)) => format!("{}: {server}", entry.workspace),
        _ => format!("{}, whoever it belongs to", entry.workspace),
    }
}

/// The workspace that is named, whether or not it may be entered yet.
fn workspace(context: &Context, options: &TrustOptions) -> Result<Workspace, Failure> {
    if let (Some(_), Some(_)) = (options.dir.as_deref(), context.given()) {
        return Err(Failure::Usage(
            "the workspace is named twice, by --workspace and after the options; name it once".to_owned(),
        ));
    }
    let Some(folder) = options.dir.as_deref().or(context.given()) else { return context.workspace_as_it_is() };
    if folder.to_str().is_some_and(|it| it.contains("://")) {
        return Err(Failure::Usage(
            "that is an address and no folder; to consent to a server: --server URL".to_owned(),
        ));
    }
    let root = match real_folder(folder, &Trust::of(sources())) {
        // What is gone can still be taken off the list.
        Err(_) if options.remove => std::path::absolute(folder),
        real => real,
    };
    let root = root.map_err(|error| Failure::Usage(format!("{}: {error}", folder.display())))?;
    if !system::exists(root.join(FOLDER)) && !options.remove {
        let why = "there is no folder .milestones in it; name the folder that holds it";
        return Err(Failure::Usage(format!("{}: {why}", folder.display())));
    }
    Ok(Context::trusting(&root))
}

/// The entry of a symlink, by its name in `.milestones/` or with that before it.
fn link(workspace: &Workspace, root: &str, name: &str, is_removed: bool) -> Result<Entry, Failure> {
    let refused = |why: &str| Failure::Usage(format!("{}: {why}", harmless(name)));
    let name = name.trim_end_matches('/');
    let inside = name.strip_prefix(".milestones/").unwrap_or(name);
    if Path::new(inside).components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(refused("name it by its path in .milestones, such as config/storage-config.yaml"));
    }
    if !can_be_trusted(Path::new(inside)) {
        return Err(refused(
            "a milestone behind a symlink does not count; name a folder, or a file that is no milestone",
        ));
    }
    let whole = Path::new(inside) == Path::new(FOLDER);
    let path = if whole { workspace.root().join(FOLDER) } else { workspace.root().join(FOLDER).join(inside) };
    let target = system::link_target(&path).map(|target| target.into_os_string().into_string());
    let target = match target {
        Some(Ok(target)) => Some(target),
        Some(Err(_)) => return Err(refused("what it leads to is not UTF-8, and cannot be written down")),
        None if is_removed => None,
        None => {
            return Err(refused(
                "it is no symlink in .milestones; name one by its path there, such as config/storage-config.yaml",
            ));
        }
    };
    Ok(Entry { link: Some(inside.to_owned()), target, ..Entry::owner(root) })
}

/// The servers of an address that are not on this machine.
fn servers(url: &str) -> Result<Vec<Server>, Failure> {
    let mut client = Context::environment().client;
    // The sentence that names the command has said all of it: what the environment says is no part of that.
    client.variables.retain(|name, _| ["PGSERVICEFILE", "PGSYSCONFDIR"].contains(&name.as_str()));
    let database = Database {
        engine: Engine::Postgresql,
        url: url.to_owned(),
        // The person says it.
        url_from: UrlFrom::Environment,
        client,
        ..Database::default()
    };
    postgres::servers(&database).map_err(|error| Failure::Usage(format!("--server: {}", error.cause)))
}

fn list(options: &TrustOptions) -> Result<ExitCode, Failure> {
    let trust = Trust::of(sources());
    let root = options.dir.as_deref().map(|folder| system::real_path(folder).or_else(|_| std::path::absolute(folder)));
    let root = root.transpose().map_err(|error| Failure::Usage(error.to_string()))?;
    for problem in trust.problems() {
        terminal::error(&problem);
    }
    let entries = trust.entries(root.as_deref());
    if options.json {
        terminal::json(&json!({ "trusted": entries }));
        return Ok(ExitCode::SUCCESS);
    }
    for it in &entries {
        terminal::line(&format!("{} (in {})", named(&it.entry), it.file.display()));
    }
    if entries.is_empty() {
        terminal::line("nothing is trusted but what is your own");
    }
    Ok(ExitCode::SUCCESS)
}
