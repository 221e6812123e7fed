//! Retired stores, and what milescale itself has moved.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use milescale_testkit::Workspace;

use super::{check, data, edit, is_named, migrate, moved, sql, told};

#[test]
fn l04_what_appears_on_a_retired_side_is_named_and_import_brings_it() {
    let workspace = moved(5);
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 0);
    edit(&workspace, [3], "made anew");
    workspace.save("active/new.yaml", "title: from an old habit\n");
    check(&workspace);
    let held = workspace.until_event("changes_held", 1);
    assert_eq!(held["details"]["ids"], serde_json::json!(["m-3", "new"]));
    assert_eq!(held["details"]["retired"], true);
    assert!(is_named(&workspace, "m-3 (files)") && is_named(&workspace, "new (files)"));
    assert!(!data(&workspace, "m-3").contains("anew"), "a person decides");
    check(&workspace);
    assert_eq!(told(&workspace, "changes_held").len(), 2, "said once");
    assert_eq!(workspace.run(["import", "--json"]).json()["imported"], 2);
    assert!(data(&workspace, "m-3").contains("anew") && data(&workspace, "new").contains("habit"));
    // Who made it anew found no file, and may not have known what was current.
    let kept = conflicts(&workspace);
    assert!(kept.len() == 1 && kept[0].contains("title: first 3"), "{kept:?}");
    assert!(told(&workspace, "changes_reported").is_empty(), "what was retired is not gone");
    assert!(workspace.run(["doctor"]).out.contains("1 wrong"), "the conflict");
}

#[test]
fn l04_a_row_in_a_retired_database_is_named_too() {
    let workspace = moved(3);
    migrate(&workspace, "file");
    assert_eq!(workspace.run(["retire", "sqlite", "--yes"]).code, 0);
    check(&workspace);
    assert!(workspace.events_named("changes_held").is_empty());
    // Somebody takes the refusal away.
    let triggers = sql(&workspace, "SELECT name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%RAISE%'");
    for name in triggers.lines() {
        sql(&workspace, &format!("DROP TRIGGER {name}"));
    }
    sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"late\"}' WHERE id = 'm-1'");
    check(&workspace);
    assert_eq!(told(&workspace, "changes_held"), ["m-1"]);
    assert!(is_named(&workspace, "m-1 (sqlite)"));
    assert_eq!(workspace.run(["import", "--json"]).json()["imported"], 1);
    assert!(workspace.read("active/m-1.yaml").contains("late"));
}

#[test]
fn p10_what_milescale_itself_has_retired_is_not_gone() {
    let workspace = moved(6);
    // A cut while retiring leaves some files here and some there.
    fs::create_dir_all(workspace.path(".milescale/retired/1/sub")).unwrap();
    for (id, to) in [("m-0", "m-0"), ("m-1", "sub/m-1"), ("m-2", "m-2")] {
        let to = workspace.path(format!(".milescale/retired/1/{to}.yaml"));
        fs::rename(workspace.path(format!("active/{id}.yaml")), to).unwrap();
    }
    fs::remove_file(workspace.path("active/m-5.yaml")).unwrap();
    // One of them was still being written to.
    fs::write(workspace.path(".milescale/retired/1/m-2.yaml"), "title: the last save\n").unwrap();
    // By `import`, which looks at everything, and by `check`.
    assert_eq!(workspace.run(["import"]).code, 0);
    check(&workspace);
    assert_eq!(told(&workspace, "changes_reported"), ["m-5"], "only what somebody else has removed");
    assert!(data(&workspace, "m-2").contains("the last save"));
}

#[test]
fn p10_what_a_move_back_has_archived_is_not_gone() {
    let workspace = moved(3);
    assert_eq!(workspace.run(["milestone", "archive", "m-1"]).code, 0);
    // A move back that is cut after this one: its file lies among the archived ones, as it is in the database.
    let archived = workspace.run(["milestone", "show", "m-1"]).out;
    workspace.write("completed/m-1.yaml", archived);
    fs::remove_file(workspace.path("active/m-1.yaml")).unwrap();
    assert_eq!(workspace.run(["import"]).code, 0);
    check(&workspace);
    assert!(told(&workspace, "changes_reported").is_empty(), "{:?}", workspace.events_named("changes_reported"));
}

