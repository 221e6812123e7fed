//! What other programs see of milescale's rows, and milescale of theirs.

use std::ops::ControlFlow;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use milescale_core::base::Side;
use milescale_document::id::Id;
use milescale_document::milestone::Packed;
use milescale_document::value::Value;
use milescale_storage::store::{Extent, Seen};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::any::{any_value, plain_number};
use super::bench::{Bench, Kind, draft, figures, put};

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

/// Runs the same statements in the shell of the database, and looks at what milescale makes of each.
fn by_name_and_by_position(bench: &Bench, shell: &dyn Fn(&str) -> String, text_of_title: &str) {
    let mut store = bench.store();
    put(&mut *store, "a", "title: it's \"one\"\nstatus: active\n");
    assert_eq!(shell(&format!("SELECT {text_of_title} FROM milestones WHERE id = 'a'")).trim(), "it's \"one\"");
    assert_eq!(
        shell("SELECT count(*) FROM milestones WHERE created_at IS NOT NULL AND updated_at IS NOT NULL").trim(),
        "1"
    );
    store.survey(&Extent::Everything, SystemTime::now()).unwrap();

    shell("UPDATE milestones SET data = '{\"title\":\"two\"}' WHERE id = 'a'");
    assert_eq!(
        store.get(&id("a")).unwrap().text,
        b"title: two\n",
        "the text that was put is not that of this row any more"
    );
    shell(
        "INSERT INTO milestones VALUES ('b', '{\"dependencies\":{\"requires\":[\"a\"]}}', '2026-11-22 09:30:00', '2026-11-23 10:00:00')",
    );
    shell("INSERT INTO milestones (id, data) VALUES ('c', '{\"status\":\"archived\"}')");
    let b = store.get(&id("b")).unwrap();
    assert_eq!(b.columns.created_at.as_deref(), Some("2026-11-22T09:30:00Z"));
    assert_eq!(b.updated_at.as_deref(), Some("2026-11-23T10:00:00Z"));
    let all = figures(&mut *store);
    assert_eq!((all.milestone_count, all.dependency_count), (2, 1));
    // A row that another program wrote is replaced only as it was seen.
    let seen = store.get(&id("b")).unwrap().digest();
    shell("UPDATE milestones SET data = '{\"title\":\"theirs\"}' WHERE id = 'b'");
    assert!(store.put(&draft("b", "title: ours\n"), Seen::Text(seen)).is_err());
    shell("DELETE FROM milestones WHERE id = 'a'");
    assert_eq!(figures(&mut *store).milestone_count, 1);
    assert_eq!(store.ids().unwrap(), ["b", "c"]);
}

#[test]
fn sqlite3_reads_updates_and_inserts_by_name_and_by_position() {
    let bench = Bench::new(Kind::Sqlite);
    let shell = |sql: &str| bench.sqlite3("enterprise.db", sql);
    by_name_and_by_position(&bench, &shell, "json_extract(data, '$.title')");
    let columns = shell("SELECT group_concat(name) FROM pragma_table_info('milestones')");
    assert_eq!(columns.trim(), "id,data,created_at,updated_at", "no column is added");
    // What REPLACE removes fires no trigger of its own.
    let mut store = bench.store();
    assert_eq!(figures(&mut *store).milestone_count, 1);
    shell("INSERT OR REPLACE INTO milestones VALUES ('b', '{\"status\":\"archived\"}', 'x', 'x')");
    assert_eq!(figures(&mut *store).milestone_count, 0);
    shell("UPDATE milestones SET id = 'renamed', data = '{}' WHERE id = 'b'");
    assert_eq!(figures(&mut *store).milestone_count, 1);
}

#[test]
fn psql_reads_updates_and_inserts_by_name_and_by_position() {
    let bench = Bench::new(Kind::Postgres);
    let shell = |sql: &str| bench.psql(sql);
    by_name_and_by_position(&bench, &shell, "data->>'title'");
    // A row of any shape is accepted, as without milescale's columns.
    for data in [
        "null",
        "[]",
        "5",
        "\"x\"",
        "{\"tasks\":5}",
        "{\"tasks\":[[{\"kiro_workflow\":{\"enabled\":true}}]]}",
        "{\"dependencies\":[]}",
        "{\"dependencies\":{\"requires\":{\"a\":null}}}",
    ] {
        shell(&format!(
            "INSERT INTO milestones (id, data) VALUES ('x', '{data}') ON CONFLICT (id) DO UPDATE SET data = excluded.data"
        ));
    }
    shell("INSERT INTO milestones (id, data) VALUES ('nothing', NULL)");
}

