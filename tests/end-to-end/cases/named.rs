//! What is odd is named, and where it is: names and ids that no store can keep, links to nowhere, contents that were replaced.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use milescale_testkit::{Postgres, Workspace};

/// Three milestones, moved to SQLite and, where that is asked for, back.
fn moved(moves: &[&str]) -> Workspace {
    let workspace = crate::workspace();
    workspace.milestones("m", 3);
    for to in moves {
        let said = workspace.run(["migrate", to, "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    workspace
}

fn sql(workspace: &Workspace, statement: &str) -> String {
    workspace.sqlite("enterprise.db", statement)
}

/// Whether `status`, `doctor` and one event of this name, and only one after two checks, say a text.
fn is_said_once(workspace: &Workspace, text: &str) -> bool {
    for _ in 0..2 {
        workspace.run(["check"]);
    }
    let events = workspace.events_named("changes_reported");
    let count = events.iter().filter(|event| event["details"].to_string().contains(text)).count();
    count == 1 && ["status", "doctor"].iter().all(|verb| workspace.run([*verb]).out.contains(text))
}

#[test]
fn h07_the_longest_ids_move_there_and_back() {
    let workspace = crate::workspace();
    let ids = ["x".repeat(200), "ü".repeat(100)];
    let title = |text: &str, id: &str| format!("id: \"{id}\"\ntitle: {text}\nstatus: active\n");
    for id in &ids {
        workspace.write(format!("active/{id}.yaml"), title("one", id));
    }
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    for id in &ids {
        sql(&workspace, &format!("UPDATE milestones SET data = json_set(data, '$.title', 'two') WHERE id = '{id}'"));
    }
    let said = workspace.run(["rollback", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    for id in &ids {
        assert!(workspace.read(format!("active/{id}.yaml")).contains("title: two"), "{id}");
        let said = workspace.run(["milestone", "archive", id]);
        assert_eq!(said.code, 0, "{said:?}");
    }
}

#[test]
fn h09_an_id_that_is_archived_twice_is_exported_twice() {
    let workspace = crate::workspace();
    let files =
        ["active/a.yaml", "completed/a.yaml", "completed/2024/a.yaml", "completed/2025/a.yaml", "completed/z.yaml"];
    for file in files {
        workspace.write(file, format!("title: {file}\n"));
    }
    let out = workspace.root().join("out");
    let said = workspace.run([OsStr::new("milestone"), OsStr::new("export"), OsStr::new("--dir"), out.as_os_str()]);
    assert_eq!(said.code, 0, "{said:?}");
    for file in files {
        let to = if file == "completed/z.yaml" { "z.yaml" } else { file.trim_start_matches("active/") };
        assert_eq!(fs::read_to_string(out.join(to)).unwrap(), format!("title: {file}\n"), "{to}");
    }
}

#[test]
fn h11_rows_without_a_text_id_of_an_old_database_are_named() {
    let workspace = moved(&["database", "file"]);
    sql(&workspace, "INSERT INTO milestones(id, data) VALUES (x'6162', '{}'), (NULL, '{}')");
    assert!(is_said_once(&workspace, "2 rows have no id that is a text of at most 1024 bytes (rowid "));
    assert_eq!(workspace.status()["migration"]["failing"], 1);
    sql(&workspace, "DELETE FROM milestones WHERE typeof(id) <> 'text'");
    workspace.run(["check"]);
    assert_eq!(workspace.status()["migration"]["failing"], 0, "what is mended is not said any more");
}

#[test]
fn h11_rows_without_an_id_of_an_old_server_are_named() {
    let server = Postgres::start();
    let workspace = crate::workspace();
    workspace.milestones("m", 3);
    let text = format!("storage:\n  database:\n    type: postgresql\n    url: \"{}\"\n", server.url());
    workspace.write("config/storage-config.yaml", text);
    server.psql(
        "plans",
        "CREATE TABLE milestones(id text UNIQUE, data jsonb, created_at timestamp, updated_at timestamp);
         ALTER TABLE milestones OWNER TO ada",
    );
    for to in ["database", "file"] {
        let said = workspace.run(["migrate", to, "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let insert = "INSERT INTO milestones(id, data) VALUES (NULL, '{}')";
    server.psql("plans", insert);
    assert!(is_said_once(&workspace, "1 rows have no id; "));
    server.psql("plans", "UPDATE milestones SET data = '{\"title\": \"late\"}' WHERE id = 'm-1'");
    workspace.run(["check"]);
    assert!(workspace.read("active/m-1.yaml").contains("late"), "all others are swept");
    // Where it is in use, none is left behind in silence.
    server.psql("plans", "DELETE FROM milestones WHERE id IS NULL");
    workspace.run(["check"]);
    let said = workspace.run(["migrate", "database", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    server.psql("plans", insert);
    let plan = workspace.run(["migrate", "file", "--dry-run"]);
    assert!(plan.code == 1 && plan.out.contains("1 rows have no id"), "{plan:?}");
    for verb in [&["list"][..], &["search", "m"]] {
        let said = workspace.run([&["milestone"], verb].concat());
        assert!(said.code == 0 && said.out.lines().count() == 3, "{said:?}");
    }
}

#[test]
fn h12_what_others_wrote_neither_paints_nor_forges_lines() {
    let workspace = moved(&["database", "file"]);
    let forged = "char(27) || '[31m' || char(10) || 'daemon       runs' || char(0x202e)";
    sql(&workspace, &format!("INSERT INTO milestones(id, data) VALUES ('e' || {forged}, '{{}}')"));
    workspace.write("active/c\u{1b}[2J\u{202e}.yml", "title: c\n");
    for verb in
        [&["check"][..], &["status"], &["doctor"], &["events"], &["conflicts"], &["migrate", "database", "--dry-run"]]
    {
        for arguments in [verb, &[verb, &["--json"][..]].concat()] {
            let said = workspace.run(arguments);
            let is_harmful = |text: &str| text.contains(['\u{1b}', '\u{202e}']) || text.contains("\ndaemon       runs");
            assert!(!is_harmful(&said.out) && !is_harmful(&said.err), "{arguments:?}: {said:?}");
        }
    }
    let said = workspace.run(["status"]).out;
    assert!(said.contains("e\\u{1b}[31m\\ndaemon       runs\\u{202e} of sqlite cannot be brought over"), "{said}");
}

#[test]
fn h13_names_that_look_meant_are_named_by_doctor_and_plan() {
    let workspace = crate::workspace();
    let names: [&[u8]; 4] = [b"c.YAML", b"e.yml", b"sub/f.yml", b"x\xff.yaml"];
    for name in names {
        workspace.write(std::path::Path::new("active").join(OsStr::from_bytes(name)), "title: T\n");
    }
    let (doctor, plan) = (workspace.run(["doctor"]), workspace.run(["migrate", "database", "--dry-run"]));
    for said in [doctor.out, plan.out] {
        for name in [
            "c.YAML: it does not",
            "e.yml: it does not",
            "sub/f.yml: it does not",
            "x\u{fffd}.yaml: its name is not UTF-8",
        ] {
            assert!(said.contains(name), "{name}: {said}");
        }
    }
}

#[test]
fn h16_resolving_names_the_place_where_the_other_content_is() {
    let workspace = moved(&["database"]);
    sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"of the row\"}' WHERE id = 'm-1'");
    workspace.save("active/m-1.yaml", "title: of the file\n");
    workspace.run(["check"]);
    let found = workspace.run(["conflicts", "list", "--json"]).json();
    let name = found[0]["name"].as_str().unwrap();
    let said = workspace.run(["conflicts", "resolve", name, "--take-kept"]);
    let place = "kept in the table milescale_displaced of .milestones/enterprise.db for 30 days";
    assert!(said.code == 0 && said.out.contains(place), "{said:?}");
    let kept = sql(&workspace, "SELECT CAST(text AS TEXT) FROM milescale_displaced WHERE id = 'm-1'");
    assert!(kept.contains("of the row"), "{kept}");
}

#[test]
fn h17_a_configuration_that_is_a_link_to_nowhere_is_named_and_not_valid() {
    let workspace = moved(&[]);
    let path = workspace.path("config/storage-config.yaml");
    fs::remove_file(&path).unwrap();
    for (target, why) in
        [("nowhere", "there is nothing there"), ("storage-config.yaml", "Too many levels of symbolic links")]
    {
        std::os::unix::fs::symlink(target, &path).unwrap();
        let named = format!("config/storage-config.yaml is a symlink to {target}, and is not followed; ");
        for verb in [&["config", "check"][..], &["status"], &["doctor"]] {
            let said = workspace.run(verb.iter());
            assert!(said.out.contains(&named) && said.out.contains("--link config/storage-config.yaml"), "{said:?}");
        }
        assert_eq!(workspace.run(["trust", "--link", "config/storage-config.yaml"]).code, 0);
        // As it is resolved, beneath `.milestones/`.
        let named = format!("it is a symlink to config/{target}, and ");
        let said = workspace.run(["config", "check"]);
        assert!(said.code == 2 && said.out.contains(&named) && said.out.contains(why), "{said:?}");
        assert!(["status", "doctor"].iter().all(|verb| workspace.run([*verb]).out.contains(&named)));
        let said = workspace.run(["migrate", "database", "--yes"]);
        assert!(said.code != 0 && said.err.contains(&named), "{said:?}");
        // A link that stays inside is trusted by its name, wherever it leads.
        assert_eq!(workspace.run(["trust", "--link", "config/storage-config.yaml", "--remove"]).code, 0);
        fs::remove_file(&path).unwrap();
    }
    fs::create_dir(&path).unwrap();
    let said = workspace.run(["config", "check"]);
    assert!(said.code == 2 && said.out.contains("cannot be read"), "{said:?}");
    assert_eq!(workspace.read("config/storage-backend.txt").trim(), "file");
}

#[test]
fn a_strict_check_of_the_configuration_fails_on_unknown_keys() {
    let workspace = moved(&[]);
    workspace.write("config/storage-config.yaml", "storage:\n  backnd: auto\n");
    assert_eq!(workspace.run(["config", "check"]).code, 0);
    let said = workspace.run(["config", "check", "--strict"]);
    assert!(said.code == 2 && said.out.contains("backnd"), "{said:?}");
}
