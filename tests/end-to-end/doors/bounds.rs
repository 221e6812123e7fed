//! Bounds for bytes and time: databases, servers, certificates, logs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use milescale_testkit::{Said, Workspace};

use super::rights::{LIST, NOBODY, give_list, list_of_rights, one_reader_named};
use super::{bounded, door};
use crate::workspace;

/// Runs a command. What it took at most of memory, in MiB, and of time.
pub(super) fn measured(workspace: &Workspace, arguments: &[&str]) -> (Said, u64, Duration) {
    let began = Instant::now();
    let report = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%M", "-o"])
        .arg(report.path())
        .args(["timeout", "-k", "1", "60"])
        .arg(crate::BINARY)
        .args(arguments)
        .current_dir(workspace.root())
        .env("XDG_CONFIG_HOME", workspace.root().join(".config-of-the-person"))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let said = Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
    let kilobytes: u64 =
        std::fs::read_to_string(report.path()).unwrap().lines().last().unwrap().trim().parse().unwrap();
    assert_ne!(said.code, 124, "{arguments:?} hangs: {said:?}");
    (said, kilobytes >> 10, began.elapsed())
}

pub(super) fn on_sqlite() -> Workspace {
    let workspace = workspace();
    workspace.milestones("m", 3);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    workspace
}

pub(super) fn sql(workspace: &Workspace, statements: &str) {
    workspace.sqlite("enterprise.db", statements);
}

pub(super) const ENDLESS: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)";

#[test]
fn d12_a_view_that_never_ends_is_no_table() {
    let workspace = on_sqlite();
    sql(
        &workspace,
        &format!(
            "ALTER TABLE milestones RENAME TO others; CREATE VIEW milestones AS {ENDLESS} SELECT n AS id, '{{}}' AS data, '' AS \
             created_at, '' AS updated_at FROM c"
        ),
    );
    for arguments in [&["check"][..], &["status"], &["milestone", "list"], &["milestone", "put", "m-9"], &["doctor"]] {
        let said = bounded(&workspace, arguments);
        let all = format!("{}{}", said.out, said.err);
        assert!(all.contains("milestones is a view and no table"), "{arguments:?}: {said:?}");
    }
    door("D12", "`milestones` is a view without end", "refused by name");
}

#[test]
fn d12_a_trigger_that_never_ends_is_interrupted_and_nothing_of_the_write_stays() {
    let workspace = on_sqlite();
    workspace.write(
        "config/storage-config.yaml",
        "storage:\n  database: {type: sqlite}\n  performance: {query_timeout: 2}\n",
    );
    sql(
        &workspace,
        &format!(
            "CREATE TABLE others (id); CREATE TRIGGER t AFTER INSERT ON milestones BEGIN INSERT INTO others {ENDLESS} SELECT max(n) FROM c; END"
        ),
    );
    let began = Instant::now();
    let said = bounded(&workspace, &["milestone", "put", "m-new"]);
    assert!(said.code == 1 && said.err.contains("query_timeout") && said.err.contains("trigger"), "{said:?}");
    let took = began.elapsed().as_secs_f64();
    assert!(took < 10.0, "{took}");
    sql(&workspace, "DROP TRIGGER t");
    assert!(!bounded(&workspace, &["milestone", "list"]).out.contains("m-new"));
    assert_eq!(bounded(&workspace, &["milestone", "put", "m-new"]).code, 0);
    door(
        "D12",
        "a trigger without end, query_timeout 2",
        format!("given up after {took:.1} s; nothing of the write stays"),
    );
}