/// Figures by SQL and figures by Rust are the same, whatever shape the rows have.
#[test]
fn figures_in_postgresql_mean_what_they_mean_everywhere() {
    let bench = Bench::new(Kind::Postgres);
    let sqlite = Bench::new(Kind::Sqlite);
    let shapes = [
        r#"{"tasks":[{"kiro_workflow":{"enabled":true}},{"kiro_workflow":{"enabled":"true"}},{"kiro_workflow":{"enabled":"yes"}},{"kiro_workflow":{"enabled":1}}]}"#,
        r#"{"tasks":{"a":{"kiro_workflow":{"enabled":true}},"b":{"kiro_workflow":{}},"c":5,"d":null}}"#,
        r#"{"tasks":[[{"kiro_workflow":{"enabled":true}}],"x",null,{"kiro_workflow":[{"enabled":true}]},{"kiro_workflow":{"enabled":[true]}}]}"#,
        r#"{"tasks":{"a":[{"kiro_workflow":{"enabled":true}}]},"dependencies":{"requires":["a",null,{},[]]}}"#,
        r#"{"tasks":"x","dependencies":{"requires":"one"}}"#,
        r#"{"dependencies":{"requires":""}}"#,
        r#"{"dependencies":{"requires":7}}"#,
        r#"{"dependencies":{"requires":false}}"#,
        r#"{"dependencies":{"requires":{"a":1,"b":null}}}"#,
        r#"{"dependencies":{"requires":null}}"#,
        r#"{"dependencies":["requires"]}"#,
        r#"{"status":"archived","tasks":[{"kiro_workflow":{"enabled":true}}]}"#,
        r#"{"status":["archived"]}"#,
        r#"{"status":null}"#,
        r#"{"status":"Archived"}"#,
        "[1]",
        "null",
    ];
    for (number, shape) in shapes.iter().enumerate() {
        bench.psql(&format!("INSERT INTO milestones (id, data) VALUES ('m-{number:02}', '{shape}')"));
        sqlite.sqlite3(
            "enterprise.db",
            &format!("INSERT INTO milestones (id, data) VALUES ('m-{number:02}', '{shape}')"),
        );
        let (one, other) = (figures(&mut *bench.store()), figures(&mut *sqlite.store()));
        assert_eq!(one, other, "up to {shape}");
    }
    // Without milescale's columns the expressions stand in the query.
    let with = figures(&mut *bench.store());
    bench.psql("ALTER TABLE milestones DROP COLUMN milescale_active, DROP COLUMN milescale_kiro, DROP COLUMN milescale_requires");
    assert_eq!(figures(&mut *bench.store()), with);
    let mut store = bench.store();
    store.survey(&Extent::Everything, SystemTime::now()).unwrap();
    let flawed: Vec<String> = store.flawed().into_keys().collect();
    assert_eq!(flawed.len(), 2, "{flawed:?}");
}

/// How many of a shell's writes are refused while milescale reads everything all the time, beside a control without it.
fn refused_while_milescale_reads(bench: &Bench, shell: &dyn Fn(usize) -> Command) -> usize {
    let text = format!("title: x\nnote: {}\n", "n".repeat(1800));
    let drafts = (0..5000).map(|number| draft(&format!("m-{number}"), &text));
    bench.store().load(&mut drafts.map(Packed::of), Side::Files, 1).unwrap();
    let refused = || (0..WRITES).filter(|number| !shell(*number).output().unwrap().status.success()).count();
    let control = refused();
    let stop = AtomicBool::new(false);
    let (with, scans) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut store, mut scans) = (bench.store(), 0);
            while !stop.load(Ordering::Relaxed) {
                let on =
                    || if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                store.scan(&mut |_| on()).unwrap();
                scans += 1;
            }
            scans
        });
        let with = refused();
        stop.store(true, Ordering::Relaxed);
        (with, reader.join().unwrap())
    });
    println!(
        "{:?}: shell writes refused: {with} of {WRITES} beside {scans} scans of 5000 rows, {control} without milescale",
        bench.kind
    );
    assert_eq!(control, 0);
    with
}

/// Writes of a shell in each part of a measurement.
const WRITES: usize = 300;

