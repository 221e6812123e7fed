//! Digits that a person wrote, on their way through every store.

use milescale_testkit::Postgres;
use serde_json::json;

use super::{MOVES, exported, migrate, pyyaml, sqlite3, with_server, workspace};

/// Texts that some reader takes for a number, as people write them.
const TEXTS: [&str; 24] = [
    "007",
    "0755",
    "+49",
    "+4912345",
    "0x1F",
    "0o17",
    "0b1",
    ".5",
    "-.5",
    "1.",
    "1_000",
    "0-3",
    "00-100",
    "0-1.5",
    "0-0",
    "1:30",
    "190:20:30",
    "00",
    "-01",
    "1e",
    "e3",
    "1.2.3",
    "2026-11-28",
    "0x",
];

/// Numbers, in spellings of JSON.
const NUMBERS: [&str; 10] =
    ["0", "-0", "7", "-7", "1.50", "1e3", "-1.25E-7", "12345678901234567890123", "1.0", "100000000000000000000e-2"];

/// A document with all of them.
fn document(id: &str) -> String {
    let list = |of: &[&str]| of.iter().map(|it| format!("  - {it}  # as it was written\n")).collect::<String>();
    format!("id: {id}\ntitle: {id}\nstatus: 0x2\npriority: +1\ntexts:\n{}numbers:\n{}", list(&TEXTS), list(&NUMBERS))
}

#[test]
fn l01_l02_digits_are_the_same_on_every_backend_and_in_every_answer() {
    let server = Postgres::start();
    let workspace = with_server(&server);
    workspace.write("active/007.yaml", document("007"));
    workspace.write("active/0-3.yaml", format!("{}dependencies: {{requires: [001, 002, 0-3]}}\n", document("0-3")));
    workspace.run(["check"]);
    let show = |id: &str| workspace.run(["milestone", "show", id]).out;
    let (texts, wanted) = ([show("007"), show("0-3")], exported(&workspace));
    for (id, data) in &wanted {
        assert_eq!((&data["id"], &data["title"], &data["status"]), (&json!(id), &json!(id), &json!("0x2")));
        assert_eq!(data["texts"], json!(TEXTS), "{id}");
    }
    assert_eq!(wanted[0].1["dependencies"]["requires"], json!(["001", "002", "0-3"]));
    for to in MOVES {
        migrate(&workspace, to);
        assert_eq!([show("007"), show("0-3")], texts, "{to:?}");
        let found = exported(&workspace);
        for ((id, found), (_, wanted)) in found.iter().zip(&wanted) {
            // A server spells numbers its own way.
            for key in ["id", "title", "status", "priority", "texts", "dependencies"] {
                assert_eq!(found[key], wanted[key], "{to:?} {id}");
            }
        }
        let listed: serde_json::Value =
            serde_json::from_str(&workspace.run(["milestone", "list", "--json"]).out).unwrap();
        let listed = listed.as_array().unwrap_or_else(|| panic!("{listed}"));
        for (row, (id, _)) in listed.iter().zip(&wanted) {
            let columns = ["id", "title", "status", "priority"].map(|key| row[key].as_str().unwrap_or_default());
            assert_eq!(columns, [id.as_str(), id.as_str(), "0x2", "+1"], "{to:?}");
        }
        assert_eq!(workspace.status()["dependency_count"], 3, "{to:?}");
        let doctor = workspace.run(["doctor"]).out;
        // A server of the tests writes without fsync, which is wrong of it.
        let wrong = if to.contains(&"postgresql") { "1 wrong" } else { "0 wrong" };
        assert!(!doctor.contains("007.yaml") && doctor.contains(wrong), "{to:?}: {doctor}");
    }
    assert_eq!(workspace.read("active/007.yaml"), document("007"));
}