#[test]
fn d12_rows_of_any_size_are_named_and_fill_no_memory() {
    let workspace = on_sqlite();
    sql(&workspace, "INSERT INTO milestones (id, data) VALUES ('big', zeroblob(300000000))");
    for arguments in [
        &["check"][..],
        &["milestone", "list"],
        &["milestone", "show", "big"],
        &["milestone", "put", "big"],
        &["migrate", "file", "--yes"],
    ] {
        let (said, megabytes, _) = measured(&workspace, arguments);
        assert!(megabytes < 200, "{arguments:?}: {megabytes} MiB: {said:?}");
    }
    assert!(bounded(&workspace, &["milestone", "list"]).out.contains("larger than a milestone may be"));
    let said = bounded(&workspace, &["milestone", "show", "big"]);
    assert!(said.code == 1 && said.err.contains("larger than a milestone may be"), "{said:?}");
    // An id of that size, which no page can be read past.
    sql(
        &workspace,
        "DELETE FROM milestones; INSERT INTO milestones (id, data) VALUES (hex(zeroblob(200000000)), '{}')",
    );
    for arguments in [&["check"][..], &["milestone", "list"], &["status"]] {
        let (said, megabytes, _) = measured(&workspace, arguments);
        assert!(megabytes < 400, "{arguments:?}: {megabytes} MiB: {:.300}", said.err);
    }
    door("D12", "a row of 300 MB, an id of 400 MB", "named, within 200 and 400 MiB");
}

#[test]
fn d14_a_type_that_is_no_text_is_named() {
    let workspace = on_sqlite();
    let script = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1]); c.text_factory = bytes; c.execute('PRAGMA writable_schema = 1')
sql = c.execute(\"SELECT sql FROM sqlite_master WHERE name = 'milestones'\").fetchone()[0].replace(b'data TEXT', b'data T\\xff\\xfeXT')
c.execute(\"UPDATE sqlite_master SET sql = CAST(? AS TEXT) WHERE name = 'milestones'\", (sql,)); c.commit()";
    let done = Command::new("python3").args(["-c", script]).arg(workspace.path("enterprise.db")).status().unwrap();
    assert!(done.success());
    for arguments in [&["check"][..], &["milestone", "list"], &["milestone", "put", "m-9"], &["doctor"]] {
        let said = bounded(&workspace, arguments);
        let all = format!("{}{}", said.out, said.err);
        assert!(all.contains("its column data is no text in UTF-8"), "{arguments:?}: {said:?}");
    }
    door("D14", "a column type that is not UTF-8", "named");
}

/// A server that answers with these bytes, again and again, for as long as somebody listens.
fn serves(once: &'static [u8], again: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let again = again.clone();
            std::thread::spawn(move || serve(stream, once, &again));
        }
    });
    format!("postgresql://plans@127.0.0.1:{port}/plans?sslmode=disable&connect_timeout=3")
}