#[test]
fn a_shell_of_sqlite_is_seldom_refused_while_milescale_reads() {
    let bench = Bench::new(Kind::Sqlite);
    let refused = refused_while_milescale_reads(&bench, &|number| {
        let sql = format!("UPDATE milestones SET data = '{{\"n\":{number}}}' WHERE id = 'm-{number}'");
        let mut command = Command::new("sqlite3");
        command.arg(bench.path("enterprise.db")).arg(sql);
        command
    });
    assert!(refused * 4 < WRITES, "{refused} of {WRITES}: a long read transaction refuses nearly all");
}

#[test]
fn a_shell_of_postgresql_is_never_refused_while_milescale_reads() {
    let bench = Bench::new(Kind::Postgres);
    let refused = refused_while_milescale_reads(&bench, &|number| {
        let mut command = bench.postgres.as_ref().unwrap().client("plans");
        command.args(["-c", &format!("UPDATE milestones SET data = '{{\"n\":{number}}}' WHERE id = 'm-{number}'")]);
        command
    });
    assert_eq!(refused, 0);
}

/// What milescale writes reads the same in `PyYAML` (YAML 1.1) and in Debian's yq.
#[test]
fn other_readers_of_yaml_find_the_same_values() {
    let json = serde_json::json!({
        "words": ["no", "Yes", "on", "y", "null", "~", "", "true", "Null"],
        "numbers in quotes": ["0755", "12:30", "1_000", "1e3", ".5", "0x1f", "0o17", "-1", "+1", "190:20:30"],
        "dates": ["2026-11-22", "2026-11-22T09:30:00Z", "2026-11-22 09:30:00"],
        "numbers": [0, -7, 1.5, 1e3, 1.25e-7, 9_007_199_254_740_991_u64],
        "lines": ["one\ntwo\n", "one\ntwo", "one\n\n", " one\ntwo", "a\r\nb", "tab\tb", "end \nx", "# no\n- comment\n"],
        "signs": ["- a", "? a", ": a", "a: b", "a #b", "&a", "*a", "!a", "%a", "@a", "`a", "{a", "[a", "\"", "'", "\\", "=", "<<", "|", ">", "---", "..."],
        "letters": ["é", "ünï", "🔄", "\u{85}", "\u{2028}", "\u{feff}", "\u{7f}", "\u{1b}[0m", "日本"],
        "nested": {"empty list": [], "empty map": {}, "no": {"2026": [[["x"]], {"a": null}]}},
        "long": {"k".repeat(300): "v".repeat(300)},
        "null": null,
    });
    let value = Value::from_json(&json.to_string()).unwrap();
    // And whatever chance brings.
    let mut runner = TestRunner::default();
    let strategy = any_value(plain_number().boxed());
    let drawn = (0..400).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let value = value.with("drawn", Value::List(drawn));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(&path, milescale_document::yaml::write::write(&value)).unwrap();
    let read = |program: &str, arguments: &[&str]| -> serde_json::Value {
        let output = Command::new(program).args(arguments).arg(&path).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1], encoding='utf-8'))))";
    for found in [read("python3", &["-c", script]), read("yq", &["."])] {
        let found = Value::from_json(&found.to_string()).unwrap();
        assert!(found == value, "{}\n{}\n{}", found.to_json(), value.to_json(), path.display());
    }
}

/// Whoever looks only once, as `check` does, goes by when the files and the index were last changed.
#[test]
fn a_difference_of_the_index_is_as_old_as_the_last_change_of_either() {
    let bench = Bench::new(Kind::Hybrid);
    for name in ["a", "b", "sub-0"] {
        put(&mut *bench.store(), name, &format!("title: {name}\n"));
    }
    std::fs::write(bench.path("active/a.yaml"), "title: later\n").unwrap();
    std::fs::write(bench.path("active/new.yaml"), "title: new\n").unwrap();
    std::fs::remove_file(bench.path("active/b.yaml")).unwrap();
    let first_look = |seconds: u64| {
        let mut store = bench.store();
        store.survey(&Extent::Everything, SystemTime::now()).unwrap();
        let (due, again) = store.differing(SystemTime::now() + std::time::Duration::from_secs(seconds)).unwrap();
        store.mend().unwrap();
        (due.len(), again.is_some())
    };
    assert_eq!(first_look(5), (0, true));
    assert_eq!(first_look(11), (3, false));
    assert_eq!(
        bench.sqlite3("index.db", "SELECT id, title FROM milestones ORDER BY id"),
        "a|later\nnew|new\nsub-0|sub-0\n"
    );
    // The index has just been changed: what its writer does next may be the file.
    bench.sqlite3("index.db", "DELETE FROM milestones WHERE id = 'a'");
    assert_eq!(first_look(9), (0, true));
    assert_eq!(first_look(20), (1, false));
}
