//! The daemon on hybrid and on databases.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use milescale_testkit::{Postgres, Workspace, until};

use super::BINARY;

const NEVER: [&str; 2] = ["--interval", "86400"];

fn sqlite3(workspace: &Workspace, file: &str, sql: &str) -> String {
    workspace.sqlite(file, sql)
}

/// An initialised workspace whose marker says this.
fn marked(marker: &str, before: impl FnOnce(&Workspace)) -> Workspace {
    let workspace = Workspace::empty(BINARY);
    workspace.write("config/storage-backend.txt", marker);
    before(&workspace);
    let said = workspace.run(["init"]);
    assert_eq!(said.code, 0, "{said:?}");
    workspace
}

fn documents(workspace: &Workspace) {
    sqlite3(
        workspace,
        "enterprise.db",
        "CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)",
    );
}

#[test]
fn follows_the_rows_of_a_database_within_a_second() {
    let workspace = marked("database", documents);
    let daemon = workspace.daemon(NEVER);
    let shell = |sql: &str| sqlite3(&workspace, "enterprise.db", sql);
    shell("INSERT INTO milestones VALUES ('a', '{\"tasks\":[{\"kiro_workflow\":{\"enabled\":true}}]}', 'x', 'x')");
    let mut slowest = daemon.until("milestone_count", 1);
    shell("INSERT OR REPLACE INTO milestones VALUES ('b', '{\"dependencies\":{\"requires\":[\"a\"]}}', 'x', 'x')");
    slowest = slowest.max(daemon.until("dependency_count", 1));
    shell("UPDATE milestones SET data = '{\"status\":\"archived\"}' WHERE id = 'a'");
    slowest = slowest.max(daemon.until("kiro_enabled_count", 0));
    daemon.until("milestone_count", 1);
    shell("DELETE FROM milestones");
    slowest = slowest.max(daemon.until("milestone_count", 0));
    println!("slowest change to show: {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(daemon.published()["current_backend"], "database");
    assert_eq!(
        shell("SELECT group_concat(name) FROM pragma_table_info('milestones')"),
        "id,data,created_at,updated_at"
    );
    let (code, log) = daemon.stop();
    assert_eq!(code, 0, "{log}");
}

#[test]
fn a_database_that_cannot_be_read_leaves_the_last_figures_and_recovers() {
    let workspace = marked("database", documents);
    sqlite3(
        &workspace,
        "enterprise.db",
        "INSERT INTO milestones VALUES ('a', '{}', 'x', 'x'), ('bad', 'no json', 'x', 'x')",
    );
    let daemon = workspace.daemon(NEVER);
    daemon.until("milestone_count", 2);
    let event = workspace.until_event("milestones_unparsable", 1);
    assert_eq!(event["details"]["milestones"][0]["path"], ".milestones/enterprise.db, row \"bad\"", "{event}");
    let path = workspace.path("enterprise.db");
    fs::rename(&path, workspace.path("away")).unwrap();
    let event = workspace.until_event("source_unavailable", 1);
    assert_eq!(event["details"]["source"], ".milestones/enterprise.db", "{event}");
    daemon.until("stale", true);
    assert_eq!(daemon.published()["milestone_count"], 2, "never zero");
    // What `sqlite3` makes when it only reads is no database either.
    sqlite3(&workspace, "enterprise.db", "SELECT 1");
    assert_eq!(daemon.published()["milestone_count"], 2);
    fs::rename(workspace.path("away"), &path).unwrap();
    workspace.until_event("source_recovered", 1);
    daemon.until("stale", false);
    assert_eq!(workspace.status()["milestone_count"], 2);
}

#[test]
fn follows_a_server_and_says_when_it_is_gone() {
    let mut server = Postgres::start();
    server.psql("plans", "CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now()); ALTER TABLE milestones OWNER TO ada; INSERT INTO milestones (id, data) VALUES ('a', '{}')");
    let config = format!(
        "storage: {{database: {{type: postgresql, url: \"{}\"}}, performance: {{query_timeout: 2}}}}\n",
        server.tcp_url()
    );
    let workspace = marked("database", |workspace| workspace.write("config/storage-config.yaml", config));
    let daemon = workspace.daemon(["--interval", "0.3"]);
    daemon.until("milestone_count", 1);
    server.psql("plans", "INSERT INTO milestones (id, data) VALUES ('b', '{\"dependencies\":{\"requires\":\"a\"}}')");
    daemon.until("dependency_count", 1);
    server.crash();
    let event = workspace.until_event("source_unavailable", 1);
    let source = event["details"]["source"].as_str().unwrap();
    assert!(source.starts_with("postgresql://ada@127.0.0.1:") && source.ends_with("/plans"), "{event}");
    daemon.until("stale", true);
    assert_eq!(daemon.published()["milestone_count"], 2);
    // A metrics entry of a cycle without the server has the last figures.
    let entries = workspace.read("logs/performance-metrics.jsonl").lines().count();
    until("a cycle without the server", || {
        (workspace.read("logs/performance-metrics.jsonl").lines().count() > entries + 1).then_some(())
    });
    assert!(workspace.read("logs/performance-metrics.jsonl").lines().last().unwrap().contains("\"milestone_count\":2"));
    server.start_again();
    workspace.until_event("source_recovered", 1);
    daemon.until("stale", false);
    let other_url = server.url();
    // A command whose environment names another database writes nothing.
    let draft = workspace.root().join("draft.yaml");
    std::fs::write(&draft, "title: c\n").unwrap();
    let mut put = workspace.command(["milestone", "put", "c", draft.to_str().unwrap()]);
    let other = put.env("DATABASE_URL", other_url).output().unwrap();
    let said = String::from_utf8(other.stderr).unwrap();
    assert!(
        other.status.code() == Some(1)
            && said.contains("the running daemon keeps the milestones in postgresql://ada@127.0.0.1"),
        "{said}"
    );
    let (code, log) = daemon.stop();
    assert_eq!(code, 0, "{log}");
}

#[test]
fn beside_a_server_that_answers_nothing_the_rest_shows_within_a_second() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://ada@{}/plans", silent.local_addr().unwrap());
    let config = format!("storage: {{database: {{type: postgresql, url: \"{url}\"}}}}\n");
    let workspace = Workspace::empty(BINARY);
    workspace.write("config/storage-backend.txt", "database");
    workspace.write("config/storage-config.yaml", config);
    workspace.write("logs/storage-events.jsonl", "");
    let daemon = workspace.daemon(NEVER);
    daemon.until("stale", true);
    let mut slowest = Duration::ZERO;
    for (number, user) in ["ada", "lin", "kim"].iter().enumerate() {
        let line = format!("{{\"timestamp\":\"2999-01-01T00:00:00Z\",\"user\":\"{user}\"}}\n");
        workspace.append("logs/storage-events.jsonl", line);
        slowest = slowest.max(daemon.until("concurrent_users", number as u64 + 1));
    }
    println!("slowest change to show: {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let published = daemon.published();
    assert!(published["milestone_count"].is_null() && published["stale"] == true, "{published}");
    assert_eq!(workspace.events_named("source_unavailable").len(), 1, "said once");
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn columns_are_added_to_a_table_of_other_programs_only_at_a_persons_word() {
    let server = Postgres::start();
    server.psql("plans", "CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now()); ALTER TABLE milestones OWNER TO ada; INSERT INTO milestones (id, data) VALUES ('a', '{\"dependencies\":{\"requires\":[\"x\"]}}')");
    let config = format!("storage: {{database: {{type: postgresql, url: \"{}\"}}}}\n", server.url());
    let workspace = marked("database", |workspace| workspace.write("config/storage-config.yaml", config));
    let columns = || {
        server.psql("plans", "SELECT count(*) FROM pg_attribute WHERE attrelid = 'milestones'::regclass AND attnum > 0")
    };
    workspace.run(["check"]);
    assert_eq!(columns(), "4");
    assert!(workspace.run(["doctor"]).out.contains("milescale doctor --fix"));
    let asked = workspace.run(["doctor", "--fix"]);
    assert!(asked.code == 2 && asked.err.contains("say --yes"), "{asked:?}");
    assert_eq!(columns(), "4");
    let said = workspace.run(["doctor", "--fix", "--yes"]);
    assert!(!said.out.contains("lacks generated columns"), "{said:?}");
    assert_eq!(columns(), "7");
    server.psql("plans", "INSERT INTO milestones VALUES ('b', '[]')");
    let status = workspace.status();
    assert_eq!((&status["milestone_count"], &status["dependency_count"]), (&2.into(), &1.into()));
    assert!(workspace.run(["doctor", "--fix", "--yes"]).err.contains("nothing here that doctor can do"));
}

#[test]
fn the_index_of_hybrid_is_mended_and_that_is_said_before() {
    let workspace = marked("hybrid", |workspace| workspace.write("active/a.yaml", "id: a\ntitle: A\n"));
    let mut put = workspace.command(["milestone", "put", "b", "-"]);
    let mut child = put.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"id: b\ntitle: B\n").unwrap();
    assert!(child.wait().unwrap().success());
    sqlite3(&workspace, "index.db", "UPDATE milestones SET title = 'only in the index' WHERE id = 'b'");
    workspace.write("active/n.yaml", "title: N\n");
    let daemon = workspace.daemon(NEVER);
    assert_eq!(daemon.published()["milestone_count"], 2, "rows count");
    // Each is as old as the last change of its file or the index: they may be told one after the other.
    let mended = until("both differences", || {
        let events = workspace.events_named("index_mended");
        let told = |event: &serde_json::Value| event["details"]["milestones"].as_array().cloned().unwrap_or_default();
        let told: Vec<serde_json::Value> = events.iter().flat_map(told).collect();
        (told.len() == 2).then_some(told)
    });
    assert_eq!(mended[0]["overwritten"][0], serde_json::json!(["title", "only in the index", "B"]), "{mended:?}");
    assert_eq!(mended[1]["mended"], "added", "{mended:?}");
    daemon.until("milestone_count", 3);
    let titles = || sqlite3(&workspace, "index.db", "SELECT id, title FROM milestones ORDER BY id");
    until("the index is mended", || (titles() == "a|A\nb|B\nn|N").then_some(()));
    fs::remove_file(workspace.path("active/a.yaml")).unwrap();
    workspace.write("active/c.yaml", "title: C\n");
    until("the index follows the files", || (titles() == "b|B\nc|C\nn|N").then_some(()));
    daemon.until("milestone_count", 3);
    let (code, log) = daemon.stop();
    assert!(code == 0 && !log.contains("ERROR"), "{log}");
}

#[test]
fn a_marker_is_followed_once_the_store_that_it_names_holds_everything() {
    let workspace = marked("file", |workspace| workspace.milestones("m", 3));
    let daemon = workspace.daemon(NEVER);
    daemon.until("milestone_count", 3);
    documents(&workspace);
    sqlite3(
        &workspace,
        "enterprise.db",
        "INSERT INTO milestones VALUES ('m-0', '{}', 'x', 'x'), ('m-1', '{}', 'x', 'x')",
    );
    workspace.write("config/storage-backend.txt", "database\n");
    let event = workspace.until_event("backend_changed", 1);
    assert_eq!(event["details"]["adopted"], false);
    assert!(event["details"]["reason"].as_str().unwrap().contains("1 of 3 milestones are not there (m-2)"), "{event}");
    // The files go before the last milestone has come: they are remembered, across a restart too.
    fs::remove_dir_all(workspace.path("active")).unwrap();
    assert_eq!(daemon.stop().0, 0);
    let daemon = workspace.daemon(NEVER);
    daemon.until("current_backend", "file");
    assert_eq!(daemon.published()["stale"], true);
    sqlite3(
        &workspace,
        "enterprise.db",
        "INSERT INTO milestones VALUES ('m-2', '{}', 'x', 'x'), ('m-3', '{}', 'x', 'x')",
    );
    // Their contents cannot be compared any more, so that only a person can say it.
    let said = workspace.run(["doctor", "--fix", "--yes"]);
    assert!(
        said.out.contains(
            "database on sqlite is in use from now on; no id is missing of those that it held when it was read last"
        ),
        "{said:?}"
    );
    let event = workspace.until_event("backend_changed", 2);
    assert_eq!(event["details"]["adopted"], true);
    daemon.until("current_backend", "database");
    daemon.until("milestone_count", 4);
    daemon.until("stale", false);
}

/// What the command that is at work does need change nothing that is watched.
#[test]
fn a_store_that_could_not_be_proven_beside_another_command_is_looked_at_again() {
    let workspace = marked("file", |workspace| workspace.milestones("m", 3));
    let daemon = workspace.daemon(NEVER);
    documents(&workspace);
    workspace.write("config/storage-backend.txt", "database\n");
    workspace.until_event("backend_changed", 1);
    let mut command = Command::new("flock");
    command.arg(workspace.path(".milescale/migration.lock")).arg("cat");
    let mut command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut goes_on, mut locked) = (command.stdin.take().unwrap(), [0; 1]);
    goes_on.write_all(b"x").unwrap();
    command.stdout.as_mut().unwrap().read_exact(&mut locked).unwrap();
    let rows: Vec<String> = (0..3).map(|number| format!("('m-{number}', '{{}}', 'x', 'x')")).collect();
    sqlite3(&workspace, "enterprise.db", &format!("INSERT INTO milestones VALUES {}", rows.join(", ")));
    until("it is held up", || daemon.published().to_string().contains("another command is at work").then_some(()));
    drop(goes_on);
    assert!(command.wait().unwrap().success());
    daemon.until("current_backend", "database");
    daemon.until("stale", false);
}
