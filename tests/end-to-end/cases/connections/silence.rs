//! Servers that accept and never answer, that stop answering, that are just starting; and programs that stand still.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use milescale_testkit::{PASSWORD, Postgres, Workspace, until};

use super::proxy::Proxy;
use crate::workspace;

/// What a stop may take, and a slow machine beside it.
const HEARD_WITHIN: Duration = Duration::from_millis(2500);

fn configure(workspace: &Workspace, url: &str, query_timeout: u64) {
    let text = format!(
        "storage:\n  database: {{type: postgresql, url: \"{url}\"}}\n  performance: {{query_timeout: {query_timeout}}}\n"
    );
    workspace.write("config/storage-config.yaml", text);
}

fn migrate(workspace: &Workspace) -> Child {
    let mut command = workspace.command(["migrate", "database", "--yes"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(mut child: Child) -> (i32, String) {
    let status = until("the command's end", || child.try_wait().unwrap());
    let mut said = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
    (status.code().unwrap_or(-1), said)
}

fn terminate(child: &Child) {
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
}

/// A `put` whose text is there at once.
fn put(workspace: &Workspace, id: &str, more: &[&str]) -> Child {
    let mut command = workspace.command([&["milestone", "put", id], more].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"title: new\n").unwrap();
    child
}

#[test]
fn e12_a_host_that_never_answers_keeps_no_other_away() {
    let (server, workspace) = (Postgres::start(), workspace());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, two) = (silent.local_addr().unwrap().port(), server.port());
    let hosts = format!("127.0.0.1:{one},127.0.0.1:{two}");
    configure(&workspace, &format!("postgresql://ada:{PASSWORD}@{hosts}/plans?connect_timeout=2"), 30);
    workspace.milestones("m", 3);
    let (code, said) = ended(migrate(&workspace));
    assert_eq!(code, 0, "{said}");
    // The server is known now: the other one is waited for a moment only.
    let start = Instant::now();
    let (code, said) = ended(put(&workspace, "n", &[]));
    assert_eq!(code, 0, "{said}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn e12_the_newest_timeline_that_takes_writes_wins() {
    let (server, workspace) = (Postgres::start(), workspace());
    configure(&workspace, &server.tcp_url(), 30);
    assert_eq!(ended(migrate(&workspace)).0, 0);
    let standby = server.standby();
    assert_eq!(standby.psql("postgres", "SELECT pg_promote()"), "t");
    // Both take writes now, and the old one is named first.
    let (old, new) = (server.port(), standby.port());
    configure(&workspace, &format!("postgresql://ada:{PASSWORD}@127.0.0.1:{old},127.0.0.1:{new}/plans"), 30);
    let (code, said) = ended(put(&workspace, "n", &[]));
    assert_eq!(code, 0, "{said}");
    assert_eq!(standby.psql("plans", "SELECT id FROM milestones"), "n");
    assert_eq!(server.psql("plans", "SELECT id FROM milestones"), "");
}

#[test]
fn e13_a_program_that_stands_still_in_its_transaction_holds_nobody() {
    let (server, workspace) = (Postgres::start(), workspace());
    configure(&workspace, &server.url(), 30);
    assert_eq!(ended(migrate(&workspace)).0, 0);
    assert_eq!(ended(put(&workspace, "a", &[])).0, 0);
    server.psql(
        "plans",
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF current_user = 'ada' THEN
         PERFORM pg_sleep(1); END IF; RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON milestones FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let digest = workspace.run(["milestone", "show", "a", "--digest"]).out;
    let mut stopped = put(&workspace, "a", &["--if-match", digest.trim()]);
    until("the row is being written", || {
        let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ada' AND wait_event = 'PgSleep'";
        (server.psql("plans", sleeps) == "1").then_some(())
    });
    Command::new("kill").args(["-s", "STOP", &stopped.id().to_string()]).status().unwrap();
    // It has the row; another program gets it after a while all the same.
    server.psql("plans", "SET lock_timeout = '20s'; UPDATE milestones SET data = data || '{\"by\": \"another\"}'");
    Command::new("kill").args(["-s", "CONT", &stopped.id().to_string()]).status().unwrap();
    let status = until("the end", || stopped.try_wait().unwrap());
    assert_ne!(status.code(), Some(0), "what was rolled back is no success");
    assert_eq!(server.psql("plans", "SELECT data->>'by' FROM milestones"), "another");
}

#[test]
fn e14_a_server_that_is_silent_in_copy_is_left() {
    let (server, workspace) = (Postgres::start(), workspace());
    let proxy = Proxy::before(server.port());
    configure(&workspace, &proxy.url(), 1);
    workspace.milestones("m", 20);
    proxy.silence_at("COPY ");
    let (code, said) = ended(migrate(&workspace));
    assert!(code == 1 && said.contains("the server has not answered for 3 s"), "{code}: {said}");
    assert_eq!(workspace.status()["current_backend"], "file");
}

#[test]
fn e14_a_stop_is_heard_wherever_the_server_is_silent() {
    for silent_at in ["COPY ", "COMMIT"] {
        let (server, workspace) = (Postgres::start(), workspace());
        let proxy = Proxy::before(server.port());
        configure(&workspace, &proxy.url(), 30);
        workspace.milestones("m", 20);
        proxy.silence_at(silent_at);
        let command = migrate(&workspace);
        proxy.until_silent();
        terminate(&command);
        let start = Instant::now();
        let (code, said) = ended(command);
        assert!(start.elapsed() < HEARD_WITHIN, "{silent_at}: {:?}: {said}", start.elapsed());
        assert_eq!(code, 1, "{silent_at}: {said}");
        // Nothing is stuck: what is left goes with the next command, and the move can be made.
        proxy.answer();
        assert_eq!(workspace.run(["check"]).code, 0, "{silent_at}");
        let (code, said) = ended(migrate(&workspace));
        assert_eq!(code, 0, "{silent_at}: {said}");
        assert_eq!(workspace.status()["milestone_count"], 20);
    }
}

#[test]
fn e14_the_daemon_hears_a_stop_while_it_waits_for_a_server() {
    let (server, workspace) = (Postgres::start(), workspace());
    let proxy = Proxy::before(server.port());
    configure(&workspace, &proxy.url(), 30);
    assert_eq!(ended(migrate(&workspace)).0, 0);
    let events = |workspace: &Workspace| workspace.events_named("source_unavailable").len();
    // In the middle of a transaction, and while it connects.
    for silent_at in ["SELECT", "user\0"] {
        proxy.answer();
        proxy.silence_at(silent_at);
        let daemon = workspace.daemon_at_once(["--interval", "0.3"]);
        proxy.until_silent();
        let start = Instant::now();
        let (code, log) = daemon.stop();
        assert!(start.elapsed() < HEARD_WITHIN, "{silent_at:?}: {:?}: {log}", start.elapsed());
        assert_eq!((code, events(&workspace)), (0, 0), "{silent_at:?}: {log}");
    }
}

#[test]
fn a_verb_waits_for_a_server_that_is_just_starting() {
    let (mut server, workspace) = (Postgres::start(), workspace());
    configure(&workspace, &server.url(), 30);
    assert_eq!(ended(migrate(&workspace)).0, 0);
    server.crash();
    let mut waiting = put(&workspace, "n", &[]);
    std::thread::sleep(Duration::from_millis(700));
    assert!(waiting.try_wait().unwrap().is_none(), "it waits");
    server.start_again();
    let (code, said) = ended(waiting);
    assert_eq!(code, 0, "{said}");
}