#[test]
fn l01_l02_digits_survive_an_edit_in_a_database() {
    let server = Postgres::start();
    let workspace = with_server(&server);
    workspace.write("active/007.yaml", document("007"));
    let wanted = exported(&workspace).remove(0).1;
    for engine in ["sqlite", "postgresql"] {
        migrate(&workspace, &["database", "--engine", engine]);
        if engine == "sqlite" {
            sqlite3(&workspace, "enterprise.db", "UPDATE milestones SET data = json_set(data, '$.note', 'done')");
        } else {
            server.psql("plans", "UPDATE milestones SET data = jsonb_set(data, '{note}', '\"more\"')");
        }
        migrate(&workspace, &["file"]);
        let found = pyyaml(&workspace, "active/007.yaml");
        for key in ["id", "title", "status", "priority", "texts"] {
            assert_eq!(found[key], wanted[key], "{engine}");
        }
        for (number, (found, wanted)) in
            found["numbers"].as_array().unwrap().iter().zip(wanted["numbers"].as_array().unwrap()).enumerate()
        {
            assert_eq!(found.as_f64(), wanted.as_f64(), "{engine}, number {number}");
        }
        assert_eq!(found["note"], if engine == "sqlite" { "done" } else { "more" });
    }
}

#[test]
fn index_db_has_columns_digit_for_digit() {
    let workspace = workspace();
    workspace.write("active/007.yaml", "id: 007\ntitle: 0123\nstatus: 1.\npriority: 00\n");
    workspace.write("active/1.yaml", "id: 1\ntitle: 1.50\nstatus: true\npriority: 1e3\n");
    migrate(&workspace, &["hybrid"]);
    let rows = sqlite3(&workspace, "index.db", "SELECT id, title, status, priority FROM milestones ORDER BY id");
    assert_eq!(rows, "007|0123|1.|00\n1|1.50|true|1e3");
}

/// At the end of a file there is no line break to keep (YAML 1.2, 8.1.1.2), as `PyYAML` and libyaml read it.
#[test]
fn a_block_scalar_without_a_newline_ends_without_one() {
    let server = Postgres::start();
    let workspace = with_server(&server);
    let texts = [
        ("clip", "notes: |\n  text"),
        ("keep", "notes: |+\n  text\n\n  more"),
        ("strip", "notes: |-\n  text"),
        ("folded", "notes: >\n  a\n  b"),
        ("whole", "notes: |\n  text\n"),
        ("blanks", "notes: |\n  text\n  "),
        ("list", "notes:\n  - |\n    text"),
    ];
    let mut wanted = Vec::new();
    for (id, text) in texts {
        workspace.write(format!("active/{id}.yaml"), text);
        wanted.push((id.to_owned(), pyyaml(&workspace, &format!("active/{id}.yaml"))));
    }
    wanted.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(exported(&workspace), wanted);
    for to in &MOVES[1..] {
        migrate(&workspace, to);
        assert_eq!(exported(&workspace), wanted, "{to:?}");
    }
    for (id, text) in texts {
        assert_eq!(workspace.read(format!("active/{id}.yaml")), text);
    }
    migrate(&workspace, &["database", "--engine", "sqlite"]);
    sqlite3(&workspace, "enterprise.db", "UPDATE milestones SET data = json_set(data, '$.edited', 1)");
    migrate(&workspace, &["file"]);
    for (id, wanted) in wanted {
        assert_eq!(pyyaml(&workspace, &format!("active/{id}.yaml"))["notes"], wanted["notes"], "{id}");
    }
}

#[test]
fn numbers_of_rows_are_the_same_whatever_their_spelling() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "id: a\nn: 1\n");
    migrate(&workspace, &["database", "--engine", "sqlite"]);
    // Equal to what was moved: nothing is a change, and the text stays.
    sqlite3(&workspace, "enterprise.db", r#"UPDATE milestones SET data = '{"n":1.0,"id":"a"}'"#);
    assert_eq!(workspace.run(["milestone", "show", "a"]).out, "id: a\nn: 1\n");
    for (json, yaml) in [("-0", "-0"), ("1E2", "1.0E+2"), ("1e399", &*format!("1{}", "0".repeat(399)))] {
        sqlite3(&workspace, "enterprise.db", &format!(r#"UPDATE milestones SET data = '{{"n":{json}}}'"#));
        let shown = workspace.run(["milestone", "show", "a"]).out;
        assert!(shown.eq_ignore_ascii_case(&format!("\"n\": {yaml}\n")), "{json}: {shown}");
    }
    sqlite3(&workspace, "enterprise.db", r#"UPDATE milestones SET data = '{"n":1E400}'"#);
    let listed = workspace.run(["milestone", "list"]).out;
    assert!(listed.contains("larger than every store keeps exactly"), "{listed}");
    let plan = workspace.run(["migrate", "file", "--dry-run"]);
    assert!(plan.out.contains("larger than every store keeps exactly"), "{plan:?}");
}
