//! Databases of SQLite that are not as they should be: each gets a clear error, and nothing is lost or taken for zero.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use milescale_core::base::Side;
use milescale_core::figures::StoreFigures;
use milescale_document::id::Id;
use milescale_document::milestone::Packed;
use milescale_storage::outline::{Needle, Wanted};
use milescale_storage::store::{Extent, Seen, Store};
use milescale_workspace::error::Problem;

use super::bench::{Bench, Kind, draft, figures, put};
use super::conformance;

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn problem(store: &mut dyn Store) -> (Problem, String) {
    let error = store.survey(&Extent::Everything, SystemTime::now()).unwrap_err();
    assert_eq!(store.get(&id("a")).unwrap_err().problem, error.problem, "{error}");
    assert!(store.put(&draft("a", "a: 1\n"), Seen::Nothing).is_err());
    (error.problem, error.to_string())
}

#[test]
fn missing_empty_corrupt_and_strange_databases_are_named_and_recover() {
    let bench = Bench::new(Kind::Sqlite);
    let path = bench.path("enterprise.db");
    put(&mut *bench.store(), "a", "title: kept\n");
    let good = fs::read(&path).unwrap();
    // A store that has the file open notices as well as one that opens it.
    for mut store in [bench.store(), bench.store()] {
        figures(&mut *store);
        fs::rename(&path, bench.path("away")).unwrap();
        let (kind, text) = problem(&mut *store);
        assert!(
            kind == Problem::Unavailable && text.contains(".milestones/enterprise.db: the database is missing"),
            "{text}"
        );
        assert!(!path.exists(), "it is not made");
        fs::write(&path, "").unwrap();
        let (kind, text) = problem(&mut *store);
        assert!(kind == Problem::Unavailable && text.contains("is empty, as `sqlite3` makes it"), "{text}");
        fs::write(&path, "this is no database, though it is long enough to look like one ".repeat(100)).unwrap();
        let (kind, text) = problem(&mut *store);
        assert!(kind == Problem::Corrupt && text.contains("not a database"), "{text}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(problem(&mut *store).0, Problem::Corrupt);
        fs::remove_dir(&path).unwrap();
        bench.sqlite3("enterprise.db", "CREATE TABLE milestones (name TEXT, data TEXT)");
        let (kind, text) = problem(&mut *store);
        assert!(kind == Problem::Corrupt && text.contains("no column id, created_at, updated_at"), "{text}");
        assert_eq!(bench.sqlite3("enterprise.db", "SELECT count(*) FROM sqlite_master"), "1\n", "nothing was added");
        fs::remove_file(&path).unwrap();
        bench.sqlite3("enterprise.db", "CREATE TABLE other (id TEXT)");
        assert_eq!(problem(&mut *store).0, Problem::Corrupt);
        fs::remove_file(&path).unwrap();
        fs::rename(bench.path("away"), &path).unwrap();
        assert_eq!(figures(&mut *store).milestone_count, 1, "it recovers by itself");
    }
    // A page in the middle is damaged.
    let mut store = bench.store();
    let many: Vec<_> = (0..500).map(|n| draft(&format!("m-{n}"), &format!("n: \"{}\"\n", "x".repeat(900)))).collect();
    store.load(&mut many.into_iter().map(Packed::of), Side::Files, 1).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    for offset in (40 * 4096..60 * 4096).step_by(512) {
        bytes[offset..offset + 64].fill(0xff);
    }
    fs::write(&path, bytes).unwrap();
    let error = bench.store().survey(&Extent::Everything, SystemTime::now()).unwrap_err();
    assert_eq!(error.problem, Problem::Corrupt, "{error}");
    fs::write(&path, good).unwrap();
    assert_eq!(figures(&mut *bench.store()).milestone_count, 1);
}

#[test]
fn a_database_that_another_program_locks_is_busy_and_then_there_again() {
    let bench = Bench::new(Kind::Sqlite);
    put(&mut *bench.store(), "a", "title: kept\n");
    let mut shell = Command::new("sqlite3");
    shell.arg(bench.path("enterprise.db")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    input.write_all(b"BEGIN EXCLUSIVE;\nSELECT 'locked';\n").unwrap();
    let mut said = [0; 7];
    std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut said).unwrap();
    let error = bench.store().survey(&Extent::Everything, SystemTime::now()).unwrap_err();
    assert!(error.problem == Problem::Busy && error.to_string().contains("another program holds it"), "{error}");
    input.write_all(b"COMMIT;\n").unwrap();
    drop(input);
    assert!(shell.wait().unwrap().success());
    assert_eq!(figures(&mut *bench.store()).milestone_count, 1);
}

#[test]
fn a_hot_journal_is_rolled_back() {
    let bench = Bench::new(Kind::Sqlite);
    let rows: Vec<_> =
        (0..200).map(|n| draft(&format!("m-{n:03}"), &format!("n: \"{}\"\n", "x".repeat(3000)))).collect();
    bench.store().load(&mut rows.into_iter().map(Packed::of), Side::Files, 1).unwrap();
    // The shell dies in the middle of a transaction that has reached the file.
    let sql = "PRAGMA cache_size = 1;\nBEGIN;\nUPDATE milestones SET data = '{\"half\":true}';\nDELETE FROM milestones WHERE id > 'm-100';\n.shell kill -9 $PPID\n";
    let mut shell = Command::new("sqlite3")
        .arg(bench.path("enterprise.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    assert!(!shell.wait().unwrap().success());
    assert!(fs::metadata(bench.path("enterprise.db-journal")).unwrap().len() > 0, "the journal is hot");
    assert_eq!(figures(&mut *bench.store()).milestone_count, 200);
    assert!(!String::from_utf8_lossy(&bench.store().get(&id("m-150")).unwrap().text).contains("half"));
}

#[test]
fn rows_of_any_kind_count_and_are_named() {
    let bench = Bench::new(Kind::Sqlite);
    let mut store = bench.store();
    put(&mut *store, "good", "dependencies: {requires: [a]}\n");
    let rows = [
        ("'not-json'", "'{\"a\":'"),
        ("'empty'", "''"),
        ("'nothing'", "NULL"),
        ("'number'", "5"),
        ("'list'", "'[1]'"),
        ("'nul'", "'{\"a\":\"\\u0000\"}'"),
        ("'half'", "'{\"a\":\"\\ud800\"}'"),
        ("'bytes'", "x'ff00ff'"),
        ("'../x'", "'{}'"),
        ("'a/b'", "'{}'"),
        ("''", "'{}'"),
        ("hex(zeroblob(5120))", "'{}'"),
        ("'esc' || char(27) || '[2J'", "'{}'"),
        ("NULL", "'{}'"),
        ("x'00ff'", "'{\"tasks\":[{\"kiro_workflow\":{\"enabled\":true}}]}'"),
        ("'null-status'", "'{\"status\":null}'"),
        ("'archived'", "'{\"status\":\"archived\"}'"),
        ("'lines'", "'{' || char(10) || '  \"title\":' || char(13, 10) || ' \"over many lines\" }'"),
    ];
    for (id, data) in rows {
        bench.sqlite3("enterprise.db", &format!("INSERT INTO milestones (id, data) VALUES ({id}, {data})"));
    }
    let expected = StoreFigures { milestone_count: 18, kiro_enabled_count: 1, dependency_count: 1 };
    assert_eq!(figures(&mut *store), expected);
    assert_eq!(figures(&mut *bench.store()), expected);
    let flawed = store.flawed();
    for name in ["not-json", "empty", "nothing", "number", "list", "nul", "half", "bytes"] {
        assert!(flawed.contains_key(&format!(".milestones/enterprise.db, row {name:?}")), "{name}: {flawed:?}");
    }
    assert!(flawed.keys().any(|place| place.ends_with("rows without an id")), "{flawed:?}");
    assert_eq!(flawed.len(), 9);
    assert!(flawed.values().any(|flaw| flaw.reason.contains("lone surrogate")));
    let mut seen = Vec::new();
    store
        .scan(&mut |milestone| {
            assert!(!milestone.place.contains('\u{1b}'), "{}", milestone.place);
            seen.push(milestone.id);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen.len(), 16, "all whose id is a text, and no longer than one may be: {seen:?}");
    assert_eq!(store.get(&id("lines")).unwrap().columns.title, "over many lines");
    // What stands there can be replaced by who has seen it.
    let there = store.get(&id("not-json")).unwrap();
    assert_eq!(there.text, b"{\"a\":");
    store.put(&draft("not-json", "a: 1\n"), Seen::Text(there.digest())).unwrap();
    assert_eq!(store.check().unwrap().len(), 8);
}

#[test]
fn an_index_in_any_state_leaves_the_files_the_truth() {
    let bench = Bench::new(Kind::Hybrid);
    let mut store = bench.store();
    for name in ["a", "b"] {
        put(&mut *store, name, "tasks: [{kiro_workflow: {enabled: true}}]\n");
    }
    let path = bench.path("index.db");
    for broken in [None, Some("")] {
        let mut before = bench.store();
        figures(&mut *before);
        fs::remove_file(&path).unwrap();
        if let Some(text) = broken {
            fs::write(&path, text).unwrap();
        }
        for store in [&mut before, &mut bench.store()] {
            assert_eq!((figures(&mut **store).milestone_count, figures(&mut **store).kiro_enabled_count), (2, 2));
        }
        // One milestone that is written does not make an index, which would be taken for one of all.
        put(&mut *bench.store(), "a", "tasks: [{kiro_workflow: {enabled: true}}]\nn: 2\n");
        assert_eq!(figures(&mut *bench.store()).milestone_count, 2);
        before.adopt().unwrap();
        assert_eq!(bench.sqlite3("index.db", "SELECT id FROM milestones ORDER BY id"), "a\nb\n");
        for store in [&mut before, &mut bench.store()] {
            assert_eq!((figures(&mut **store).milestone_count, figures(&mut **store).kiro_enabled_count), (2, 2));
        }
        // A file without a row: mended once it has stood.
        fs::write(bench.path("active/late.yaml"), "n: 1\n").unwrap();
        let later = SystemTime::now();
        let mut store = bench.store();
        assert_eq!(figures(&mut *store).milestone_count, 2);
        let (due, again) = store.differing(later).unwrap();
        assert!(due.is_empty() && again.is_some(), "not before it has stood for ten seconds");
        let (due, _) = store.differing(later + std::time::Duration::from_secs(11)).unwrap();
        assert_eq!(due.len(), 1, "{due:?}");
        store.mend().unwrap();
        assert_eq!(figures(&mut *store).milestone_count, 3);
        fs::remove_file(bench.path("active/late.yaml")).unwrap();
    }
    fs::write(&path, "no database ".repeat(1000)).unwrap();
    assert_eq!(figures(&mut *bench.store()).milestone_count, 2, "the files count");
    put(&mut *bench.store(), "c", "n: 3\n");
    assert_eq!(fs::read(bench.path("active/c.yaml")).unwrap(), b"n: 3\n", "a file is written all the same");
    bench.store().adopt().unwrap();
    assert_eq!(bench.sqlite3("index.db", "SELECT id FROM milestones ORDER BY id"), "a\nb\nc\n");
    let aside = fs::read(bench.path(".milescale/index.unreadable-1.db")).unwrap();
    assert!(aside.starts_with(b"no database "), "what lay there is kept");
}

#[test]
fn differences_of_the_index_are_mended_by_values_and_told_before() {
    let bench = Bench::new(Kind::Hybrid);
    let mut store = bench.store();
    put(&mut *store, "a", "title: A\nstatus: active\n");
    put(&mut *store, "gone", "title: G\n");
    put(&mut *store, "same", "title: S\n");
    let shell = |sql: &str| bench.sqlite3("index.db", sql);
    shell("UPDATE milestones SET status = 'done', title = 'edited in the index' WHERE id = 'a'");
    // What each program writes in its own way is no difference.
    shell(
        "UPDATE milestones SET priority = NULL, created_at = '2020-01-01 00:00:00', updated_at = 'x' WHERE id = 'same'",
    );
    fs::remove_file(bench.path("active/gone.yaml")).unwrap();
    fs::write(bench.path("active/new.yaml"), "title: N\n").unwrap();
    let now = SystemTime::now();
    let at = |seconds| now + std::time::Duration::from_secs(seconds);
    // Rows count until they are mended: the figures are those of the index.
    assert_eq!(figures(&mut *store).milestone_count, 3);
    assert!(store.differing(at(0)).unwrap().0.is_empty());
    fs::create_dir_all(bench.path("locks/new.lock")).unwrap();
    fs::write(bench.path("locks/new.lock/pid"), format!("{}\n", std::process::id())).unwrap();
    let (due, again) = store.differing(at(11)).unwrap();
    let told: Vec<String> = due.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            ".milestones/index.db, row \"a\": it does not say what the file says: title, status",
            ".milestones/index.db, row \"gone\": there is no such file"
        ]
    );
    assert!(due[0].overwritten.contains(&("status", Some("done".to_owned()), Some("active".to_owned()))), "{due:?}");
    assert!(again.is_some(), "a locked one waits");
    // An edit that comes after it was told is not overwritten untold.
    shell("UPDATE milestones SET title = 'edited again' WHERE id = 'a'");
    store.mend().unwrap();
    assert_eq!(shell("SELECT id, title FROM milestones ORDER BY id"), "a|edited again\nsame|S\n");
    fs::remove_dir_all(bench.path("locks/new.lock")).unwrap();
    store.differing(at(12)).unwrap();
    let (due, _) = store.differing(at(23)).unwrap();
    assert_eq!(due.len(), 2, "{due:?}");
    store.mend().unwrap();
    assert_eq!(
        shell("SELECT id, title, status, file_path FROM milestones ORDER BY id"),
        "a|A|active|.milestones/active/a.yaml\nnew|N||.milestones/active/new.yaml\nsame|S||.milestones/active/same.yaml\n"
    );
    assert!(store.differing(at(50)).unwrap().0.is_empty());
    // What not all may read is not told to all who may read the events.
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(bench.path("active/a.yaml"), private).unwrap();
    shell("UPDATE milestones SET title = 'for one alone' WHERE id = 'a'");
    store.differing(at(51)).unwrap();
    let (due, _) = store.differing(at(62)).unwrap();
    let hidden = Some("…".to_owned());
    assert_eq!(due[0].overwritten, [("title", hidden.clone(), hidden)], "{due:?}");
}

#[test]
fn the_log_of_changes_stays_short_and_nothing_is_missed_by_that() {
    let bench = Bench::new(Kind::Sqlite);
    let mut store = bench.store();
    put(&mut *store, "a", "title: A\n");
    assert_eq!(figures(&mut *store).milestone_count, 1);
    // A change that is dropped unread, under as many as would be kept, and more.
    bench.sqlite3("enterprise.db", "INSERT INTO milestones VALUES ('b', '{}', 'x', 'x')");
    let flood = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 103000) \
                 INSERT INTO milescale_changes (id) SELECT 'a' FROM n";
    bench.sqlite3("enterprise.db", flood);
    store.adopt().unwrap();
    let kept = bench.sqlite3("enterprise.db", "SELECT max(number) - min(number) < 100500 FROM milescale_changes");
    assert_eq!(kept, "1\n");
    assert_eq!(figures(&mut *store).milestone_count, 2, "what was dropped unread makes everything be read");
    // Somebody empties it, and it counts anew.
    bench
        .sqlite3("enterprise.db", "DELETE FROM milescale_changes; INSERT INTO milestones VALUES ('c', '{}', 'x', 'x')");
    assert_eq!(figures(&mut *store).milestone_count, 3);
    // Somebody drops it, triggers and all.
    bench.sqlite3(
        "enterprise.db",
        "DROP TRIGGER milescale_inserted; INSERT INTO milestones VALUES ('d', '{}', 'x', 'x')",
    );
    assert_eq!(figures(&mut *store).milestone_count, 4);
    store.adopt().unwrap();
    bench.sqlite3("enterprise.db", "INSERT INTO milestones VALUES ('e', '{}', 'x', 'x')");
    assert_eq!(figures(&mut *store).milestone_count, 5);
}

#[test]
fn lists_and_searches_see_rows_as_any_program_spells_them() {
    let bench = Bench::new(Kind::Sqlite);
    put(&mut *bench.store(), "a", "status: active\nnote: Needle\n");
    let insert = |id: &str, data: &str| {
        bench.sqlite3("enterprise.db", &format!("INSERT INTO milestones (id, data) VALUES ({id}, {data})"));
    };
    insert("'escaped'", r#"'{"status":"\u0061ctive","note":"n\u0065edle"}'"#);
    insert("'twice'", r#"'{"status":"done","status":"active","note":"needle"}'"#);
    insert("'number'", r#"'{"status":1.50,"note":["x",{"y":"NEEDLE"}]}'"#);
    insert("'flag'", r#"'{"status":true}'"#);
    insert("'nothing'", r#"'{"status":null}'"#);
    insert("'list'", r#"'{"status":["active"]}'"#);
    insert("'blob'", r#"CAST('{"status":"active","note":"needle"}' AS BLOB)"#);
    insert("'null'", "NULL");
    insert("'broken'", r#"'{"status":"active" needle'"#);
    insert("'spaced'", r#"' {"status" : "active"} '"#);
    insert("'no-object'", r#"'"needle"'"#);
    insert("'needle-by-name'", r#"'{"status":"a"}'"#);
    insert("x'00'", r#"'{"status":"active","note":"needle"}'"#);
    let status = |status: &str| {
        conformance::listed_as_scanned(&bench, &Wanted { status: Some(status.to_owned()), ..Wanted::default() })
    };
    assert_eq!(status("active"), ["a", "blob", "escaped", "spaced"]);
    assert_eq!(
        (status("1.50"), status("true"), status("null")),
        (vec!["number".to_owned()], vec!["flag".to_owned()], vec![])
    );
    let search = |text: &str| {
        conformance::listed_as_scanned(
            &bench,
            &Wanted { all: true, text: Some(Needle::new(text)), ..Wanted::default() },
        )
    };
    let expected = ["a", "blob", "broken", "escaped", "needle-by-name", "no-object", "number", "twice"];
    assert_eq!(search("needle"), expected);
    for text in ["active", "1", "k", "i", "\"", "{", "ü"] {
        search(text);
    }
}

/// Lists read page by page: each row once, on whichever side of a page's end it is.
#[test]
fn a_list_has_every_row_once_whatever_its_pages() {
    let bench = Bench::new(Kind::Sqlite);
    put(&mut *bench.store(), "0", "title: the first\n");
    let mut there = 1;
    for count in [99, 100, 101, 224, 225, 226, 700] {
        bench.sqlite3(
            "enterprise.db",
            &format!(
                "WITH RECURSIVE n(n) AS (SELECT {there} UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {count})
                 INSERT INTO milestones (id, data) SELECT printf('m-%04d', n), '{{\"note\":\"needle\"}}' FROM n"
            ),
        );
        there = count;
        let needle = Some(Needle::new("needle"));
        let found = conformance::listed_as_scanned(&bench, &Wanted { text: needle, ..Wanted::default() });
        assert_eq!(found.len(), count - 1);
        assert_eq!(conformance::listed_as_scanned(&bench, &Wanted::default()).len(), count);
    }
}

/// A table is made anew with ids of which a collation takes two for one: also a store that has the file open writes nothing then, and
/// goes on once the table compares by bytes again.
#[test]
fn a_table_that_is_made_anew_is_looked_at_anew() {
    let bench = Bench::new(Kind::Sqlite);
    let mut open = bench.store();
    put(&mut *open, "a", "title: kept\n");
    assert_eq!(figures(&mut *open).milestone_count, 1);
    let made_anew = |collation: &str| {
        bench.sqlite3(
            "enterprise.db",
            &format!(
                "BEGIN; CREATE TABLE other(id TEXT PRIMARY KEY {collation}, data TEXT, created_at TEXT, updated_at TEXT);
                 INSERT INTO other SELECT id, data, created_at, updated_at FROM milestones;
                 DROP TABLE milestones; ALTER TABLE other RENAME TO milestones; COMMIT"
            ),
        )
    };
    made_anew("COLLATE NOCASE");
    for mut store in [open, bench.store()] {
        made_anew("COLLATE NOCASE");
        let error = store.put(&draft("A", "title: another\n"), Seen::Nothing).unwrap_err();
        assert!(error.problem == Problem::Corrupt && error.cause.contains("two milestones would be taken"), "{error}");
        made_anew("");
        put(&mut *store, "A", "title: another\n");
        assert_eq!(figures(&mut *store).milestone_count, 2);
        bench.sqlite3("enterprise.db", "DELETE FROM milestones WHERE id = 'A'");
        assert_eq!(figures(&mut *store).milestone_count, 1, "what comes and goes in the new table is seen");
    }
}
