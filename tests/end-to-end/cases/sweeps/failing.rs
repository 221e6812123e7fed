//! What fails is repeated, and stops nothing else.

use std::fs;

use milescale_testkit::{Postgres, until};

use super::{check, data, edit, is_named, migrate, moved, name_server, rows_with, sql, told};

#[test]
fn l10_a_pass_that_failed_is_repeated() {
    let workspace = moved(40);
    edit(&workspace, [7], "edited while nothing ran");
    // The figures can be had, and the base cannot: the first pass fails.
    sql(&workspace, "ALTER TABLE milescale_base RENAME COLUMN value TO hidden");
    let daemon = workspace.daemon(["--interval", "600"]);
    let source = workspace.until_event("source_unavailable", 1)["details"]["source"].clone();
    assert!(workspace.run(["doctor"]).out.contains(source.as_str().unwrap()));
    sql(&workspace, "ALTER TABLE milescale_base RENAME COLUMN hidden TO value");
    until("the edit", || data(&workspace, "m-7").contains("edited").then_some(()));
    workspace.until_event("source_recovered", 1);
    drop(daemon);
}

#[test]
fn l11_one_milestone_that_cannot_be_brought_over_stops_only_itself() {
    let server = Postgres::start();
    let workspace = crate::workspace();
    name_server(&workspace, &server.url());
    workspace.milestones("m", 8);
    migrate(&workspace, "database");
    // A rule of somebody else's refuses one of them.
    let rule = "ALTER TABLE milestones ADD CHECK (data->>'created_at' IS DISTINCT FROM '0000-01-01T00:00:00Z')";
    server.psql("plans", rule);
    workspace.save("active/year-0.yaml", "title: edited\ncreated_at: \"0000-01-01T00:00:00Z\"\n");
    edit(&workspace, 1..5, "edited");
    check(&workspace);
    assert_eq!(told(&workspace, "changes_imported"), ["m-1", "m-2", "m-3", "m-4"]);
    assert_eq!(told(&workspace, "changes_reported"), ["year-0"]);
    assert!(is_named(&workspace, "year-0 of files cannot be brought over"));
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 1, "not before it is dealt with");
    // Said once; and mended, it follows.
    check(&workspace);
    assert_eq!(told(&workspace, "changes_reported"), ["year-0"]);
    let said = workspace.run(["import", "--json"]);
    assert_eq!((said.code, &said.json()["failing"]), (1, &1.into()), "{said:?}");
    workspace.save("active/year-0.yaml", "title: mended\n");
    assert_eq!(workspace.run(["import"]).code, 0);
    assert!(workspace.run(["milestone", "show", "year-0"]).out.contains("mended"));
    assert!(!is_named(&workspace, "year-0 of files cannot be brought over"));
}

#[test]
fn l11_an_id_may_be_as_long_as_it_likes() {
    let id = "x".repeat(200);
    let workspace = moved(3);
    workspace.save(format!("active/{id}.yaml"), "title: first\n");
    check(&workspace);
    sql(&workspace, &format!("UPDATE milestones SET data = '{{\"title\":\"of the row\"}}' WHERE id = '{id}'"));
    workspace.save(format!("active/{id}.yaml"), "title: of the file\n");
    edit(&workspace, [1], "edited");
    check(&workspace);
    assert!(data(&workspace, "m-1").contains("edited"));
    assert_eq!(told(&workspace, "write_conflict"), [id.as_str()]);
    let conflicts = workspace.run(["conflicts", "list", "--json"]).json();
    let name = conflicts[0]["name"].as_str().unwrap();
    assert_eq!(conflicts[0]["id"], id.as_str());
    assert_eq!(workspace.run(["conflicts", "show", name]).out, "title: of the file\n");
    assert_eq!(workspace.run(["conflicts", "resolve", name, "--take-kept"]).code, 0);
    assert!(data(&workspace, &id).contains("of the file"));
}

