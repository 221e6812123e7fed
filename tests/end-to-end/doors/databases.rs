//! What an SQLite database and what lies beside it may make SQLite do.

use std::process::Command;
use std::time::{Duration, Instant};

use super::bounds::{ENDLESS, measured, on_sqlite, sql};
use super::rights::{LIST, give_list, list_at, one_reader_named};
use super::{bounded, door};
use crate::workspace;

/// The journal of a transaction over several databases names the one above it, which SQLite removes once it has rolled back.
#[test]
fn a_journal_that_names_another_file_removes_nothing() {
    let victim = tempfile::NamedTempFile::new().unwrap();
    for (database, to) in [("enterprise.db", "database"), ("index.db", "hybrid")] {
        let workspace = workspace();
        workspace.milestones("m", 3);
        assert_eq!(workspace.run(["migrate", to, "--yes"]).code, 0);
        let script = "import struct, sys, os
db, victim = sys.argv[1:]
page = struct.unpack('>H', open(db, 'rb').read(18)[16:])[0]
original = open(db, 'rb').read(page)
nonce, sector = 1, 512
def checksum(data):
    total, at = nonce, len(data) - 200
    while at > 0:
        total += data[at]; at -= 200
    return total & 0xffffffff
head = bytes.fromhex('d9d505f920a163d7') + struct.pack('>IIIII', 1, nonce, os.path.getsize(db) // page, sector, page)
name = victim.encode()
body = struct.pack('>I', 1) + original + struct.pack('>I', checksum(original))
above = struct.pack('>I', 0x40000000 // page + 1) + name + struct.pack('>II', len(name), sum(name)) + bytes.fromhex('d9d505f920a163d7')
open(db + '-journal', 'wb').write(head.ljust(sector, b'\\0') + body + above)";
        let path = workspace.path(database);
        let made = Command::new("python3").args(["-c", script]).arg(&path).arg(victim.path()).status().unwrap();
        assert!(made.success());
        for arguments in
            [&["status"][..], &["milestone", "list"], &["milestone", "put", "m-0"], &["check"], &["doctor"]]
        {
            bounded(&workspace, arguments);
            assert!(victim.path().exists(), "{database}, {arguments:?}");
        }
        let said = bounded(&workspace, &["doctor"]);
        assert!(said.out.contains("a transaction over several databases"), "{said:?}");
    }
    door("(new)", "a journal of SQLite that names a file to remove", "0 removed");
}

/// The same journal, put there and taken away again and again: no look at it beforehand can see it in time.
#[test]
fn a_journal_that_comes_and_goes_removes_nothing_either() {
    let victim = tempfile::NamedTempFile::new().unwrap();
    let workspace = on_sqlite();
    let script = "import os, struct, sys, time
os.chdir(sys.argv[1]); victim = sys.argv[2].encode()
head = open('enterprise.db', 'rb').read(100)
page, count = struct.unpack('>H', head[16:18])[0], struct.unpack('>I', head[28:32])[0]
magic = bytes.fromhex('d9d505f920a163d7')
journal = (magic + struct.pack('>IIIII', 0, 1, count, 512, page)).ljust(512, b'\\0')
journal += struct.pack('>I', 0x40000000 // page + 1) + victim + struct.pack('>II', len(victim), sum(victim)) + magic
end, times = time.time() + float(sys.argv[3]), 0
def spin():
    until = time.perf_counter() + 0.002
    while time.perf_counter() < until: pass
while time.time() < end:
    if not os.path.exists('evil'): open('evil', 'wb').write(journal)
    os.rename('evil', 'enterprise.db-journal'); spin(); times += 1
    try: os.rename('enterprise.db-journal', 'evil')
    except FileNotFoundError: pass
    spin()
try: os.remove('enterprise.db-journal')
except FileNotFoundError: pass
print(times)";
    let seconds = if std::env::var_os("MILESCALE_LONG").is_some() { "60" } else { "4" };
    let mut racer = Command::new("python3")
        .args(["-c", script])
        .arg(workspace.path(""))
        .arg(victim.path())
        .arg(seconds)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut runs = 0;
    while racer.try_wait().unwrap().is_none() {
        for arguments in [&["milestone", "list"][..], &["milestone", "put", "m-0"], &["check"]] {
            bounded(&workspace, arguments);
            assert!(victim.path().exists(), "{arguments:?}");
            runs += 1;
        }
    }
    let times = String::from_utf8_lossy(&racer.wait_with_output().unwrap().stdout).trim().to_owned();
    assert!(times.parse::<u32>().unwrap() > 100, "{times}");
    assert_eq!(bounded(&workspace, &["milestone", "list"]).code, 0);
    door(
        "(new)",
        "the same journal, put there and taken away without a pause",
        format!("{runs} commands, {times} times: 0 removed"),
    );
}

#[test]
fn what_sqlite_opens_beside_a_database_is_regular() {
    for suffix in ["-journal", "-wal", "-shm"] {
        let workspace = on_sqlite();
        let beside = workspace.path(format!("enterprise.db{suffix}"));
        assert!(Command::new("mkfifo").arg(&beside).status().unwrap().success());
        for arguments in [&["status"][..], &["milestone", "list"], &["check"]] {
            let began = Instant::now();
            let said = bounded(&workspace, arguments);
            assert!(began.elapsed() < Duration::from_secs(5), "{suffix}, {arguments:?}: {said:?}");
        }
        assert!(bounded(&workspace, &["milestone", "list"]).err.contains("no regular file, and SQLite would open it"));
        std::fs::remove_file(beside).unwrap();
        assert_eq!(bounded(&workspace, &["milestone", "list"]).code, 0);
    }
    door("(new)", "FIFOs as the files beside a database", "none waits");
}

#[test]
fn views_in_the_place_of_milescales_own_tables_are_named() {
    for table in ["milescale_texts", "milescale_base", "milescale_sides", "milescale_changes", "milescale_displaced"] {
        let workspace = on_sqlite();
        sql(
            &workspace,
            &format!(
                "DROP TABLE {table}; CREATE VIEW {table} AS {ENDLESS} SELECT n AS id, n AS side, n AS text, n AS number FROM c"
            ),
        );
        let said = bounded(&workspace, &["milestone", "list"]);
        assert!(said.err.contains(&format!("{table} is a view and no table")), "{table}: {said:?}");
    }
    door("(new)", "views in the place of milescale's own tables", "5 of 5 refused by name");
}

/// Where the driver's thread dies of what it cannot have, what it has sent before is not all there is.
#[test]
fn rows_that_do_not_fit_into_memory_are_never_taken_for_fewer() {
    let workspace = on_sqlite();
    sql(
        &workspace,
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 60) INSERT INTO milestones (id, data) SELECT \
         CAST('blob' || n AS BLOB), zeroblob(8000000) FROM c",
    );
    let (said, megabytes, _) = measured(&workspace, &["status", "--json"]);
    let status = said.json();
    let counted = status["milestone_count"].as_u64().or(status["figures"]["milestone_count"].as_u64());
    let is_stale = said.out.contains("\"stale\": true") || said.out.contains("not of now");
    assert!(megabytes < 400 && (counted == Some(63) || is_stale), "{megabytes} MiB, {counted:?}: {:.600}", said.out);
    door("(new)", "rows that do not fit into the memory that SQLite is given", "never taken for fewer");
}

/// Writes into a database what no program writes: a schema as its author wants it.
fn forge(database: &std::path::Path, script: &str) {
    let whole = format!("import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n{script}");
    let done = Command::new("python3").args(["-c", &whole]).arg(database).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_definition_that_goes_on_with_other_statements_is_not_carried_out() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim.db");
    forge(&victim, "c.execute(\"CREATE TABLE t AS SELECT 's3cr3t' AS x\")");
    let before = std::fs::read(&victim).unwrap();
    let workspace = workspace();
    workspace.milestones("m", 3);
    forge(
        &workspace.path("enterprise.db"),
        &format!(
            "c.execute('CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSON, created_at TEXT, updated_at TEXT)')
c.execute('PRAGMA writable_schema = ON')
more = \"; ATTACH '{0}/victim.db' AS v; CREATE TABLE v.stolen (x); VACUUM INTO '{0}/made.db'\"
c.execute(\"UPDATE sqlite_master SET sql = sql || ?\", (more,))",
            outside.path().display()
        ),
    );
    let mut outcomes = Vec::new();
    for arguments in [
        &["migrate", "database", "--engine", "sqlite", "--dry-run"][..],
        &["migrate", "database", "--engine", "sqlite", "--yes"],
        &["check"],
        &["doctor"],
    ] {
        outcomes.push(bounded(&workspace, arguments));
        assert_eq!(std::fs::read(&victim).unwrap(), before, "{arguments:?}");
        assert!(!outside.path().join("made.db").exists(), "{arguments:?}");
    }
    assert!(outcomes[0].code == 1 && outcomes[0].out.contains("more than one statement"), "{:?}", outcomes[0]);
    door(
        "(new)",
        "a definition in a database's schema that goes on with ATTACH and VACUUM INTO",
        "0 files made or changed outside",
    );
}

#[test]
fn a_schema_of_any_size_is_given_up() {
    let (mut most, mut longest) = (0, 0.0_f64);
    for script in [
        "c.execute('PRAGMA writable_schema = ON')
c.execute(\"INSERT INTO sqlite_master VALUES ('view', 'v', 'v', 0, 'CREATE VIEW v AS SELECT ' || ?)\", ('1' + ' + 1' * 30_000_000,))",
        "c.execute('BEGIN'); c.execute('PRAGMA writable_schema = ON')
columns = ', '.join(f'c{n} TEXT' for n in range(200))
for n in range(30_000): c.execute(\"INSERT INTO sqlite_master VALUES ('table', ?, ?, 2, ?)\", (f't{n}', f't{n}', f'CREATE TABLE t{n} ({columns})'))
c.execute('COMMIT')",
    ] {
        let workspace = on_sqlite();
        forge(&workspace.path("enterprise.db"), script);
        for arguments in [&["status"][..], &["milestone", "list"], &["doctor"]] {
            let (said, megabytes, took) = measured(&workspace, arguments);
            assert!(megabytes < 400 && took < Duration::from_secs(15), "{arguments:?}: {megabytes} MiB, {took:?}: {said:?}");
            (most, longest) = (most.max(megabytes), longest.max(took.as_secs_f64()));
        }
    }
    door("D12", "a schema of 120 MB, and one of 30,000 tables", format!("at most {most} MiB and {longest:.1} s"));
}

#[test]
fn triggers_and_views_one_within_the_other_are_refused_by_their_number() {
    let workspace = on_sqlite();
    let chain = |from: usize, to: usize| -> String {
        let one = |n: usize| {
            format!(
                "CREATE TABLE q{n} (x); CREATE TRIGGER t{n} AFTER INSERT ON q{} BEGIN INSERT INTO q{n} VALUES (1); END;",
                n - 1
            )
        };
        (from..to).map(one).collect()
    };
    let first =
        "CREATE TABLE q0 (x); CREATE TRIGGER t0 AFTER UPDATE ON milestones BEGIN INSERT INTO q0 VALUES (1); END;";
    sql(&workspace, &format!("BEGIN; {first}{}COMMIT;", chain(1, 100)));
    let digest = workspace.run(["milestone", "show", "m-0", "--digest"]).out.trim().to_owned();
    let said = bounded(&workspace, &["milestone", "put", "m-0", "--if-match", &digest]);
    assert_eq!(said.code, 0, "what somebody may have is used: {said:?}");
    for from in (100..1500).step_by(200) {
        sql(&workspace, &format!("BEGIN; {}COMMIT;", chain(from, from + 200)));
    }
    for arguments in [&["milestone", "list"][..], &["milestone", "archive", "m-1"], &["check"], &["status"]] {
        let (said, _, took) = measured(&workspace, arguments);
        let told = format!("{}{}", said.out, said.err);
        assert!(
            took < Duration::from_secs(10) && told.contains("triggers and views"),
            "{arguments:?}: {took:?}: {said:?}"
        );
    }
    // Views that are joined with themselves: nobody asks for their columns.
    let workspace = on_sqlite();
    let view = |n: usize| format!("CREATE VIEW v{n} AS SELECT a.* FROM v{0} a JOIN v{0} b;", n - 1);
    let views: String = (1..30).map(view).collect();
    sql(&workspace, &format!("CREATE VIEW v0 AS SELECT 1 AS x; {views}"));
    let (said, _, took) = measured(&workspace, &["milestone", "list"]);
    assert!(said.code == 0 && took < Duration::from_secs(5), "{took:?}: {said:?}");
    door(
        "D12",
        "1,500 triggers, each of which runs the next one; 30 views, each of which joins the one before with itself",
        "refused by their number; never worked out",
    );
}

#[test]
fn ids_of_any_size_are_no_ids() {
    let (mut most, mut longest) = (0, 0.0_f64);
    // With an index of ids, and without one.
    for table in ["id TEXT PRIMARY KEY", "id TEXT", "id"] {
        let workspace = on_sqlite();
        sql(
            &workspace,
            &format!(
                "DROP TABLE milestones; CREATE TABLE milestones ({table}, data TEXT, created_at TEXT, updated_at TEXT);
                 INSERT INTO milestones VALUES ('m-001', '{{}}', '', '');
                 WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 40)
                 INSERT INTO milestones SELECT n || hex(zeroblob(4000000)), '{{}}', '', '' FROM c"
            ),
        );
        for arguments in [&["check"][..], &["milestone", "list"], &["milestone", "list", "--text", "x"], &["doctor"]] {
            let (said, megabytes, took) = measured(&workspace, arguments);
            assert!(
                megabytes < 400 && took < Duration::from_secs(15),
                "{arguments:?}: {megabytes} MiB, {took:?}: {said:?}"
            );
            (most, longest) = (most.max(megabytes), longest.max(took.as_secs_f64()));
            if arguments == ["milestone", "list"] {
                assert!(said.code == 0 && said.out.contains("m-001"), "{said:?}");
            }
        }
        let said = workspace.run(["doctor"]).out;
        assert!(said.contains("40 rows have no id that is a text of at most 1024 bytes (rowid "), "{said}");
        assert_eq!(workspace.status()["milestone_count"], 41);
    }
    door("D12", "40 ids of 8 MB in SQLite", format!("at most {most} MiB and {longest:.1} s"));
}

#[test]
fn a_trigger_fills_no_disk() {
    let workspace = on_sqlite();
    sql(
        &workspace,
        "CREATE TABLE heap (b); CREATE TRIGGER t AFTER UPDATE ON milestones BEGIN INSERT INTO heap WITH RECURSIVE c(n) AS (SELECT 1 \
         UNION ALL SELECT n + 1 FROM c WHERE n < 1000) SELECT zeroblob(1000000) FROM c; END",
    );
    let before = std::fs::metadata(workspace.path("enterprise.db")).unwrap().len();
    let said = bounded(&workspace, &["milestone", "archive", "m-1"]);
    assert!(said.code != 0 && said.err.contains("more than twice as large: look at those triggers"), "{said:?}");
    let grown = std::fs::metadata(workspace.path("enterprise.db")).unwrap().len() - before;
    assert!(grown < 300 << 20, "{grown}");
    // What an application keeps beside each milestone is no such thing.
    sql(
        &workspace,
        "DROP TRIGGER t; CREATE TRIGGER t AFTER UPDATE ON milestones BEGIN INSERT INTO heap VALUES (zeroblob(1000000)); END",
    );
    assert_eq!(bounded(&workspace, &["milestone", "archive", "m-1"]).code, 0);
    door("D12", "a trigger that writes 1 GB for each milestone", format!("refused; {} MiB grown", grown >> 20));
}

/// The journal of a database that has a list of rights is for nobody whom that keeps out.
#[test]
fn what_lies_beside_a_database_has_its_rights() {
    use std::os::unix::fs::MetadataExt;
    let workspace = on_sqlite();
    let database = workspace.path("enterprise.db");
    assert!(Command::new("sqlite3").arg(&database).arg("PRAGMA journal_mode = WAL").output().unwrap().status.success());
    let list = one_reader_named(7777);
    if !give_list(&database, LIST, &list) {
        return;
    }
    let (beside, daemon) = (workspace.path("enterprise.db-wal"), workspace.daemon(["--interval", "1"]));
    milescale_testkit::until("the daemon has it open", || beside.exists().then_some(()));
    assert_eq!(bounded(&workspace, &["milestone", "put", "m-9"]).code, 0);
    let found = list_at(&beside);
    let mode = std::fs::metadata(&beside).unwrap().mode() & 0o777;
    daemon.stop();
    assert_eq!((found, mode), (Some(list), 0o640), "{mode:o}");
    door("D8", "what SQLite makes beside a database with a list of rights", "has that list");
}

#[test]
fn a_journal_that_no_database_has_left_is_not_undone() {
    let workspace = on_sqlite();
    let journal = workspace.path("enterprise.db-journal");
    // The beginnings of many journals, one after another: SQLite would look at each.
    let mut head = vec![0_u8; 32];
    head[..8].copy_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    head[16..20].copy_from_slice(&11_u32.to_be_bytes());
    head[24..28].copy_from_slice(&4096_u32.to_be_bytes());
    for (sector, length) in [(32_u32, 8 << 20), (512, 128 << 20)] {
        head[20..24].copy_from_slice(&sector.to_be_bytes());
        let mut sectors = head.clone();
        sectors.resize(sector as usize, 0);
        std::fs::write(&journal, sectors.repeat(length / sectors.len())).unwrap();
        for arguments in [&["milestone", "list"][..], &["check"], &["milestone", "put", "m-9"]] {
            let began = Instant::now();
            let said = bounded(&workspace, arguments);
            let text = format!("{}{}", said.out, said.err);
            assert!(
                text.contains("far larger than its database, or begins as none"),
                "{sector}, {arguments:?}: {said:?}"
            );
            assert!(began.elapsed() < Duration::from_secs(10), "{sector}, {arguments:?}");
        }
        std::fs::remove_file(&journal).unwrap();
        assert_eq!(bounded(&workspace, &["milestone", "list"]).code, 0);
    }
    door("D12", "journals of SQLite made of nothing but beginnings", "2 of 2 refused by name");
}

/// A constraint that lets a row go where another one is in conflict with it (`ON CONFLICT REPLACE`) lets none go for a milestone of milescale's.
#[test]
fn no_milestone_takes_the_place_of_another_one() {
    let table = |more: &str| {
        format!("CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT{more})")
    };
    let replaces = table(", title TEXT AS (json_extract(data, '$.title')) STORED UNIQUE ON CONFLICT REPLACE");
    let written =
        |workspace: &milescale_testkit::Workspace, id: &str| crate::milestones::put(workspace, &[id], "title: Same\n");
    // A row of another program, and a put.
    let workspace = workspace();
    workspace.write("config/storage-backend.txt", "database\n");
    let row = r#"INSERT INTO milestones (id, data, created_at, updated_at) VALUES ('a', '{"title":"Same","notes":"only here"}', 'x', 'x')"#;
    sql(&workspace, &format!("{replaces}; {row}"));
    bounded(&workspace, &["check"]);
    let said = written(&workspace, "b");
    assert!(
        said.code == 1 && said.err.contains("UNIQUE constraint failed") && said.err.contains("what refuses it"),
        "{said:?}"
    );
    let list = bounded(&workspace, &["milestone", "list"]).out;
    assert!(list.starts_with("a ") && list.lines().count() == 1, "{list}");
    // A move names it.
    let workspace = crate::workspace();
    for id in ["a", "b"] {
        assert_eq!(written(&workspace, id).code, 0);
    }
    sql(&workspace, &replaces);
    let said = bounded(&workspace, &["migrate", "database", "--yes"]);
    assert!(said.code == 1 && format!("{}{}", said.out, said.err).contains("UNIQUE constraint failed"), "{said:?}");
    // So does one whose target has a trigger that takes one out for another.
    let workspace = crate::workspace();
    for id in ["a", "b"] {
        assert_eq!(written(&workspace, id).code, 0);
    }
    let trigger = "CREATE TRIGGER t AFTER INSERT ON milestones BEGIN DELETE FROM milestones WHERE id <> new.id; END";
    sql(&workspace, &format!("{}; {trigger}", table("")));
    let said = bounded(&workspace, &["migrate", "database", "--yes"]);
    let said_so = ["not all milestones that were written there stay", "would take 1 other milestones with it"];
    assert!(said.code == 1 && said_so.iter().any(|it| said.err.contains(it)), "{said:?}");
    assert_eq!(bounded(&workspace, &["milestone", "list"]).out.lines().count(), 2);
    assert!(workspace.path("active/a.yaml").exists() && workspace.path("active/b.yaml").exists());
    door(
        "(new)",
        "a table that lets one milestone go for another: by a constraint, by a trigger; a put and moves",
        "0 lost",
    );
}

/// An index in another order than its definition says leads each reader of pages back to where he was.
#[test]
fn rows_in_no_order_end() {
    let workspace = milescale_testkit::Workspace::empty(crate::BINARY);
    workspace.write("config/storage-backend.txt", "database\n");
    forge(
        &workspace.path("enterprise.db"),
        "c.execute('PRAGMA page_size = 65536')
N, probes, low, high = 2500, set(), 0, 2499
while high >= low:
    middle = (low + high) >> 1; probes.add(middle); high = middle - 1
ids = ['z%05d' % i if i in probes else 'a%05d' % (N - i) for i in range(N)]
place = {id: i for i, id in enumerate(ids)}
c.create_collation('other', lambda a, b: (place[a] > place[b]) - (place[a] < place[b]))
c.execute('CREATE TABLE milestones(id TEXT PRIMARY KEY COLLATE other, data TEXT, created_at TEXT, updated_at TEXT)')
c.executemany('INSERT INTO milestones VALUES (?, ?, ?, ?)', [(id, '{\"title\":\"T\"}', 'x', 'x') for id in ids])
c.execute('PRAGMA writable_schema = 1')
c.execute(\"UPDATE sqlite_schema SET sql = replace(sql, ' COLLATE other', '')\")",
    );
    let all = [
        &["status"][..],
        &["check"],
        &["doctor"],
        &["milestone", "list", "--json"],
        &["milestone", "export"],
        &["migrate", "file", "--dry-run"],
    ];
    let mut longest = Duration::ZERO;
    for arguments in all {
        let began = Instant::now();
        let said = bounded(&workspace, arguments);
        longest = longest.max(began.elapsed());
        let text = format!("{}{}", said.out, said.err);
        assert!(
            text.contains("its rows are in no order"),
            "{arguments:?}: {}",
            &text[text.len().saturating_sub(500)..]
        );
        assert!(said.out.len() < 4 << 20, "{arguments:?}: {}", said.out.len());
    }
    door("D12", "a database whose index leads in a circle", format!("named; {:.1} s at most", longest.as_secs_f64()));
}

#[test]
fn texts_of_another_encoding_are_named_and_never_read_as_nothing() {
    for (database, backend) in [("enterprise.db", "database"), ("index.db", "hybrid")] {
        let workspace = milescale_testkit::Workspace::empty(crate::BINARY);
        workspace.write("config/storage-backend.txt", format!("{backend}\n"));
        let made = Command::new("sqlite3")
            .arg(workspace.path(database))
            .arg("PRAGMA encoding = 'UTF-16'; CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)")
            .status()
            .unwrap();
        assert!(made.success());
        for arguments in [&["check"][..], &["milestone", "list"], &["milestone", "put", "b"], &["doctor"]] {
            let said = bounded(&workspace, arguments);
            let text = format!("{}{}", said.out, said.err);
            // The files are the truth of an index.
            let is_of_files = backend == "hybrid" && arguments.contains(&"put");
            assert!(is_of_files || text.contains("its texts are UTF-16le"), "{database}, {arguments:?}: {text}");
        }
    }
}

/// What this user may not read is not called something else, and nobody is told to remove it.
#[test]
fn a_journal_that_may_not_be_read_is_named_and_stays_needs_root() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = on_sqlite();
    let everybody =
        |path: &std::path::Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    assert!(Command::new("chmod").args(["-R", "a+rwX"]).arg(workspace.root()).status().unwrap().success());
    let mut somebody = milescale_testkit::Workspace::at(workspace.root(), crate::BINARY);
    somebody.wrapper =
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"].map(str::to_owned).to_vec();
    let home = tempfile::tempdir().unwrap();
    everybody(home.path(), 0o777);
    for suffix in ["-journal", "-wal"] {
        let beside = workspace.path(format!("enterprise.db{suffix}"));
        std::fs::write(&beside, "what a program has left").unwrap();
        everybody(&beside, 0o600);
        let mut command = somebody.command(["milestone", "list"]);
        let output =
            command.env("MILESCALE_TRUST", workspace.root()).env("XDG_CONFIG_HOME", home.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("you may not read it") && text.contains("Do not remove it"), "{suffix}: {text}");
        assert!(!text.contains("several databases"), "{text}");
        std::fs::remove_file(&beside).unwrap();
    }
}

/// A deletion that a trigger leaves out is none: the row stays with its text, and whoever asked is told.
#[test]
fn a_row_that_a_trigger_keeps_stays_with_its_comments_and_is_named() {
    let server = milescale_testkit::Postgres::start();
    for engine in ["sqlite", "postgresql"] {
        let workspace = workspace();
        if engine == "postgresql" {
            let url = server.url();
            workspace.write(
                "config/storage-config.yaml",
                format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n"),
            );
        }
        workspace.milestones("m", 2);
        for to in ["database", "file", "database"] {
            assert_eq!(bounded(&workspace, &["migrate", to, "--yes"]).code, 0, "{engine}");
        }
        let mut backups = std::fs::read_dir(workspace.path("backups")).unwrap().map(|it| it.unwrap().file_name());
        let backup = backups.find(|it| it.to_string_lossy().ends_with("-to-file")).unwrap();
        assert_eq!(crate::milestones::put(&workspace, &["n"], "title: new # mine\n").code, 0);
        let database = url_of(&server);
        if engine == "sqlite" {
            sql(&workspace, "CREATE TRIGGER keep BEFORE DELETE ON milestones BEGIN SELECT RAISE(IGNORE); END");
        } else {
            server.psql(&database, "SET ROLE ada; CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
                CREATE TRIGGER keep BEFORE DELETE ON milestones FOR EACH ROW EXECUTE FUNCTION keep()");
        }
        let said = bounded(&workspace, &["restore", backup.to_str().unwrap(), "--yes"]);
        assert!(format!("{}{}", said.out, said.err).contains("does not let n go"), "{engine}: {said:?}");
        assert_eq!(bounded(&workspace, &["milestone", "show", "n"]).out, "title: new # mine\n", "{engine}");
    }
}

/// The name of a server's database.
fn url_of(server: &milescale_testkit::Postgres) -> String {
    let url = server.url();
    url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned()
}
