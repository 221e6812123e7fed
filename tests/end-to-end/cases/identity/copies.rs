//! Workspaces that were copied, moved, restored or seen from elsewhere.

use std::fs;
use std::process::{Command, Stdio};

use milescale_testkit::{Workspace, until};

use super::{Plans, as_an_image, configure, digest, fix_identity, move_to_server, put};
use crate::BINARY;
use crate::faults::shim;

/// A move that dies before the marker's rename.
fn die_before_the_switch(workspace: &Workspace) {
    let mut command = workspace.command(["migrate", "database", "--engine", "postgresql", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:kill").env("FAULT_PATH", "storage-backend.txt");
    assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
}

#[test]
fn l07_a_copied_image_leaves_the_table_of_its_original_alone() {
    let plans = Plans::new();
    let one = plans.workspace("one");
    die_before_the_switch(&one);
    assert_eq!(plans.psql("SELECT count(*) FROM milestones"), "3");
    plans.copy("one", "two");
    plans.copy("one", "three");
    as_an_image(&plans.root("two"));
    assert_eq!(one.run(["check"]).code, 0);
    let said = move_to_server(&one);
    assert_eq!(said.code, 0, "{said:?}");
    let before = plans.table();
    // On another machine with the same numbers everywhere, only the chain tells; as a plain copy, its place does.
    for (name, why) in [("two", "another copy of this workspace wrote here"), ("three", "may be a copy")] {
        let copy = plans.workspace(name);
        copy.run(["check"]);
        let said = move_to_server(&copy);
        assert!(said.code == 1 && said.err.contains(why), "{name}: {said:?}");
        assert!(said.err.contains("doctor --fix identity"), "{said:?}");
        assert_eq!(plans.table(), before, "{name}");
        let said = copy.run(["doctor"]);
        assert!(said.code == 1 && said.out.contains(why), "{name}: {said:?}");
        // A separate one goes on with its files.
        let said = fix_identity(&copy, "separate");
        assert!(said.contains("in this folder"), "{said}");
        assert_eq!(copy.run(["check"]).code, 0);
        assert!(copy.read(".milescale/migration.json").contains("\"intent\": null"));
        let said = put(&copy, "q", "title: of the copy\n", None);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(plans.table(), before, "{name}");
    }
    assert_eq!(put(&one, "q", "title: of the original\n", None).code, 0);
}

#[test]
fn l07_after_the_fork_of_an_image_only_one_side_writes() {
    for first in ["one", "two"] {
        let plans = Plans::moved();
        plans.copy("one", "two");
        as_an_image(&plans.root("two"));
        let (winner, loser) = (plans.workspace(first), plans.workspace(if first == "one" { "two" } else { "one" }));
        assert_eq!(put(&winner, "q", "title: first\n", None).code, 0);
        let before = plans.table();
        let seen = digest(&loser, "m1");
        for said in [
            put(&loser, "r", "title: second\n", None),
            put(&loser, "m1", "title: second\n", Some(&seen)),
            loser.run(["milestone", "archive", "m2"]),
            loser.run(["check"]),
        ] {
            assert!(said.code == 1 && said.err.contains("another copy of this workspace wrote here at 20"), "{said:?}");
        }
        assert_eq!(plans.table(), before);
        // The one that lost can be made the one that goes on; then the other is refused.
        let said = fix_identity(&loser, "on");
        assert!(said.contains("[on/separate]"), "{said}");
        assert_eq!(put(&loser, "r", "title: second\n", None).code, 0);
        let said = put(&winner, "s", "title: third\n", None);
        assert!(said.code == 1 && said.err.contains("another copy"), "{said:?}");
    }
}

#[test]
fn l07_a_plain_copy_writes_nothing_until_a_person_says_what_it_is() {
    let plans = Plans::moved();
    let (one, two) = (plans.workspace("one"), plans.copy("one", "two"));
    let before = plans.table();
    let seen = digest(&two, "m1");
    for said in [
        put(&two, "q", "title: from the copy\n", None),
        put(&two, "m1", "title: over\n", Some(&seen)),
        two.run(["milestone", "archive", "m2"]),
        two.run(["check"]),
        two.run(["rollback", "--yes"]),
    ] {
        assert!(said.code == 1 && said.err.contains("may be a copy"), "{said:?}");
        assert!(said.err.contains("milescale doctor --fix identity"), "{said:?}");
    }
    let plan = two.run(["migrate", "file", "--dry-run"]);
    assert!(plan.code == 1 && plan.out.contains("may be a copy"), "{plan:?}");
    let daemon = two.daemon(["--interval", "600"]);
    daemon.until("current_backend", "database");
    assert_eq!(daemon.stop().0, 0);
    assert_eq!(plans.table(), before);
    let said = two.run(["doctor"]);
    assert!(said.code == 1 && said.out.contains("may be a copy"), "{said:?}");
    let status = two.run(["status"]).out;
    assert!(status.contains("may be a copy"), "{status}");
    // No option answers it.
    assert_eq!(two.run(["doctor", "--fix", "--yes"]).code, 1);
    assert_eq!(two.run(["doctor", "--fix", "identity", "--yes"]).code, 2);
    assert_eq!(two.run(["doctor", "--fix", "identity"]).code, 2);
    assert!(fix_identity(&two, "").contains("nothing was changed"));
    assert_eq!(plans.table(), before);
    assert_eq!(put(&one, "q", "title: from the original\n", None).code, 0);
}

#[test]
fn l07_a_separate_copy_takes_what_its_old_files_do_not_hold() {
    let plans = Plans::moved();
    assert_eq!(put(&plans.workspace("one"), "later", "title: later\n", None).code, 0);
    let two = plans.copy("one", "two");
    let before = plans.table();
    fix_identity(&two, "separate");
    let said = two.run(["migrate", "file", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(two.read("active/later.yaml").contains("later"));
    assert_eq!(plans.table(), before);
}

#[test]
fn l07_a_separate_copy_reads_the_table_and_takes_its_milestones_with_it() {
    let plans = Plans::moved();
    let (one, two) = (plans.workspace("one"), plans.copy("one", "two"));
    let before = plans.table();
    let said = fix_identity(&two, "separate");
    assert!(said.contains("milescale migrate file"), "{said}");
    let said = put(&two, "q", "title: x\n", None);
    assert!(said.code == 1 && said.err.contains("it belongs to the workspace"), "{said:?}");
    assert!(two.run(["milestone", "list"]).out.contains("m3"));
    let said = two.run(["migrate", "file", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(put(&two, "q", "title: x\n", None).code, 0);
    assert_eq!(plans.table(), before, "nothing was written there");
    // What the original writes later is none of the copy's.
    assert_eq!(put(&one, "m1", "title: later\n", Some(&digest(&one, "m1"))).code, 0);
    assert_eq!(two.run(["check"]).code, 0);
    assert!(two.read("active/m1.yaml").contains("title: a"));
    assert_eq!(two.events_named("write_conflict").len() + two.events_named("changes_imported").len(), 0);
}

#[test]
fn l07_where_the_original_is_gone_its_copy_goes_on() {
    let plans = Plans::moved();
    let two = plans.copy("one", "two");
    fs::remove_dir_all(plans.root("one")).unwrap();
    assert_eq!(put(&two, "q", "title: x\n", None).code, 1);
    fix_identity(&two, "on");
    let said = put(&two, "q", "title: x\n", None);
    assert_eq!(said.code, 0, "{said:?}");
    let said = two.run(["check"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(two.run(["doctor"]).out.matches("identity").count(), 0);
}

#[test]
fn l08_a_workspace_that_was_moved_or_seen_from_elsewhere_is_the_same_one_needs_root() {
    let plans = Plans::moved();
    let root = plans.root("one");
    let (empty, elsewhere) = (plans.root("empty"), plans.root("elsewhere"));
    fs::write(&empty, "").unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let inside = "touch /etc/machine-id 2>/dev/null; [ -e /etc/machine-id ] && mount --bind \"$1\" /etc/machine-id
        mount --bind \"$2\" \"$3\" && cd \"$3\" && exec \"$4\" check";
    let said = Command::new("unshare")
        .args(["-m", "sh", "-c", inside, "sh"])
        .args([&empty, &root, &elsewhere])
        .arg(BINARY)
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    let one = plans.workspace("one");
    for (number, workspace) in [(1, &one), (2, &one)] {
        let said = put(workspace, &format!("q{number}"), "title: x\n", None);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(workspace.run(["check"]).code, 0);
    }
    fs::rename(&root, plans.root("moved")).unwrap();
    let moved = plans.workspace("moved");
    assert_eq!(put(&moved, "q3", "title: x\n", None).code, 0);
    assert!(plans.psql("SELECT path FROM milescale_meta").ends_with("/moved"));
    let said = moved.run(["rollback", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn l07_a_server_that_went_back_is_noticed_and_gone_on_with_at_a_persons_word() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    assert_eq!(put(&one, "q1", "title: x\n", None).code, 0);
    let dumped = plans.server.folder().join("dump");
    let dump = |schema: &str| {
        let mut command = plans.server.run_as_server_user("pg_dump");
        command.args(["-U", "postgres", "-p", &plans.server.port().to_string(), "-h"]).arg(plans.server.folder());
        command.args(["-n", schema, "-f"]).arg(&dumped).arg("plans").status().unwrap()
    };
    assert!(dump("public").success());
    assert_eq!(put(&one, "q2", "title: lost\n", None).code, 0);
    plans.psql("DROP SCHEMA public CASCADE");
    let restored = plans.server.client("plans").arg("-f").arg(&dumped).stdout(Stdio::null()).status().unwrap();
    assert!(restored.success());
    let before = plans.table();
    for said in [put(&one, "q3", "title: x\n", None), one.run(["check"])] {
        assert!(said.code == 1 && said.err.contains("the server went back"), "{said:?}");
    }
    let plan = one.run(["migrate", "file", "--dry-run"]);
    assert!(plan.code == 1 && plan.out.contains("the server went back"), "{plan:?}");
    assert_eq!(plans.table(), before);
    assert!(one.run(["doctor"]).out.contains("the server went back"));
    fix_identity(&one, "on");
    assert_eq!(put(&one, "q3", "title: x\n", None).code, 0);
    // Back to before milescale was there at all.
    plans.psql("DROP TABLE milescale_meta, milescale_tokens");
    let said = put(&one, "q4", "title: x\n", None);
    assert!(said.code == 1 && said.err.contains("the server went back"), "{said:?}");
    fix_identity(&one, "on");
    assert_eq!(put(&one, "q4", "title: x\n", None).code, 0);
}

/// A table as it was at an instant, put aside and back under its name: a standby that was made primary, and the old primary.
fn swap(plans: &Plans, to: &str, from: &str) {
    plans.psql(&format!("ALTER SCHEMA public RENAME TO {to}; ALTER SCHEMA {from} RENAME TO public"));
}

/// Copies the schema with all that is in it.
fn copy_schema(plans: &Plans, to: &str) {
    let (port, folder) = (plans.server.port().to_string(), plans.server.folder());
    let dumped = folder.join(to);
    let mut dump = plans.server.run_as_server_user("pg_dump");
    dump.args(["-U", "postgres", "-p", &port, "-h"]).arg(folder).args(["-n", "public", "-f"]).arg(&dumped);
    assert!(dump.arg("plans").status().unwrap().success());
    plans.psql(&format!("ALTER SCHEMA public RENAME TO {to}"));
    let restored = plans.server.client("plans").arg("-f").arg(&dumped).stdout(Stdio::null()).status().unwrap();
    assert!(restored.success());
}

#[test]
fn l07_the_table_that_was_not_gone_on_with_is_refused_when_it_comes_back() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    copy_schema(&plans, "standby");
    assert_eq!(put(&one, "q1", "title: x\n", None).code, 0);
    swap(&plans, "first", "standby");
    assert!(put(&one, "q2", "title: x\n", None).err.contains("the server went back"));
    fix_identity(&one, "on");
    assert_eq!(put(&one, "q2", "title: x\n", None).code, 0);
    swap(&plans, "standby", "first");
    let before = plans.table();
    let said = put(&one, "q3", "title: x\n", None);
    assert!(said.code == 1 && said.err.contains("doctor --fix identity"), "{said:?}");
    assert_eq!(plans.table(), before);
}

/// A workspace that is back in files, and a table of before its last write beside the old store.
fn back_in_files() -> (Plans, Workspace) {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    copy_schema(&plans, "standby");
    let seen = digest(&one, "m1");
    assert_eq!(put(&one, "m1", "title: second\n", Some(&seen)).code, 0);
    assert_eq!(one.run(["rollback", "--yes"]).code, 0);
    (plans, one)
}

/// A daemon that has swept the table before looks whose it is by now before it takes anything from it.
#[test]
fn l07_a_daemon_takes_nothing_from_an_old_server_that_went_back_or_that_a_copy_wrote() {
    for is_copy in [false, true] {
        let (plans, one) = back_in_files();
        let daemon = one.daemon(["--interval", "1"]);
        daemon.until("milestone_count", 3);
        plans.psql("UPDATE milestones SET data = jsonb_set(data, '{title}', '\"edited\"') WHERE id = 'm3'");
        until("an edit", || one.read("active/m3.yaml").contains("edited").then_some(()));
        let refused = if is_copy {
            let copy = plans.copy("one", "copy");
            fs::remove_file(copy.path(".milescale/daemon.lock")).unwrap();
            fix_identity(&copy, "on");
            plans.psql("UPDATE milestones SET data = jsonb_set(data, '{title}', '\"of the copy\"') WHERE id = 'm1'");
            "another copy"
        } else {
            swap(&plans, "first", "standby");
            "the server went back"
        };
        until("what is told", || one.run(["status"]).out.contains(refused).then_some(()));
        let cycles = || one.events_named("scale_status").len();
        let before = cycles();
        until("the daemon's cycles", || (cycles() > before + 2).then_some(()));
        assert_eq!(one.read("active/m1.yaml"), "title: second\n", "{refused}");
    }
}

/// The server in use went back, and lacks an edit of a file that was brought over: a daemon that runs brings it again.
#[test]
fn l07_what_a_server_in_use_that_went_back_lacks_of_old_files_is_brought_again() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    copy_schema(&plans, "standby");
    let daemon = one.daemon(["--interval", "1"]);
    daemon.until("milestone_count", 3);
    let title = || plans.psql("SELECT data ->> 'title' FROM milestones WHERE id = 'm1'");
    one.save("active/m1.yaml", "title: edited\n");
    until("an edit", || (title() == "edited").then_some(()));
    swap(&plans, "first", "standby");
    assert_ne!(title(), "edited");
    until("what is told", || one.run(["status"]).out.contains("the server went back").then_some(()));
    fix_identity(&one, "on");
    until("the edit again", || (title() == "edited").then_some(()));
}

#[test]
fn l07_an_old_server_that_went_back_replaces_nothing_in_the_store_in_use() {
    let (plans, one) = back_in_files();
    swap(&plans, "first", "standby");
    let said = one.run(["import"]);
    assert!(said.err.contains("the server went back"), "{said:?}");
    fix_identity(&one, "on");
    assert_eq!(one.run(["import"]).code, 0);
    assert_eq!(one.read("active/m1.yaml"), "title: second\n");
    let conflicts = one.events_named("write_conflict");
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    // What is written there from now on is an edit again, once both were equal.
    plans.psql("UPDATE milestones SET data = jsonb_set(data, '{title}', '\"third\"') WHERE id = 'm2'");
    assert_eq!(one.run(["import"]).code, 0);
    assert!(one.read("active/m2.yaml").contains("third"));
}

#[test]
fn l07_an_older_milescale_refuses_the_table_by_name_and_its_own_is_taken_over_without_a_word() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    let number = plans.psql("SELECT split_part(workspace, ' ', 1) FROM milescale_meta");
    // What an older one asks and says.
    assert_ne!(plans.psql("SELECT workspace FROM milescale_meta"), number);
    for statement in [
        format!(
            "INSERT INTO milescale_meta (workspace, path, epoch) VALUES ('{number}', '/x', 0) ON CONFLICT DO NOTHING"
        ),
        format!("UPDATE milescale_meta SET workspace = '{number}', path = '/x'"),
    ] {
        let said = plans.server.client("plans").args(["-c", &statement]).output().unwrap();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("kept_by_a_newer_milescale"), "{said}");
    }
    // What an older one has left.
    plans.psql(&format!(
        "ALTER TABLE milescale_meta DROP CONSTRAINT kept_by_a_newer_milescale, DROP format, DROP chain, DROP number,
         DROP token, DROP written, DROP pruned; DROP TABLE milescale_tokens;
         UPDATE milescale_meta SET workspace = '{number}'"
    ));
    fs::remove_file(one.path(".milescale/tokens")).unwrap();
    fs::write(one.path(".milescale/identity"), "").unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(one.path(".milescale/identity")).unwrap());
    fs::write(one.path(".milescale/identity"), format!("{number} {inode}@machine\n")).unwrap();
    let rows = plans.psql("SELECT id, data, updated_at FROM milestones ORDER BY id");
    let events = one.events().len();
    let said = one.run(["check"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(plans.psql("SELECT format FROM milescale_meta"), "2");
    assert_eq!(plans.psql("SELECT id, data, updated_at FROM milestones ORDER BY id"), rows);
    let new: Vec<_> = one.events().split_off(events).into_iter().map(|event| event["event"].clone()).collect();
    assert!(new.iter().all(|event| event == "migration_monitoring" || event == "scale_status"), "{new:?}");
    assert_eq!(put(&one, "q", "title: x\n", None).code, 0);
}

#[test]
fn l07_two_workspaces_made_from_one_folder_of_files_are_two() {
    let plans = Plans::new();
    let one = plans.workspace("one");
    assert_eq!(one.run(["migrate", "database", "--yes"]).code, 0);
    let two = plans.copy("one", "two");
    // Nothing of either is on a server: the copy is simply another workspace.
    assert_eq!(move_to_server(&one).code, 0);
    let said = move_to_server(&two);
    assert!(said.code == 1 && said.err.contains("it belongs to the workspace"), "{said:?}");
    configure(&two, &plans.server.url());
    until("no doubt", || (!two.run(["doctor"]).out.contains("may be a copy")).then_some(()));
}
