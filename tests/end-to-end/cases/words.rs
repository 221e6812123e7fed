//! What commands say of what they did not do, and that they say it once.

mod address;
mod damaged;
mod lost;
mod refused;
mod said;

use std::fs;
use std::path::Path;

use milescale_testkit::{Postgres, Said, Workspace};

fn said(workspace: &Workspace, arguments: &str) -> Said {
    workspace.run(arguments.split(' '))
}

/// Standard output and error of a command with this exit status.
fn text(workspace: &Workspace, code: i32, arguments: &str) -> String {
    let said = said(workspace, arguments);
    assert_eq!(said.code, code, "{arguments}: {said:?}");
    format!("{}{}", said.out, said.err)
}

fn with_milestones() -> Workspace {
    let workspace = crate::workspace();
    workspace.milestones("m", 2);
    workspace
}

/// The same on a server.
fn on_server() -> (Postgres, Workspace) {
    let (server, workspace) = (Postgres::start(), with_milestones());
    configure(&workspace, &format!("storage:\n  database:\n    type: postgresql\n    url: \"{}\"\n", server.url()));
    text(&workspace, 0, "migrate database --yes");
    (server, workspace)
}

fn configure(workspace: &Workspace, text: &str) {
    workspace.write("config/storage-config.yaml", text);
}

#[test]
fn resolving_names_every_choice_and_an_unknown_conflict_is_called_that() {
    let workspace = with_milestones();
    let asked = text(&workspace, 2, "conflicts resolve NAME");
    assert!(asked.contains("--keep-current") && asked.contains("--take-kept"), "{asked}");
    for command in ["show NAME", "resolve NAME --keep-current"] {
        let told = text(&workspace, 1, &format!("conflicts {command}"));
        assert!(told.contains("NAME: there is no such conflict; `milescale conflicts list`"), "{told}");
    }
}

#[test]
fn what_is_in_use_is_not_called_unarchived_and_twins_are_told_apart_by_place() {
    let workspace = with_milestones();
    let told = text(&workspace, 0, "milestone unarchive m-1");
    assert!(told.contains("m-1 is not archived, and stays as it is"), "{told}");
    fs::copy(workspace.path("active/m-1.yaml"), workspace.path("completed/m-1.yaml")).unwrap();
    let listed = text(&workspace, 0, "milestone list --all");
    let twins: Vec<&str> = listed.lines().filter(|line| line.starts_with("m-1")).collect();
    assert!(twins.len() == 2 && twins[0].contains("(.milestones/active/m-1.yaml)"), "{listed}");
    assert!(twins[1].contains("(.milestones/completed/m-1.yaml)"), "{listed}");
    assert!(!listed.contains("active/m-0.yaml"), "{listed}");
}

#[test]
fn a_store_that_was_refused_is_not_told_as_one_that_was_left() {
    let workspace = with_milestones();
    text(&workspace, 0, "check");
    for word in ["database", "file"] {
        workspace.write("config/storage-backend.txt", format!("{word}\n"));
        workspace.age_marker(1);
        said(&workspace, "check");
    }
    let events = workspace.events_named("backend_changed");
    let details = &events[1]["details"];
    assert_eq!((&details["from"], &details["to"]), (&"file".into(), &"file".into()), "{events:?}");
    assert!(details["reason"].as_str().unwrap().contains("database on sqlite was never in use"), "{events:?}");
}

#[test]
fn a_check_of_the_configuration_shows_errors_and_unknown_keys_together() {
    let workspace = with_milestones();
    configure(&workspace, "storage:\n  backnd: auto\n  thresholds:\n    milestone_count: {file_to_hybrid: -1}\n");
    let told = text(&workspace, 2, "config check");
    assert!(told.contains("error: storage.thresholds") && told.contains("warning: storage.backnd"), "{told}");
    configure(&workspace, "storage:\n  backnd: auto\n");
    let told = text(&workspace, 2, "config check --strict");
    assert!(told.contains("not valid: with --strict") && !told.contains("yaml: valid"), "{told}");
    assert_eq!(said(&workspace, "config check --strict --json").json()["valid"], false);
}

#[test]
fn an_address_that_cannot_be_read_is_no_valid_configuration() {
    let workspace = with_milestones();
    let address = |port: &str| {
        let url = format!("postgresql://u:secret@127.0.0.1:{port}/plans");
        configure(&workspace, &format!("storage:\n  database:\n    type: postgresql\n    url: {url}\n"));
    };
    address("54x");
    let told = text(&workspace, 2, "config check");
    assert!(told.contains("storage-config.yaml:4:10: error: storage.database.url: port"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    address("1");
    text(&workspace, 0, "config check");
    // What a server that cannot be reached says stands in a plan once.
    let told = text(&workspace, 1, "migrate database --dry-run");
    assert_eq!(told.matches("cannot be connected to").count(), 1, "{told}");
}

#[test]
fn a_marker_that_names_no_backend_is_told_once_and_fails_a_check() {
    let workspace = with_milestones();
    workspace.write("config/storage-backend.txt", "mysql\n");
    for (code, command) in [(1, "check"), (0, "status"), (1, "doctor")] {
        let told = text(&workspace, code, command);
        assert_eq!(told.matches("mysql").count(), 1, "{command}: {told}");
    }
    let told = text(&workspace, 0, "status");
    assert!(told.contains("milestones   last known: "), "{told}");
}

/// Gives a backup the name that it would have had in one second with all others.
fn begin_in_one_second(folder: &Path, name: &str) {
    let (_, ways) = name.split_at("migration-YYYYMMDD-HHMMSS".len());
    let plain = format!("migration-20260101-000000{ways}");
    let names = (1..).map(|number| if number == 1 { plain.clone() } else { format!("{plain}-{number}") });
    let free = names.into_iter().find(|name| !folder.join(name).exists()).unwrap();
    let metadata = folder.join(name).join("backup-metadata.yaml");
    let written = fs::metadata(&metadata).unwrap().modified().unwrap();
    fs::write(&metadata, fs::read_to_string(&metadata).unwrap().replace(name, &free)).unwrap();
    let file = fs::File::options().write(true).open(&metadata).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(written)).unwrap();
    fs::rename(folder.join(name), folder.join(free)).unwrap();
}

#[test]
fn backups_are_listed_as_they_were_taken_and_a_damaged_one_is_named() {
    let workspace = with_milestones();
    for way in ["database", "file", "hybrid", "database", "file"] {
        text(&workspace, 0, &format!("migrate {way} --yes"));
    }
    let folder = workspace.path("backups");
    for name in names(&folder) {
        begin_in_one_second(&folder, &name);
    }
    let words = ["sqlite", "file", "hybrid", "sqlite", "file"];
    let listed = text(&workspace, 0, "backups list");
    let to: Vec<&str> = listed.lines().filter_map(|line| line.split_once("-to-")).map(|(_, rest)| rest).collect();
    assert!(to.len() == words.len() && to.iter().zip(words).all(|(to, word)| to.starts_with(word)), "{listed}");
    assert!(text(&workspace, 0, "doctor").contains("5 backups are what was written"));
    let damaged = names(&folder).remove(0);
    fs::write(folder.join(&damaged).join("milestones.jsonl"), "{}\n").unwrap();
    let told = text(&workspace, 1, "doctor");
    assert!(told.contains(&format!("{damaged}/milestones.jsonl: it is not what was written")), "{told}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