#[test]
fn l12_what_cannot_be_taken_at_all_is_named() {
    let workspace = moved(4);
    workspace.write("active/large.yaml", format!("title: large\nnotes: {}\n", "x".repeat(17 << 20)));
    workspace.write("active/sub/m-1.yaml", "title: a second one\n");
    let long = format!("active/{}.yaml", "l".repeat(230));
    workspace.write(&long, "title: an id that is too long\n");
    edit(&workspace, [2], "edited");
    check(&workspace);
    assert!(data(&workspace, "m-2").contains("edited"), "they stop nothing else");
    assert_eq!(told(&workspace, "changes_reported"), ["large".to_owned(), "l".repeat(230), "m-1".to_owned()]);
    assert!(is_named(&workspace, "larger than the limit") && is_named(&workspace, "stands several times"));
    assert!(is_named(&workspace, "longer than 200 bytes"));
    // Said once; and once they are gone, nobody speaks of them.
    check(&workspace);
    assert_eq!(told(&workspace, "changes_reported").len(), 3);
    for path in ["active/large.yaml", "active/sub/m-1.yaml", &long] {
        fs::remove_file(workspace.path(path)).unwrap();
    }
    check(&workspace);
    assert!(workspace.run(["doctor"]).out.contains("0 wrong"));
}

#[test]
fn l12_a_row_whose_id_is_no_files_name_is_named() {
    let workspace = moved(3);
    migrate(&workspace, "file");
    sql(&workspace, "INSERT INTO milestones (id, data) VALUES ('team/x', '{\"title\":\"new\"}')");
    sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"edited\"}' WHERE id = 'm-1'");
    check(&workspace);
    assert!(workspace.read("active/m-1.yaml").contains("edited"));
    assert_eq!(told(&workspace, "changes_reported"), ["team/x"]);
    assert!(is_named(&workspace, "team/x of sqlite cannot be brought over"));
    sql(&workspace, "UPDATE milestones SET id = 'team-x' WHERE id = 'team/x'");
    check(&workspace);
    assert!(workspace.read("active/team-x.yaml").contains("new"));
    assert!(workspace.run(["doctor"]).out.contains("0 wrong"));
}

#[test]
fn l13_a_source_of_figures_that_cannot_be_read_stops_no_sweep() {
    let workspace = moved(3);
    let _ = fs::remove_file(workspace.path("logs/storage-events.jsonl"));
    fs::create_dir(workspace.path("logs/storage-events.jsonl")).unwrap();
    edit(&workspace, [1], "edited");
    let _daemon = workspace.daemon(["--interval", "600"]);
    until("the edit", || (rows_with(&workspace, "edited") == 1).then_some(()));
}

#[test]
fn l13_status_does_not_promise_what_cannot_be_done() {
    let workspace = moved(3);
    assert!(workspace.run(["status"]).out.contains("is brought over by"));
    fs::rename(workspace.path("enterprise.db"), workspace.path("aside.db")).unwrap();
    workspace.run(["check"]);
    let status = workspace.run(["status"]).out;
    assert!(!status.contains("is brought over by") && status.contains("is not brought over"), "{status}");
    fs::rename(workspace.path("aside.db"), workspace.path("enterprise.db")).unwrap();
    check(&workspace);
    assert!(workspace.run(["status"]).out.contains("is brought over by"));
}