fn serve(mut stream: TcpStream, once: &[u8], again: &[u8]) -> Option<()> {
    let mut said = [0; 4096];
    let _ = stream.read(&mut said).ok()?;
    stream.write_all(once).ok()?;
    if again == b"now and then" {
        loop {
            stream.write_all(&message(b'D', b"\0\x01\0\0\0\x01x")).ok()?;
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    while !again.is_empty() {
        stream.write_all(again).ok()?;
    }
    std::thread::sleep(Duration::from_mins(1));
    Some(())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

#[test]
fn d11_a_server_that_floods_or_says_nothing_fills_no_memory_and_hangs_nobody() {
    let ready: &'static [u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    let row = message(b'D', &[&[0, 1][..], &1000_u32.to_be_bytes(), &[b'x'; 1000]].concat());
    let error = [&b"E"[..], &200_000_000_u32.to_be_bytes(), &vec![b'x'; 1 << 20]].concat();
    let notice = message(b'N', &[b"SNOTICE\0Mflood ".to_vec(), vec![b'x'; 30_000], b"\0\0".to_vec()].concat());
    let (mut most, mut longest) = (0, 0.0_f64);
    // Each of another name; the driver keeps them.
    let setting = |number: usize| message(b'S', format!("n{number}\0{}\0", "x".repeat(1000)).as_bytes());
    let settings: Vec<u8> = (0..20_000).flat_map(setting).collect();
    for (what, once, again) in [
        ("rows without end", ready, row.repeat(100)),
        ("an error of 200 MB", b"" as &[u8], error),
        ("notices without end", ready, notice.repeat(10)),
        ("settings without end", b"R\0\0\0\x08\0\0\0\0", settings),
        ("a message of 2 GB", b"S\x7f\xff\xff\xff", vec![b'x'; 1 << 20]),
        ("rows of nothing without end", ready, message(b'D', &[0, 0]).repeat(1000)),
        ("rows of many columns", ready, message(b'D', &[&5000_u16.to_be_bytes()[..], &vec![0; 20_000]].concat())),
        ("answers of nothing without end", ready, message(b'C', b"OK\0").repeat(1000)),
        ("a row now and then", ready, Vec::from(b"now and then")),
        ("nothing", b"", Vec::new()),
        ("nothing after it is ready", ready, Vec::new()),
        ("nonsense", b"HTTP/1.1 400 Bad Request\r\n\r\n", Vec::new()),
    ] {
        let workspace = workspace();
        workspace.milestones("m", 2);
        let url = serves(once, again);
        workspace.write(
            "config/storage-config.yaml",
            format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n  performance: {{query_timeout: 1}}\n"),
        );
        let (said, megabytes, took) = measured(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
        assert!(
            said.code == 1 && megabytes < 400 && took < Duration::from_secs(40),
            "{what}: {megabytes} MiB, {took:?}: {said:?}"
        );
        println!("{what}: {megabytes} MiB, {:.1} s", took.as_secs_f64());
        (most, longest) = (most.max(megabytes), longest.max(took.as_secs_f64()));
    }
    door(
        "D11",
        "servers that flood rows, notices, one message; that say nothing, or nonsense",
        format!("at most {most} MiB and {longest:.1} s"),
    );
}

#[test]
fn d11_certificates_are_regular_files_of_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let (fifo, large) = (folder.path().join("fifo"), folder.path().join("large"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    for path in ["/dev/zero", fifo.to_str().unwrap(), large.to_str().unwrap()] {
        for name in ["sslrootcert", "sslcert", "sslkey"] {
            let workspace = workspace();
            let all = format!(
                "sslmode=require&sslrootcert=/etc/ssl/certs/ca-certificates.crt&sslcert={path}&sslkey={path}&{name}={path}"
            );
            let url = format!("postgresql://plans@127.0.0.1:1/plans?{all}");
            workspace.write(
                "config/storage-config.yaml",
                format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n"),
            );
            let (said, megabytes, took) =
                measured(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
            assert!(
                said.code != 0 && megabytes < 200 && took < Duration::from_secs(10),
                "{path}: {megabytes} MiB: {said:?}"
            );
        }
    }
    door("D11", "certificates and keys that are a device, a FIFO, a terabyte", "each refused within 10 s and 200 MiB");
}

#[test]
fn logs_of_any_length_are_read_by_their_ends() {
    let workspace = workspace();
    let line = |number: usize| {
        format!(
            "{{\"timestamp\":\"2026-01-01T00:00:00Z\",\"event\":\"scale_status\",\"details\":{{\"number\":{number},\"pad\":\"{}\"}}}}\n",
            "x".repeat(1000)
        )
    };
    let text: String = (0..300_000).map(line).collect();
    workspace.write("logs/scale-events.jsonl", &text);
    workspace.write("logs/storage-events.jsonl", &text);
    for arguments in [&["events"][..], &["dashboard"], &["doctor"], &["status"], &["check"]] {
        let (said, megabytes, _) = measured(&workspace, arguments);
        assert!(megabytes < 150, "{arguments:?}: {megabytes} MiB: {:.300}", said.err);
    }
    assert!(bounded(&workspace, &["events", "--json"]).out.contains("\"number\":299999"));
    door("(new)", "logs of 340 MB, each command", "within 150 MiB");
}

#[test]
fn a_stop_is_heard_within_two_seconds_while_a_statement_never_ends_needs_root() {
    let workspace = on_sqlite();
    sql(
        &workspace,
        &format!(
            "CREATE TABLE others (id); CREATE TRIGGER t AFTER INSERT ON milestones BEGIN INSERT INTO others {ENDLESS} SELECT max(n) FROM c; END"
        ),
    );
    workspace.save("active/m-7.yaml", "title: late\n");
    let mut daemon = workspace.daemon_at_once([] as [&str; 0]);
    std::thread::sleep(Duration::from_secs(4));
    assert!(daemon.runs());
    let began = Instant::now();
    daemon.signal("TERM");
    let (_, log) = daemon.ended();
    let took = began.elapsed().as_secs_f64();
    assert!(took < 4.0, "{took}: {log}");
    door("D12", "SIGTERM while a statement never ends", format!("heard after {took:.1} s"));
}

#[test]
fn few_bytes_that_become_many_values_fill_no_memory() {
    // A row, and files with aliases.
    let workspace = on_sqlite();
    let values = format!("{{\"a\":[{}0]}}", "0,".repeat(7_900_000));
    let path = workspace.root().join("row.sql");
    std::fs::write(&path, format!("INSERT INTO milestones (id, data) VALUES ('z', '{values}');")).unwrap();
    let mut filled = Command::new("sh");
    filled.args(["-c", "sqlite3 \"$0\" < \"$1\""]).arg(workspace.path("enterprise.db")).arg(&path);
    assert!(filled.status().unwrap().success());
    let mut most = 0;
    for arguments in
        [&["status"][..], &["milestone", "list"], &["milestone", "show", "z"], &["migrate", "file", "--dry-run"]]
    {
        let (said, megabytes, took) = measured(&workspace, arguments);
        assert!(
            megabytes < 300 && took < Duration::from_secs(20),
            "{arguments:?}: {megabytes} MiB, {took:?}: {:.300}",
            said.err
        );
        most = most.max(megabytes);
    }
    let workspace = self::workspace();
    let mut text = "title: x\na0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for number in 1..6 {
        let before = format!("*a{}", number - 1);
        text.push_str(&format!("a{number}: &a{number} [{}]\n", [before.as_str(); 9].join(",")));
    }
    for number in 0..20 {
        workspace.write(format!("active/f{number}.yaml"), &text);
    }
    for arguments in [&["milestone", "export"][..], &["migrate", "hybrid", "--yes"]] {
        let (said, megabytes, _) = measured(&workspace, arguments);
        assert!(megabytes < 350, "{arguments:?}: {megabytes} MiB: {:.300}", said.err);
        most = most.max(megabytes);
    }
    door(
        "(new)",
        "a row with 7.9 million values; twenty files of 300 bytes with 600,000 values each by aliases",
        format!("at most {most} MiB"),
    );
}

#[test]
fn notes_beside_conflicts_are_bounded() {
    let workspace = workspace();
    workspace.milestones("m", 1);
    assert_eq!(workspace.run(["check"]).code, 0);
    let note = serde_json::json!({"id": "m", "at": "2026-01-01T00:00:00Z", "side": null, "place": "p", "reason": "r".repeat(900_000),
        "current": null, "backup": null});
    for number in 0..400 {
        let name = format!(".milescale/conflicts/20260101T000000Z-{number:016x}-files-0.m.yaml");
        workspace.write(&name, "title: x\n");
        workspace.write(format!("{name}.json"), note.to_string());
    }
    for arguments in [&["conflicts", "list"][..], &["check"]] {
        let (said, megabytes, took) = measured(&workspace, arguments);
        assert!(
            megabytes < 200 && took < Duration::from_secs(10),
            "{arguments:?}: {megabytes} MiB, {took:?}: {:.300}",
            said.err
        );
    }
}

#[test]
fn backups_of_any_size_are_bounded() {
    let workspace = on_sqlite();
    let id = std::fs::read_dir(workspace.path("backups")).unwrap().flatten().find_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("migration-").then_some(name)
    });
    let id = id.unwrap();
    let milestones = workspace.path(format!("backups/{id}/milestones.jsonl"));
    let metadata = format!("backups/{id}/backup-metadata.yaml");
    let of_size = |size: u64, digest: &str| {
        let text = workspace.read(&metadata);
        let lines = text.lines().map(|line| match line.split_once(':') {
            Some(("size_bytes", _)) => format!("size_bytes: {size}"),
            Some(("sha256", _)) if !digest.is_empty() => format!("sha256: {digest:?}"),
            _ => line.to_owned(),
        });
        workspace.write(&metadata, lines.collect::<Vec<_>>().join("\n") + "\n");
    };
    // A terabyte that is not there.
    let file = std::fs::OpenOptions::new().write(true).open(&milestones).unwrap();
    file.set_len(1 << 40).unwrap();
    for claims in [true, false] {
        if claims {
            of_size(1 << 40, "");
        }
        let (said, megabytes, took) = measured(&workspace, &["doctor"]);
        assert!(megabytes < 400 && took < Duration::from_secs(15), "{megabytes} MiB, {took:?}: {said:?}");
        of_size(2000, "");
    }
    let (said, _, took) = measured(&workspace, &["restore", &id, "--yes"]);
    assert!(said.code == 1 && took < Duration::from_secs(10), "{took:?}: {said:?}");
    // One line, whose digest is right.
    file.set_len(0).unwrap();
    file.set_len(400 << 20).unwrap();
    let digest = Command::new("sha256sum").arg(&milestones).output().unwrap();
    of_size(400 << 20, String::from_utf8_lossy(&digest.stdout).split(' ').next().unwrap());
    let (said, megabytes, _) = measured(&workspace, &["restore", &id, "--yes"]);
    assert!(
        said.code == 1 && megabytes < 400 && said.err.contains("longer than milescale writes"),
        "{megabytes} MiB: {said:?}"
    );
    door("D13", "a backup of a terabyte, and one of a line of 400 MB with its digest", "named, within memory and time");
}

#[test]
fn ids_without_end_fill_no_memory() {
    let workspace = on_sqlite();
    let list = format!("[{}\"\"]", "\"\",".repeat(20_000_000));
    for file in [".milescale/last-ids.json", ".milescale/held.json"] {
        let before = workspace.read(file);
        workspace.write(file, &list);
        let (said, megabytes, took) = measured(&workspace, &["status"]);
        assert!(megabytes < 400 && took < Duration::from_secs(15), "{file}: {megabytes} MiB, {took:?}: {said:?}");
        workspace.write(file, before);
    }
    door("D13", "60 MB of empty ids in files of state", "within 400 MiB");
}

#[test]
fn an_event_of_any_size_is_no_event() {
    let workspace = workspace();
    let keys: Vec<_> = (0..400_000).map(|number| format!("\"k{number}\":{{\"a\":1}}")).collect();
    let line = |details: &str| {
        format!(
            "{{\"timestamp\":\"2099-01-01T00:00:00Z\",\"event\":\"scale_status\",\"current_backend\":\"file\",\"details\":{details}}}\n"
        )
    };
    let long = line(&format!("{{{}}}", keys.join(",")));
    workspace.write("logs/scale-events.jsonl", format!("{}{}{long}", line("{\"here\":1}"), long.repeat(4)));
    let (mut most, mut longest) = (0, 0.0_f64);
    for arguments in [
        &["events"][..],
        &["events", "--json"],
        &["events", "--since", "7d", "--event", "scale_status"],
        &["dashboard"],
    ] {
        let (said, megabytes, took) = measured(&workspace, arguments);
        assert!(megabytes < 150 && took < Duration::from_secs(10), "{arguments:?}: {megabytes} MiB, {took:?}");
        assert!(said.code == 0 && !said.out.contains("k399999"), "{arguments:?}");
        (most, longest) = (most.max(megabytes), longest.max(took.as_secs_f64()));
    }
    assert!(bounded(&workspace, &["events"]).out.contains("here"));
    door("D13", "events of 7 MB and 400,000 keys", format!("at most {most} MiB and {longest:.1} s"));
}

#[test]
fn aliases_make_no_text_many_times_as_long() {
    let workspace = workspace();
    workspace.milestones("m", 2);
    let text = format!("title: a\nbig: &b \"{}\"\nl: [{}*b]\n", "x".repeat(60_000), "*b, ".repeat(20_000));
    workspace.write("active/a.yaml", text);
    let few = format!("title: b\nbig: &b \"{}\"\nl: [*b, *b, *b, *b]\n", "x".repeat(60_000));
    workspace.write("active/b.yaml", few);
    let mut most = 0;
    for arguments in [
        &["milestone", "list"][..],
        &["milestone", "show", "a", "--json"],
        &["milestone", "export", "--dir", "out"],
        &["check"],
        &["migrate", "hybrid", "--yes"],
        &["migrate", "database", "--yes"],
    ] {
        let (said, megabytes, took) = measured(&workspace, arguments);
        assert!(
            megabytes < 150 && took < Duration::from_secs(15),
            "{arguments:?}: {megabytes} MiB, {took:?}: {said:?}"
        );
        most = most.max(megabytes);
    }
    let listed = bounded(&workspace, &["milestone", "list"]).out;
    assert!(listed.contains("its aliases stand for more than") && listed.contains("b    -  medium  b"), "{listed}");
    door("D15", "120 kB whose aliases stand for 1.2 GB of text", format!("at most {most} MiB"));
}

#[test]
fn sparse_files_of_any_size_are_not_read() {
    let workspace = on_sqlite();
    let sparse = |path: &str| {
        let path = workspace.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(4 << 40).unwrap();
    };
    // What milescale keeps of a milestone has a digest in its name. Beside it lies one that another program has written to.
    sparse(".milescale/displaced/20260101T000000Z-0123456789abcdef-0123456789abcdef-0123456789ab.x.yaml");
    workspace.write(
        ".milescale/displaced/20260101T000000Z-0123456789abcdef-0123456789abcdef-ba9876543210.y.yaml",
        "title: late\n",
    );
    for name in ["x", "y"] {
        // The name in the conflicts is taken.
        let random = if name == "x" { "0123456789ab" } else { "ba9876543210" };
        let taken =
            format!(".milescale/conflicts/20260101T000000Z-0123456789abcdef-0123456789abcdef-{random}.{name}.yaml");
        workspace.write(&taken, "title: taken\n");
    }
    let mut longest = 0.0_f64;
    let mut within = |arguments: &[&str]| {
        let (said, megabytes, took) = measured(&workspace, arguments);
        assert!(
            megabytes < 150 && took < Duration::from_secs(10),
            "{arguments:?}: {megabytes} MiB, {took:?}: {said:?}"
        );
        longest = longest.max(took.as_secs_f64());
        said
    };
    milescale_testkit::until("both stand still, and are found", || {
        within(&["check"]);
        let listed = bounded(&workspace, &["conflicts", "list"]).out;
        (listed.matches("-again-1.").count() == 2).then_some(())
    });
    // A store in use that is gone: the newest backup is looked for.
    let backup = std::fs::read_dir(workspace.path("backups")).unwrap().next().unwrap().unwrap().path();
    let metadata = std::fs::read_to_string(backup.join("backup-metadata.yaml")).unwrap();
    let size = std::fs::metadata(backup.join("milestones.jsonl")).unwrap().len();
    let large = metadata.replace(&format!("size_bytes: {size}"), &format!("size_bytes: {}", 4_u64 << 40));
    assert_ne!(large, metadata);
    std::fs::write(backup.join("backup-metadata.yaml"), large).unwrap();
    std::fs::OpenOptions::new().write(true).open(backup.join("milestones.jsonl")).unwrap().set_len(4 << 40).unwrap();
    std::fs::remove_file(workspace.path("enterprise.db")).unwrap();
    for arguments in [&["doctor"][..], &["status"], &["check"], &["milestone", "list"]] {
        within(arguments);
    }
    door("D13", "sparse files of 4 TB among what was displaced, and as a backup", format!("at most {longest:.1} s"));
}

/// Runs a command that has much to do, and asks it to stop. How long it went on.
fn asked_to_stop(workspace: &Workspace, arguments: &[&str]) -> Duration {
    let mut child = workspace.command(arguments.iter().copied()).stdout(std::process::Stdio::null()).spawn().unwrap();
    // Once it has computed for a while; it may have ended by itself.
    let stat = format!("/proc/{}/stat", child.id());
    milescale_testkit::until("it is at work", || {
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
        let has_ended = fields.first().is_none_or(|state| *state == "Z");
        (has_ended || ticks(11) + ticks(12) >= 30).then_some(())
    });
    let asked = Instant::now();
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    child.wait().unwrap();
    asked.elapsed()
}

#[test]
fn what_there_is_much_of_is_left_for_later_and_a_stop_is_heard_meanwhile() {
    let long = std::env::var_os("MILESCALE_LONG").is_some();
    let mut longest = 0.0_f64;
    let mut within = |what: &str, took: Duration, most: u64| {
        assert!(took < Duration::from_secs(most), "{what}: {took:?}");
        longest = longest.max(took.as_secs_f64());
    };
    // Sparse files among what was displaced: each within the limit, together far beyond it.
    let workspace = self::workspace();
    std::fs::create_dir_all(workspace.path(".milescale/displaced")).unwrap();
    for number in 0..2000 {
        let name = format!(
            ".milescale/displaced/20260101T000000Z-0123456789abcdef-0123456789abcdef-{number:012x}.m{number}.yaml"
        );
        std::fs::File::create(workspace.path(&name)).unwrap().set_len(15 << 20).unwrap();
    }
    milescale_testkit::until("they stand still", || {
        let newest = workspace.path(".milescale/displaced").metadata().unwrap().modified().unwrap();
        newest.elapsed().is_ok_and(|age| age > Duration::from_secs(3)).then_some(())
    });
    within("displaced", asked_to_stop(&workspace, &["check"]), 5);
    // A backup that seems to be left over, deep and full.
    let workspace = self::workspace();
    let deep = format!("backups/.migration-x.partial/{}", "d/".repeat(1900));
    assert!(deep_folder(&workspace, &deep, if long { 90_000 } else { 10_000 }, |_| String::new()));
    within("a backup left over", asked_to_stop(&workspace, &["check"]), 5);
    // Rows of a base that are gone.
    let workspace = on_sqlite();
    let rows = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000) INSERT INTO milescale_base (side, id, value, text) \
                SELECT 'files', 'k' || n, value, text FROM milescale_base, c WHERE id = 'm-0'";
    workspace.sqlite("enterprise.db", rows);
    within("a base of rows that are gone", asked_to_stop(&workspace, &["check"]), 5);
    // A log of one row's changes.
    let workspace = on_sqlite();
    assert_eq!(bounded(&workspace, &["check"]).code, 0);
    let rows = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 2000000) INSERT INTO milescale_changes (id) SELECT \
                'm-0' FROM c";
    workspace.sqlite("enterprise.db", rows);
    within("a log of changes", measured(&workspace, &["check"]).2, 5);
    // Files that moves and crashes seem to have left.
    let workspace = self::workspace();
    for number in 0..if long { 150_000 } else { 20_000 } {
        std::fs::File::create(workspace.path(format!("active/.milescale-tmp-1-{number}"))).unwrap();
    }
    for number in 0..5000 {
        std::fs::File::create(workspace.path(format!("config/.milescale-switch-7-engine-{number}"))).unwrap();
    }
    within("what seems to be left over", measured(&workspace, &["check"]).2, 9);
    within("what seems to be left over, again", asked_to_stop(&workspace, &["check"]), 5);
    // Rows of an index without files.
    let workspace = self::workspace();
    workspace.milestones("m", 3);
    assert_eq!(workspace.run(["migrate", "hybrid", "--yes"]).code, 0);
    let rows = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300000) INSERT INTO milestones (id, title, \
                file_path) SELECT 'r' || n, 't', '.milestones/active/r' || n || '.yaml' FROM c";
    workspace.sqlite("index.db", rows);
    within("rows of an index without files", asked_to_stop(&workspace, &["check"]), 5);
    // Files that something is to be said of, in a deep folder.
    let workspace = self::workspace();
    let deep = format!("active/{}", "d/".repeat(1900));
    assert!(deep_folder(&workspace, &deep, 300, |number| format!("id: other-{number}\n")));
    within("remarks in a deep folder", measured(&workspace, &["status"]).2, 9);
    door(
        "D12, D13",
        "2,000 sparse files of 15 MiB displaced, a backup left over 1,900 deep, a base of 100,000 rows that are gone, a log of 2 million \
         changes, 20,000 files that seem to be left over, an index of 300,000 rows without files, 300 remarks in a folder 1,900 deep; a stop, or to the end",
        format!("at most {longest:.1} s"),
    );
}