/// Opens a milestone file as an editor does that keeps it open.
fn kept_open(workspace: &Workspace, id: &str) -> File {
    let path = workspace.path(format!("active/{id}.yaml"));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    File::options().append(true).open(path).unwrap()
}

fn write_into(mut file: File) {
    file.write_all(b"late: save\n").unwrap();
    drop(file);
    // A file has to stand still for a while before it is judged.
    thread::sleep(Duration::from_millis(2100));
}

#[test]
fn what_is_written_into_a_retired_file_is_brought_along_by_a_move_back() {
    let workspace = moved(3);
    let open = kept_open(&workspace, "m-1");
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 0);
    write_into(open);
    assert_eq!(workspace.run(["rollback", "--yes"]).code, 0);
    assert!(workspace.read("active/m-1.yaml").ends_with("late: save\n"));
    check(&workspace);
    assert_eq!(conflicts(&workspace), [""; 0], "it is current");
}

#[test]
fn what_is_written_into_a_retired_file_after_a_move_back_is_a_conflict() {
    let workspace = moved(3);
    let open = kept_open(&workspace, "m-1");
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 0);
    assert_eq!(workspace.run(["rollback", "--yes"]).code, 0);
    check(&workspace);
    assert_eq!(conflicts(&workspace), [""; 0], "nobody has written into it");
    write_into(open);
    check(&workspace);
    let kept = conflicts(&workspace);
    assert!(kept.len() == 1 && kept[0].ends_with("late: save\n"), "{kept:?}");
    assert!(workspace.path(".milescale/retired/1/m-1.yaml").exists(), "nothing of it is dropped");
}

#[test]
fn what_is_written_into_a_retired_file_that_was_made_anew_is_a_conflict() {
    let workspace = moved(3);
    let open = kept_open(&workspace, "m-1");
    let active = workspace.path("active/m-1.yaml");
    // Somebody saves it anew as soon as it is taken out.
    let saved = thread::spawn(move || {
        while active.exists() {
            thread::sleep(Duration::from_millis(1));
        }
        fs::write(&active, "title: made anew\n").unwrap();
    });
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 0);
    saved.join().unwrap();
    // It may have been saved when `retire` had looked for the last time; and what is written is brought over when it has stood still.
    milescale_testkit::until("what was made anew", || {
        data(&workspace, "m-1").contains("made anew").then_some(()).or_else(|| {
            check(&workspace);
            None
        })
    });
    write_into(open);
    let kept = milescale_testkit::until("both conflicts", || {
        check(&workspace);
        Some(conflicts(&workspace)).filter(|kept| kept.len() == 2)
    });
    // Who made it anew may not have known what was retired: that is kept and named, too.
    assert!(kept[0] == "title: first 1\n" && kept[1].ends_with("late: save\n"), "{kept:?}");
}

/// What is noted of the retired files says when one was looked at last, and no clock.
#[test]
fn what_is_written_into_a_file_that_was_retired_long_ago_is_brought_over() {
    let workspace = moved(3);
    let open = kept_open(&workspace, "m-1");
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 0);
    check(&workspace);
    // As if nothing had run for two days; the file is given back the time that it had.
    let record = workspace.read(".milescale/migration.json");
    let at = record.split("\"retired\": \"").nth(1).unwrap().split('"').next().unwrap();
    let long_ago = (at.parse::<jiff::Timestamp>().unwrap() - jiff::SignedDuration::from_hours(48)).to_string();
    workspace.write(".milescale/migration.json", record.replace(at, &long_ago));
    let modified = open.metadata().unwrap().modified().unwrap();
    let same = open.try_clone().unwrap();
    write_into(open);
    same.set_modified(modified).unwrap();
    check(&workspace);
    assert!(data(&workspace, "m-1").contains("late"), "{:?}", workspace.events());
    assert_eq!(conflicts(&workspace), [""; 0]);
}