/// A slip of the pen that stood long enough to be kept: what is saved next is judged against the content of before it.
#[test]
fn what_is_mended_after_it_could_not_be_read_is_an_edit() {
    let workspace = moved(4);
    let broken = "title: \"not closed\n";
    for id in ["m-0", "m-1", "m-2", "m-3", "new"] {
        workspace.save(format!("active/{id}.yaml"), broken);
    }
    sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"the row\"}' WHERE id IN ('m-2', 'm-3')");
    let import = || assert_eq!(workspace.run(["import"]).code, 0);
    import();
    assert_eq!(told(&workspace, "write_conflict"), ["m-0", "m-1", "m-2", "m-3", "new"]);
    // Another slip, that one mended, and one given up.
    workspace.save("active/m-0.yaml", "title: [\n");
    import();
    edit(&workspace, [0, 2], "mended");
    workspace.save("active/new.yaml", "title: mended\n");
    edit(&workspace, [1], "first 1");
    edit(&workspace, [3], "first 3");
    import();
    assert_eq!(
        told(&workspace, "write_conflict"),
        ["m-0", "m-0", "m-1", "m-2", "m-2", "m-3", "new"],
        "both sides of m-2"
    );
    for id in ["m-0", "new"] {
        assert!(data(&workspace, id).contains("mended"), "{id}");
    }
    assert!(data(&workspace, "m-1").contains("first 1") && data(&workspace, "m-3").contains("the row"));
    assert!(told(&workspace, "changes_reported").is_empty());
    // All of it is dealt with: nothing stands against a move back.
    edit(&workspace, [1], "once more");
    migrate(&workspace, "file");
    assert!(
        workspace.read("active/m-1.yaml").contains("once more")
            && workspace.read("active/m-3.yaml").contains("the row")
    );
}

/// Deep in a document each line is long: a small row can make a file that nobody reads.
#[test]
fn a_row_that_is_too_large_as_a_file_replaces_none_and_stands_against_a_move() {
    let workspace = moved(2);
    migrate(&workspace, "file");
    let (open, close) = ("{\"k\":".repeat(90), "}".repeat(90));
    let list = vec!["1"; 100_000].join(",");
    workspace.write("big.json", format!("{{\"title\":\"big\",\"b\":{open}[{list}]{close}}}"));
    let data = format!("CAST(readfile('{}') AS TEXT)", workspace.path("big.json").display());
    let write = format!("UPDATE milestones SET data = {data} WHERE id = 'm-0'");
    sql(&workspace, &format!("{write}; INSERT INTO milestones (id, data) VALUES ('new', {data})"));
    assert_eq!(workspace.run(["import"]).code, 0);
    assert_eq!(told(&workspace, "write_conflict"), ["m-0", "new"]);
    assert_eq!(workspace.read("active/m-0.yaml"), "title: first 0\n");
    assert!(!workspace.path("active/new.yaml").exists());
    // In use, it counts, is shown, and stands against a move.
    let workspace = moved(1);
    workspace.write("big.json", format!("{{\"title\":\"big\",\"b\":{open}[{list}]{close}}}"));
    let data = format!("CAST(readfile('{}') AS TEXT)", workspace.path("big.json").display());
    sql(&workspace, &format!("INSERT INTO milestones (id, data) VALUES ('new', {data})"));
    let plan = workspace.run(["migrate", "file", "--dry-run"]);
    assert_eq!(plan.code, 1, "{plan:?}");
    assert!(plan.out.contains("as YAML it is larger than the limit of 16 MiB"), "{plan:?}");
}

/// A change that the store in use refuses stands against a move to where it was made, and the plan says so.
#[test]
fn what_the_store_in_use_refuses_stands_against_a_move() {
    let workspace = moved(2);
    let refuse = "CREATE TRIGGER careful BEFORE UPDATE ON milestones WHEN json_extract(new.data, '$.title') = 'refused' \
                  BEGIN SELECT raise(ABORT, 'not that title'); END";
    sql(&workspace, refuse);
    workspace.save("active/m-1.yaml", "title: refused\n");
    check(&workspace);
    let plan = workspace.run(["migrate", "file", "--dry-run"]);
    assert!(
        plan.code == 1 && plan.out.contains("not that title") && plan.out.contains("what m-1 has there"),
        "{plan:?}"
    );
    workspace.save("active/m-1.yaml", "title: mended\n");
    assert_eq!(workspace.run(["migrate", "file", "--yes"]).code, 0);
    assert_eq!(workspace.read("active/m-1.yaml"), "title: mended\n");
}
