//! The milestone verbs, on every backend alike.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use milescale_testkit::{PASSWORD, Postgres, Said, Workspace};
use serde_json::Value;

use super::BINARY;

/// A workspace on a backend; the server behind it, where there is one.
pub(crate) struct Bench {
    pub(crate) workspace: Workspace,
    pub(crate) backend: &'static str,
    /// Kept running for as long as the bench is.
    pub(crate) server: Option<Postgres>,
}

pub(crate) fn benches() -> Vec<Bench> {
    let bench = |backend: &'static str, marker: &str| {
        let workspace = Workspace::empty(BINARY);
        workspace.write("config/storage-backend.txt", marker);
        Bench { workspace, backend, server: None }
    };
    let sqlite = bench("sqlite", "database");
    sqlite3(&sqlite.workspace, "enterprise.db", DOCUMENTS);
    let mut postgres = bench("postgresql", "database");
    let server = Postgres::start();
    server.psql("plans", "CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now()); ALTER TABLE milestones OWNER TO ada");
    postgres.workspace.write(
        "config/storage-config.yaml",
        format!("storage: {{database: {{type: postgresql, url: \"{}\"}}}}\n", server.tcp_url()),
    );
    postgres.server = Some(server);
    let benches = vec![bench("file", "file"), bench("hybrid", "hybrid"), sqlite, postgres];
    for bench in &benches {
        let said = bench.workspace.run(["init"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    benches
}

/// The table as an adapter makes it.
const DOCUMENTS: &str = "CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)";

pub(crate) fn sqlite3(workspace: &Workspace, file: &str, sql: &str) -> String {
    workspace.sqlite(file, sql)
}

pub(crate) fn put(workspace: &Workspace, arguments: &[&str], text: &str) -> Said {
    let mut command = workspace.command([&["milestone", "put"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

const TEXT: &str = "# a note\nid: a\ntitle: One   # kept\nstatus: active\ntasks: [{kiro_workflow: {enabled: true}}]\n";

#[test]
fn every_verb_does_the_same_on_every_backend() {
    for Bench { workspace, backend, .. } in &benches() {
        let said = put(workspace, &["a"], TEXT);
        assert_eq!(said.code, 0, "{backend}: {said:?}");
        let shown = workspace.run(["milestone", "show", "a"]);
        assert_eq!(shown.out, TEXT, "{backend}");
        let digest = workspace.run(["milestone", "show", "a", "--digest"]).out.trim().to_owned();
        assert!(shown.err.contains(&digest));

        let again = put(workspace, &["a"], "id: a\n");
        assert!(
            again.code == 1 && again.err.contains("there already") && again.err.contains("nothing was written"),
            "{again:?}"
        );
        let second = TEXT.replace("One", "Two");
        let written = put(workspace, &["a", "-", "--if-match", &digest, "--json"], &second);
        assert_eq!(written.json()["id"], "a", "{backend}: {written:?}");
        let stale = put(workspace, &["a", "--if-match", &digest], "id: a\n");
        assert!(stale.code == 1 && stale.err.contains("changed meanwhile"), "{backend}: {stale:?}");
        assert_eq!(workspace.run(["milestone", "show", "a"]).out, second);

        fs::write(workspace.root().join("b.json"), r#"{"title": "B", "status": "open", "note": "needle 🔄 in it"}"#)
            .unwrap();
        assert_eq!(workspace.run(["milestone", "put", "b", "b.json"]).code, 0);
        let shown = workspace.run(["milestone", "show", "b"]).out;
        assert_eq!(shown, "title: B\nstatus: open\nnote: \"needle 🔄 in it\"\n", "{backend}");

        let list = workspace.run(["milestone", "list", "--json"]).json();
        let ids = |list: &Value| {
            list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&list), ["a", "b"], "{backend}");
        assert_eq!((&list[0]["title"], &list[0]["priority"]), (&"Two".into(), &"medium".into()));
        assert_eq!(ids(&workspace.run(["milestone", "list", "--status", "open", "--json"]).json()), ["b"]);
        assert_eq!(ids(&workspace.run(["milestone", "search", "NEEDLE", "--json"]).json()), ["b"]);
        assert!(workspace.run(["milestone", "list"]).out.contains("a  active  medium"), "{backend}");

        let exported = workspace.run(["milestone", "export"]).out;
        let exported: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((exported.len(), &exported[0]["data"]["title"]), (2, &"Two".into()));
        assert_eq!(workspace.run(["milestone", "export", "--dir", "copy"]).code, 0);
        assert_eq!(fs::read_to_string(workspace.root().join("copy/a.yaml")).unwrap(), second, "{backend}");
        let over = workspace.run(["milestone", "export", "--dir", "copy"]);
        assert!(over.code == 1 && over.err.contains("nothing is overwritten"), "{over:?}");

        assert_eq!(workspace.run(["milestone", "archive", "a"]).code, 0);
        assert_eq!(ids(&workspace.run(["milestone", "list", "--json"]).json()), ["b"], "{backend}");
        let status = workspace.status();
        assert_eq!((&status["milestone_count"], &status["kiro_enabled_count"]), (&1.into(), &0.into()), "{backend}");
        let gone = workspace.run(["milestone", "show", "nowhere"]);
        assert!(gone.code == 1 && gone.err.contains("there is no milestone nowhere"), "{gone:?}");

        let log = workspace.read("logs/storage-events.jsonl");
        assert!(
            log.contains("\"milestone_id\":\"a\",\"user\":") && log.contains("\"operation\":\"read\",\"duration_ms\":"),
            "{log}"
        );
        assert!(log.contains("\"milestone_id\":\"system\"") && log.contains("\"success\":false"), "{log}");
        assert!(fs::read_dir(workspace.path("locks")).unwrap().next().is_none(), "locks are given back");
    }
}

#[test]
fn a_password_shows_nowhere() {
    let benches = benches();
    let Bench { workspace, .. } = &benches[3];
    let said: String =
        [&["status", "--json"][..], &["doctor"], &["check"], &["config", "show"], &["milestone", "list"]]
            .iter()
            .map(|arguments| format!("{:?}", workspace.run(*arguments)))
            .collect();
    let config = workspace.read("config/storage-config.yaml");
    workspace.write("config/storage-config.yaml", config.replace(PASSWORD, "wrong-Pa55"));
    let refused = workspace.run(["milestone", "list"]);
    assert!(refused.code == 1 && refused.err.contains("password authentication failed"), "{refused:?}");
    let written =
        [".milescale/status.json", ".milescale/state.json", "logs/scale-events.jsonl"].map(|path| workspace.read(path));
    for text in [said, format!("{refused:?}"), written.concat()] {
        assert!(!text.contains(PASSWORD) && !text.contains("wrong-Pa55"), "{text}");
    }
}

#[test]
fn the_users_of_the_verbs_are_the_people_that_the_figures_count() {
    let workspace = super::workspace();
    for user in ["ada", "lin", "ada"] {
        let mut command = workspace.command(["milestone", "list"]);
        assert!(command.env("MILESCALE_USER", user).output().unwrap().status.success());
    }
    assert_eq!(workspace.status()["concurrent_users"], 2);
}

#[test]
fn bad_input_is_named_and_writes_nothing() {
    let workspace = super::workspace();
    for (text, why) in [
        ("id: [\n", "line 1"),
        ("id: other\n", "line 1, column 5: its id: is not a"),
        ("- a\n", "it is a list"),
        ("", "it is empty"),
        ("a: 1\na: 2\n", "stands here a second time"),
        ("a: \"\\0\"\n", "NUL"),
        ("a: .inf\n", "JSON does not have"),
        ("a: !mine b\n", "the tag !mine"),
        ("base: &b {x: 1}\na:\n  <<: *b\n", "merge key"),
        ("{\"a\": \"\\ud800\"}", "lone surrogate"),
        ("{\"a\": 1, \"a\": 2}", "twice"),
    ] {
        let said = put(&workspace, &["a"], text);
        assert!(
            said.code == 1 && said.err.contains(why) && said.err.contains("nothing was written"),
            "{text}: {said:?}"
        );
    }
    for id in ["../x", "a/b", "", ".a", "a\u{1b}[2J", &"x".repeat(10_240)] {
        let said = put(&workspace, &[id], "a: 1\n");
        assert!(said.code == 2 && said.err.contains("is no id"), "{id}: {said:?}");
        assert!(!said.err.contains('\u{1b}'), "{said:?}");
    }
    let missing = workspace.run(["milestone", "put", "a", "nowhere.yaml"]);
    assert!(missing.code == 1 && missing.err.contains("nowhere.yaml"), "{missing:?}");
    assert!(fs::read_dir(workspace.path("active")).unwrap().next().is_none());
}

#[test]
fn nothing_is_written_where_the_marker_is_not_followed() {
    let workspace = super::workspace();
    workspace.milestones("m", 3);
    workspace.run(["check"]);
    sqlite3(&workspace, "enterprise.db", DOCUMENTS);
    workspace.write("config/storage-backend.txt", "database\n");
    workspace.age_marker(1);
    let said = put(&workspace, &["a"], "a: 1\n");
    assert!(
        said.code == 1 && said.err.contains("nothing was written") && said.err.contains("file is in use"),
        "{said:?}"
    );
    assert_eq!(workspace.run(["milestone", "list"]).out.lines().count(), 3, "reading goes on");
    workspace.run(["check"]);
    let event = &workspace.events_named("backend_changed")[0];
    assert_eq!(event["details"]["adopted"], false);
    assert!(
        event["details"]["reason"].as_str().unwrap().contains("3 of 3 milestones are not there (m-0, m-1, m-2)"),
        "{event}"
    );
    // Once they are there, it is followed, and written to.
    for id in ["m-0", "m-1", "m-2"] {
        sqlite3(&workspace, "enterprise.db", &format!("INSERT INTO milestones VALUES ('{id}', '{{}}', 'x', 'x')"));
    }
    workspace.run(["check"]);
    assert_eq!(workspace.events_named("backend_changed")[1]["details"]["adopted"], true);
    assert_eq!(put(&workspace, &["a"], "a: 1\n").code, 0);
    assert_eq!(workspace.status()["milestone_count"], 4);
    assert!(!workspace.path("active/a.yaml").exists());
}

#[test]
fn a_lock_is_respected_unless_it_is_left_over() {
    let workspace = super::workspace();
    // Made now, by a process that is alive.
    workspace.write("locks/a.lock/pid", format!("{}\n", std::process::id()));
    let said = put(&workspace, &["a"], "a: 1\n");
    assert!(said.code == 1 && said.err.contains(&format!("process {} is writing", std::process::id())), "{said:?}");
    // No process has this number.
    workspace.write("locks/a.lock/timestamp", "2020-01-01T00:00:00Z\n");
    workspace.write("locks/a.lock/pid", "4194304\n");
    assert_eq!(put(&workspace, &["a"], "a: 1\n").code, 0);
    assert!(!workspace.path("locks/a.lock").exists());
}

/// A folder that is gone, as where it was not mounted, is no empty one: nothing is written there as if it were.
#[test]
fn a_folder_that_held_milestones_and_is_gone_is_not_made_anew() {
    let workspace = super::workspace();
    assert_eq!(put(&workspace, &["a"], "title: a\n").code, 0);
    assert_eq!(workspace.run(["check"]).code, 0);
    std::fs::rename(workspace.path("active"), workspace.path("elsewhere")).unwrap();
    let list = workspace.run(["milestone", "list"]);
    for said in [list, put(&workspace, &["b"], "title: b\n")] {
        assert!(said.code == 1 && said.err.contains("the folder is gone"), "{said:?}");
    }
    assert!(!workspace.path("active").exists());
    std::fs::create_dir(workspace.path("active")).unwrap();
    assert_eq!(put(&workspace, &["b"], "title: b\n").code, 0);
}

/// Another program's `UPDATE` hides the comments of what was put: the text goes to what is kept before the row is written anew.
#[test]
fn comments_that_another_program_has_hidden_are_kept() {
    let commented = "title: one # mine\nstatus: active\n";
    for Bench { workspace, backend, server } in benches().into_iter().filter(|bench| bench.backend.contains("sql")) {
        let sql = |statement: &str| match &server {
            Some(server) => server.psql("plans", statement),
            None => sqlite3(&workspace, "enterprise.db", statement),
        };
        for id in ["a", "b", "c"] {
            assert_eq!(put(&workspace, &[id], commented).code, 0);
        }
        sql("UPDATE milestones SET data = '{\"title\":\"theirs\"}' WHERE id IN ('a', 'b')");
        sql("DELETE FROM milestones WHERE id = 'c'");
        let digest = workspace.run(["milestone", "show", "a", "--digest"]).out;
        assert_eq!(put(&workspace, &["a", "--if-match", digest.trim()], "title: later\n").code, 0);
        assert_eq!(workspace.run(["milestone", "archive", "b"]).code, 0);
        assert_eq!(put(&workspace, &["c"], "title: new\n").code, 0);
        let text = if server.is_some() { "convert_from(text, 'UTF8')" } else { "CAST(text AS TEXT)" };
        let kept = |id: &str| sql(&format!("SELECT {text} FROM milescale_displaced WHERE id = '{id}' ORDER BY number"));
        for id in ["a", "b", "c"] {
            assert_eq!(kept(id).matches("# mine").count(), 1, "{backend} {id}: {}", kept(id));
        }
        assert!(kept("a").contains("theirs"), "{backend}");
    }
}