#[test]
fn what_is_written_into_a_retired_file_beside_a_later_one_is_a_conflict() {
    let workspace = moved(3);
    let open = kept_open(&workspace, "m-1");
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 0);
    workspace.save("active/m-1.yaml", "title: made anew\n");
    assert_eq!(workspace.run(["import"]).code, 0);
    check(&workspace);
    // Who made it anew may not have known what was retired.
    assert_eq!(conflicts(&workspace), ["title: first 1\n"]);
    write_into(open);
    for _ in 0..2 {
        check(&workspace);
    }
    thread::sleep(Duration::from_millis(2100));
    for _ in 0..2 {
        check(&workspace);
    }
    let kept = conflicts(&workspace);
    assert!(kept.len() == 2 && kept[1].ends_with("late: save\n"), "{kept:?}");
    assert!(data(&workspace, "m-1").contains("made anew"));
}

#[test]
fn what_is_retired_twice_in_two_folders_is_judged_each() {
    let workspace = crate::workspace();
    workspace.write("active/sub/m-1.yaml", "title: one\n");
    migrate(&workspace, "database");
    let (sub, flat) = (workspace.path("active/sub/m-1.yaml"), workspace.path("active/m-1.yaml"));
    // Somebody saves it elsewhere as soon as it is taken out, and again before that one is taken out.
    let mut faulty = crate::faults::with_fault(workspace.root(), "rename:1:meet+");
    let (flat, sub) = (flat.display(), sub.display());
    let meet = format!("if [ -e {sub} ]; then echo 'title: two' > {flat}; else echo 'title: three' > {flat}; fi");
    faulty.environment.retain(|(name, _)| name != "FAULT_PATH");
    let variables = [("FAULT_MEET", meet), ("FAULT_PATH", "/retired/1/".to_owned())];
    faulty.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(faulty.run(["retire", "files", "--yes"]).code, 0);
    check(&workspace);
    assert!(data(&workspace, "m-1").contains("three"), "{:?}", workspace.events());
}

/// Who makes a file anew where one was retired has not seen the comments that stand for it now.
#[test]
fn comments_are_kept_where_a_retired_file_is_made_anew_with_the_same_values() {
    let workspace = crate::workspace();
    workspace.write("active/m-1.yaml", "title: first 1 # ours\n");
    migrate(&workspace, "database");
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 0);
    workspace.write("active/m-1.yaml", "title: first 1 # theirs\n");
    assert_eq!(workspace.run(["import"]).code, 0);
    assert!(workspace.run(["milestone", "show", "m-1"]).out.contains("# theirs"));
    assert_eq!(conflicts(&workspace), ["title: first 1 # ours\n"]);
}

/// What a retired file holds is current, whatever its base became meanwhile: nobody has written to it.
#[test]
fn a_retired_file_that_holds_what_is_current_is_no_conflict() {
    let workspace = moved(1);
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 0);
    workspace.write("active/m-0.yaml", "# nothing but a comment\n");
    assert_eq!(workspace.run(["import"]).code, 0);
    fs::remove_file(workspace.path("active/m-0.yaml")).unwrap();
    check(&workspace);
    let kept = conflicts(&workspace);
    assert_eq!(kept, ["# nothing but a comment\n"]);
    let name = workspace.run(["conflicts", "list", "--json"]).json()[0]["name"].as_str().unwrap().to_owned();
    assert_eq!(workspace.run(["conflicts", "resolve", &name, "--keep-current"]).code, 0);
    assert_eq!(workspace.run(["migrate", "file", "--adopt", "--source-wins", "--yes"]).code, 0);
    thread::sleep(Duration::from_millis(2100));
    check(&workspace);
    assert_eq!(workspace.read("active/m-0.yaml"), "title: first 0\n");
    let said: Vec<_> =
        workspace.events_named("write_conflict").iter().map(|it| it["details"]["reason"].clone()).collect();
    assert!(!said.iter().any(|why| why.as_str().unwrap().contains("after milescale had replaced it")), "{said:?}");
}

/// The texts of the conflicts that events name.
fn conflicts(workspace: &Workspace) -> Vec<String> {
    let named = workspace.events_named("write_conflict");
    let kept = named.iter().map(|event| event["details"]["kept_as"].as_str().unwrap().to_owned());
    kept.map(|path| workspace.read(path.trim_start_matches(".milestones/"))).collect()
}