#[test]
fn what_is_many_times_there_is_bounded_together() {
    // Lists of rights, each another one.
    let workspace = self::workspace();
    workspace.milestones("m", 1500);
    let mut has_lists = true;
    for number in 0..1500 {
        let list = one_reader_named(70_000 + number);
        has_lists &= give_list(&workspace.path(format!("active/m-{number}.yaml")), LIST, &list);
    }
    if has_lists {
        let (said, megabytes, took) = measured(&workspace, &["migrate", "hybrid", "--yes"]);
        assert!(said.code == 0 && took < Duration::from_secs(10), "{took:?}, {megabytes} MiB: {said:?}");
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&workspace.path("index.db").metadata().unwrap()) & 0o077, 0);
    }
    // Each keeps others out by name.
    let workspace = self::workspace();
    workspace.milestones("m", 150);
    let mut has_lists = true;
    for file in 0..150 {
        let mut entries = vec![(1, 6, NOBODY)];
        entries.extend((0..450).map(|user| (2, 0, 100_000 + file * 1000 + user)));
        entries.extend([(4, 4, NOBODY), (16, 4, NOBODY), (32, 4, NOBODY)]);
        has_lists &= give_list(&workspace.path(format!("active/m-{file}.yaml")), LIST, &list_of_rights(&entries));
    }
    if has_lists {
        let (said, megabytes, took) = measured(&workspace, &["migrate", "hybrid", "--yes"]);
        assert!(
            said.code == 0 && took < Duration::from_secs(10) && megabytes < 200,
            "{took:?}, {megabytes} MiB: {said:?}"
        );
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&workspace.path("index.db").metadata().unwrap()) & 0o077, 0);
    }
    // Metadata of backups: each within a limit of before, together beyond all patience.
    let workspace = on_sqlite();
    let backup = workspace.path("backups").read_dir().unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(backup.join("backup-metadata.yaml")).unwrap();
    let large = format!("{text}{}", "# nothing\n".repeat(100_000));
    for number in 0..60 {
        let folder = workspace.path(format!("backups/migration-20260101-0000{number:02}-file-to-sqlite"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("backup-metadata.yaml"), &large).unwrap();
    }
    let (said, _, took) = measured(&workspace, &["backups", "list"]);
    assert!(said.code == 0 && took < Duration::from_secs(10), "{took:?}: {said:?}");
    assert_eq!(said.out.matches("larger than").count(), 60, "{said:?}");
    // Milestones that cannot be read, of long names: what is remembered of them is read again.
    let workspace = self::workspace();
    for number in 0..20_000 {
        std::fs::write(workspace.path(format!("active/{number:05}{}.yaml", "e".repeat(240))), "a: [\n").unwrap();
    }
    for _ in 0..2 {
        assert_eq!(measured(&workspace, &["check"]).0.code, 0);
    }
    let own = workspace.path(".milescale").read_dir().unwrap();
    let own: Vec<_> = own.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(own.iter().all(|name| !name.starts_with("state.unreadable")), "{own:?}");
    assert!(workspace.path(".milescale/state.json").metadata().unwrap().len() < 8 << 20);
    door(
        "D13",
        "1,500 lists of rights, 150 that keep out 450 each, 60 metadata of 1 MB, 20,000 bad milestones with names of 250 letters",
        "each within 10 s; state stays one file that is read again",
    );
}

/// Makes a folder deeper than a path may be long by itself, with files in it.
fn deep_folder(workspace: &Workspace, folder: &str, files: usize, text: impl Fn(usize) -> String) -> bool {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    let (open, mode) = (OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::from_raw_mode(0o755));
    let mut at = rustix::fs::open(workspace.path(""), open, Mode::empty()).unwrap();
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        let _ = mkdirat(&at, part, mode);
        at = openat(&at, part, open, Mode::empty()).unwrap();
    }
    (0..files).all(|number| {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&at, format!("f{number}.yaml"), flags, Mode::from_raw_mode(0o644)).unwrap();
        let text = text(number);
        text.is_empty() || rustix::io::write(&file, text.as_bytes()).is_ok()
    })
}
