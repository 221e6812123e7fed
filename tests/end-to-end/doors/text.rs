//! Text: control characters and those that turn the direction of text reach no terminal, whatever they stand in.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use milescale_testkit::Workspace;

use super::{bounded, door};
use crate::workspace;

/// What does something to a terminal: ESC, BEL, DEL, a C1 character, one that turns the direction, and a carriage return.
const ODD: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\r";

/// The commands that print what others have written.
const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["status", "--json"],
    &["doctor"],
    &["dashboard"],
    &["check"],
    &["events"],
    &["events", "--json"],
    &["milestone", "list"],
    &["milestone", "list", "--json"],
    &["milestone", "search", "t"],
    &["milestone", "show", "m-0"],
    &["milestone", "show", "m-0", "--json"],
    &["milestone", "export"],
    &["conflicts"],
    &["conflicts", "list", "--json"],
    &["backups", "list"],
    &["backups", "list", "--json"],
    &["config", "check"],
    &["config", "show"],
    &["config", "show", "--json"],
    &["migrate", "hybrid", "--dry-run"],
    &["migrate", "database", "--engine", "postgresql", "--dry-run"],
    &["import"],
    &["trust", "--list"],
];

fn raw(text: &str) -> Option<char> {
    let is_harmful = |character: &char| {
        (character.is_control() && *character != '\n')
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().find(is_harmful)
}

/// Runs all commands. The whole text of a milestone is what `show` prints, as it is: that is a document, not a message.
fn none_is_raw(workspace: &Workspace, what: &str) {
    for arguments in COMMANDS {
        let said = bounded(workspace, arguments);
        let is_document = arguments[..] == ["milestone", "show", "m-0"] && !said.out.is_empty();
        let out = if is_document { None } else { raw(&said.out) };
        assert_eq!(out.or(raw(&said.err)), None, "{what}: {arguments:?}: {said:?}");
    }
}

#[test]
fn d17_escapes_in_every_field_of_every_source_are_shown_as_escapes() {
    let quoted = serde_json::to_string(ODD).unwrap();
    // Fields of a milestone, and its name.
    let workspace = workspace();
    workspace.write(
        "active/m-0.yaml",
        format!("id: {quoted}\ntitle: {quoted}\nstatus: {quoted}\npriority: {quoted}\ncreated_at: {quoted}\n{quoted}: {quoted}\n"),
    );
    let name = ODD.replace('/', "");
    workspace.write(format!("active/{name}.yaml"), "title: t\n");
    workspace.write(format!("active/{name}.yml"), "title: t\n");
    workspace.write("active/bad.yaml", format!("a: [{ODD}\n"));
    workspace.write("completed/m-9.yaml", format!("id: m-9\ntitle: {quoted}\nstatus: archived\n"));
    none_is_raw(&workspace, "fields of files");
    assert_eq!(bounded(&workspace, &["migrate", "hybrid", "--yes"]).code, 0);
    none_is_raw(&workspace, "an index");
    // Events, configuration, marker, state, notification, backups, conflicts.
    let workspace = self::workspace();
    workspace.milestones("m", 2);
    for (file, text) in [
        ("config/storage-config.yaml", format!("storage:\n  backend: {quoted}\n  {quoted}: {quoted}\n")),
        ("config/storage-backend.txt", ODD.to_owned()),
        (".milescale/state.json", format!("{{\"x\":{quoted}")),
        (".milescale/migration.json", format!("{{\"version\":1,\"{ODD}\":")),
        (".milescale/held.json", format!("{{\"sqlite\":{{{quoted}:1}}}}")),
        (
            ".milescale/sweeps.json",
            format!("{{\"version\":1,\"sides\":{{\"sqlite\":{{\"failing\":{{{quoted}:{{}}}}}}}}}}"),
        ),
        (".milescale/identity", quoted.clone()),
        ("backups/migration-20260101-000000-a-to-b/backup-metadata.yaml", format!("id: {quoted}\nsource: {quoted}\n")),
        ("logs/storage-events.jsonl", format!("{{\"timestamp\":{quoted},\"user\":{quoted}}}\n{ODD}\n")),
        (
            "logs/scale-events.jsonl",
            format!(
                "{{\"timestamp\":\"2026-01-01T00:00:00Z\",\"event\":{quoted},\"details\":{{{quoted}:{quoted}}}}}\n"
            ),
        ),
        (".milescale/conflicts/20260101T000000Z-0123456789abcdef-file-0.x.yaml", "title: t\n".to_owned()),
        (
            ".milescale/conflicts/20260101T000000Z-0123456789abcdef-file-0.x.yaml.json",
            format!(
                "{{\"id\":{quoted},\"at\":{quoted},\"side\":null,\"place\":{quoted},\"reason\":{quoted},\"current\":null,\"backup\":{quoted}}}"
            ),
        ),
    ] {
        let before = std::fs::read(workspace.path(file)).ok();
        workspace.write(file, text);
        none_is_raw(&workspace, file);
        match before {
            Some(before) => workspace.write(file, before),
            None => std::fs::remove_file(workspace.path(file)).unwrap_or_default(),
        }
    }
    door("D17", "ESC, BEL, DEL, C1, a turn of direction, CR in each field of each file, each command", "0 raw");
}

#[test]
fn d17_escapes_in_rows_and_in_errors_of_a_server_are_shown_as_escapes() {
    let workspace = workspace();
    workspace.milestones("m", 1);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    let hexadecimal: String = ODD.bytes().map(|byte| format!("{byte:02x}")).collect();
    let odd = format!("CAST(x'{hexadecimal}' AS TEXT)");
    let statements = format!(
        "INSERT INTO milestones VALUES ({odd}, json_object('title', {odd}, 'status', {odd}), {odd}, {odd}); \
         INSERT INTO milestones VALUES ('m-9', {odd}, {odd}, {odd}); UPDATE milestones SET data = json_object('title', {odd}) WHERE id = 'm-0'; \
         CREATE TRIGGER t BEFORE INSERT ON milestones WHEN new.id = 'm-new' BEGIN SELECT RAISE(ABORT, '{ODD}'); END"
    );
    workspace.sqlite("enterprise.db", statements);
    none_is_raw(&workspace, "rows");
    let said = bounded(&workspace, &["milestone", "put", "m-new"]);
    assert!(said.code == 1 && raw(&said.err).is_none(), "{said:?}");
    let port = errs();
    let workspace = self::workspace();
    workspace.milestones("m", 1);
    let url = format!("postgresql://u@127.0.0.1:{port}/d?sslmode=disable");
    workspace
        .write("config/storage-config.yaml", format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n"));
    let said = bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
    assert!(said.err.contains("\\u{1b}") && raw(&said.err).is_none(), "{said:?}");
    none_is_raw(&workspace, "errors of a server");
    door("D17", "the same in rows, triggers and errors of a server", "0 raw");
}

#[test]
fn documents_and_arguments_are_harmless_on_a_terminal() {
    let workspace = workspace();
    let name = "20260101T000000Z-0123456789abcdef-file-0.x.yaml";
    workspace.write(format!(".milescale/conflicts/{name}"), format!("title: {ODD}\n"));
    for arguments in [format!("conflicts show {name}"), "milestone show \"$ODD\"".to_owned()] {
        let output = Command::new("script")
            .args(["-qec", &format!("\"$BINARY\" {arguments}"), "/dev/null"])
            .env("BINARY", crate::BINARY)
            .env("ODD", ODD)
            .current_dir(workspace.root())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
        assert!(said.contains("\\u{1b}") && raw(&said).is_none(), "{arguments}: {said:?}");
    }
    door("D17", "a conflict's text, and a wrong argument, on a terminal", "0 raw");
}

/// A server that errs with escapes.
fn errs() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = format!("SFATAL\0C3D000\0M{ODD}\0\0");
            let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
            let _ = stream.write_all(&[&b"E"[..], &length, body.as_bytes()].concat());
        }
    });
    port
}
