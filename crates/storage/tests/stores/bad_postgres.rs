//! Servers of PostgreSQL that are not as they should be, and those that stand between.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use milescale_core::base::Side;
use milescale_document::id::Id;
use milescale_document::milestone::Packed;
use milescale_storage::outline::{Needle, Wanted};
use milescale_storage::postgres::PostgresStore;
use milescale_storage::store::{Extent, Seen, Store};
use milescale_testkit::{PASSWORD, Postgres, free_port, until};
use milescale_workspace::Workspace;
use milescale_workspace::error::{Problem, StoreError};

use super::bench::{Bench, Kind, draft, figures, put};
use super::conformance;

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

/// A store behind a URL, with a short time-out.
fn store(bench: &Bench, url: &str) -> PostgresStore {
    PostgresStore::new(&bench.workspace(), url, "", Duration::from_secs(1)).unwrap()
}

fn survey(store: &mut PostgresStore) -> Result<u64, StoreError> {
    store.survey(&Extent::Everything, SystemTime::now()).map(|survey| survey.figures.milestone_count)
}

fn server(bench: &mut Bench) -> &mut Postgres {
    bench.postgres.as_mut().unwrap()
}

#[test]
fn wrong_passwords_and_hosts_are_named_without_the_password() {
    let bench = Bench::new(Kind::Postgres);
    let url = bench.postgres.as_ref().unwrap().tcp_url();
    assert_eq!(survey(&mut store(&bench, &url)).unwrap(), 0);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = bench.postgres.as_ref().unwrap().port().to_string();
    let cases = [
        (url.replace(PASSWORD, "wrong-Pa55"), "password authentication failed for user \"ada\""),
        (url.replace("/plans", "/nowhere"), "database \"nowhere\" does not exist"),
        // Nobody has this port: it is for the superuser, and long out of use.
        (url.replace(&port, "1"), "Connection refused"),
        (url.replace(&port, &silent.local_addr().unwrap().port().to_string()), "has not answered for 5 s"),
    ];
    for (url, why) in cases {
        let error = survey(&mut store(&bench, &url)).unwrap_err();
        let text = error.to_string();
        assert!(error.problem == Problem::Unavailable && text.contains(why), "{text}");
        assert!(!text.contains("Pa55"), "{text}");
    }
    // A name is not even looked up before somebody has consented to it.
    let error = survey(&mut store(&bench, &url.replace("127.0.0.1", "no-such-host.invalid"))).unwrap_err();
    let text = error.to_string();
    assert!(error.problem == Problem::Refused && text.contains("milescale trust") && !text.contains("Pa55"), "{text}");
}

#[test]
fn a_server_that_is_stopped_killed_and_started_again_is_there_again() {
    let mut bench = Bench::new(Kind::Postgres);
    put(&mut *bench.store(), "a", "title: kept\n");
    let mut store = store(&bench, &bench.postgres.as_ref().unwrap().url());
    assert_eq!(survey(&mut store).unwrap(), 1);
    // Stopped: the server's processes answer nothing.
    let processes = Command::new("pgrep").args(["-P", &server(&mut bench).pid().to_string()]).output().unwrap();
    let processes: Vec<String> = String::from_utf8(processes.stdout).unwrap().lines().map(str::to_owned).collect();
    let signal = |name: &str| Command::new("kill").args(["-s", name]).args(&processes).status().unwrap();
    server(&mut bench).signal("STOP");
    signal("STOP");
    let start = Instant::now();
    let error = survey(&mut store).unwrap_err();
    assert!(error.problem == Problem::Unavailable && error.to_string().contains("has not answered"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    signal("CONT");
    server(&mut bench).signal("CONT");
    until("the server answers", || survey(&mut store).ok().filter(|count| *count == 1));
    // A connection that is cut between two calls is made anew without a sign.
    server(&mut bench)
        .psql("postgres", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'ada'");
    assert_eq!(survey(&mut store).unwrap(), 1);
    server(&mut bench).crash();
    assert_eq!(survey(&mut store).unwrap_err().problem, Problem::Unavailable);
    server(&mut bench).start_again();
    assert_eq!(survey(&mut store).unwrap(), 1);
    let seen = store.get(&id("a")).unwrap().digest();
    store.put(&draft("a", "title: again\n"), Seen::Text(seen)).unwrap();
}

#[test]
fn connections_that_run_out_time_outs_and_locks_are_busy() {
    let bench = Bench::new(Kind::Postgres);
    put(&mut *bench.store(), "a", "title: kept\n");
    let url = bench.postgres.as_ref().unwrap().url();
    bench.psql("ALTER ROLE ada CONNECTION LIMIT 0");
    let error = survey(&mut store(&bench, &url)).unwrap_err();
    assert!(error.problem == Problem::Busy && error.to_string().contains("too many connections"), "{error}");
    bench.psql("ALTER ROLE ada CONNECTION LIMIT -1");
    let mut locker = bench.postgres.as_ref().unwrap().client("plans");
    locker.args(["-c", "BEGIN", "-c", "LOCK TABLE milestones", "-c", "SELECT 'locked'", "-c", "SELECT pg_sleep(60)"]);
    let mut locker = locker.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 6];
    std::io::Read::read_exact(locker.stdout.as_mut().unwrap(), &mut said).unwrap();
    let mut store = store(&bench, &url);
    let error = survey(&mut store).unwrap_err();
    assert!(error.problem == Problem::Busy && error.to_string().contains("statement timeout"), "{error}");
    locker.kill().unwrap();
    locker.wait().unwrap();
    bench.psql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()");
    assert_eq!(until("the lock is gone", || survey(&mut store).ok()), 1);
}

#[test]
fn a_standby_is_read_and_never_written_to() {
    let bench = Bench::new(Kind::Postgres);
    put(&mut *bench.store(), "a", "title: kept\n");
    let standby = bench.postgres.as_ref().unwrap().standby();
    let mut store = store(&bench, &standby.url());
    assert_eq!(until("the standby has it", || survey(&mut store).ok()), 1);
    let error = store.put(&draft("b", "b: 1\n"), Seen::Nothing).unwrap_err();
    assert!(error.problem == Problem::Unavailable && error.to_string().contains("it is a standby"), "{error}");
    // Of several hosts the one that takes writes is found.
    let (one, other) = (standby.port(), bench.postgres.as_ref().unwrap().port());
    let url = format!("postgresql://ada:{PASSWORD}@127.0.0.1:{one},127.0.0.1:{other}/plans");
    let mut both = self::store(&bench, &url);
    both.put(&draft("b", "b: 1\n"), Seen::Nothing).unwrap();
    assert_eq!(until("it follows", || survey(&mut store).ok().filter(|count| *count == 2)), 2);
}

#[test]
fn tables_that_are_missing_strange_or_somebody_elses_are_refused() {
    let bench = Bench::new(Kind::Postgres);
    put(&mut *bench.store(), "a", "title: kept\n");
    let url = bench.postgres.as_ref().unwrap().url();
    // Another workspace on the same table is refused by name.
    let other = tempfile::tempdir().unwrap();
    let mut others = PostgresStore::new(&Workspace::at(other.path()), &url, "", Duration::from_secs(5)).unwrap();
    let error = others.put(&draft("b", "b: 1\n"), Seen::Nothing).unwrap_err();
    let path = bench.workspace().root().display().to_string();
    assert!(
        error.problem == Problem::Refused && error.to_string().contains(&format!("it belongs to the workspace {path}")),
        "{error}"
    );
    assert_eq!(figures(&mut *bench.store()).milestone_count, 1);
    // A schema of its own is its own.
    let mut apart =
        PostgresStore::new(&Workspace::at(other.path()), &url, "other \"plans\"", Duration::from_secs(5)).unwrap();
    assert_eq!(
        apart
            .load(&mut vec![draft("x", "x: 1\n"), draft("y", "y: 1\n")].into_iter().map(Packed::of), Side::Files, 1)
            .unwrap(),
        2
    );
    apart.put(&draft("z", "z: 1\n"), Seen::Nothing).unwrap();
    assert_eq!((figures(&mut apart).milestone_count, figures(&mut *bench.store()).milestone_count), (3, 1));
    // A table that was moved or restored since is not written to.
    let mut before = bench.store();
    before.put(&draft("c", "c: 1\n"), Seen::Nothing).unwrap();
    bench.psql("ALTER TABLE milestones RENAME TO kept");
    let missing = survey(&mut store(&bench, &url)).unwrap_err();
    assert!(missing.problem == Problem::Corrupt && missing.to_string().contains("there is no such table"), "{missing}");
    bench.psql("CREATE TABLE milestones (id INTEGER, data TEXT); GRANT ALL ON milestones TO ada");
    let strange = survey(&mut store(&bench, &url)).unwrap_err();
    assert!(
        strange.problem == Problem::Corrupt && strange.to_string().contains("no column id of type text"),
        "{strange}"
    );
    bench.psql("DROP TABLE milestones; ALTER TABLE kept RENAME TO milestones; REVOKE ALL ON milestones FROM ada; ALTER TABLE milestones OWNER TO postgres; GRANT SELECT ON milestones TO ada");
    let rights = store(&bench, &url).put(&draft("d", "d: 1\n"), Seen::Nothing).unwrap_err();
    assert!(rights.problem == Problem::Refused && rights.to_string().contains("permission denied"), "{rights}");
}

#[test]
fn a_server_that_was_failed_over_and_comes_back_is_never_written_to() {
    let bench = Bench::new(Kind::Postgres);
    let server = bench.postgres.as_ref().unwrap();
    let standby = server.standby();
    store(&bench, &server.url()).put(&draft("a", "a: 1\n"), Seen::Nothing).unwrap();
    until("the standby has it", || {
        (standby.psql("plans", "SELECT count(*) FROM milestones WHERE id = 'a'") == "1").then_some(())
    });
    assert_eq!(standby.psql("postgres", "SELECT pg_promote()"), "t");
    store(&bench, &standby.url()).put(&draft("b", "b: 1\n"), Seen::Nothing).unwrap();
    let old = store(&bench, &server.url()).put(&draft("c", "c: 1\n"), Seen::Nothing).unwrap_err();
    assert!(old.problem == Problem::Unavailable && old.to_string().contains("failed over"), "{old}");
    assert_eq!(server.psql("plans", "SELECT count(*) FROM milestones WHERE id = 'c'"), "0");
}

#[test]
fn certificates_are_checked() {
    let mut bench = Bench::new(Kind::Postgres);
    let authority = server(&mut bench).with_tls();
    let port = server(&mut bench).port();
    let url = |host: &str, rest: &str| format!("postgresql://ada:{PASSWORD}@{host}:{port}/plans?{rest}");
    let trusted = format!("sslmode=verify-full&sslrootcert={}", authority.display());
    let mut store = self::store(&bench, &url("localhost", &trusted));
    store.put(&draft("a", "a: 1\n"), Seen::Nothing).unwrap();
    assert_eq!(
        bench.psql(
            "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE s.ssl AND a.usename = 'ada'"
        ),
        "1"
    );
    for (url, why) in [
        (url("localhost", "sslmode=require"), "UnknownIssuer; name who has signed it"),
        (url("127.0.0.1", &trusted), "not valid for name"),
        (url("localhost", "sslmode=require&sslrootcert=/nowhere.pem"), "/nowhere.pem"),
    ] {
        let error = survey(&mut self::store(&bench, &url)).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains(PASSWORD), "{error}");
    }
    // Less is checked where less is asked for; TLS is used all the same.
    for (host, rest) in [
        ("localhost", "sslmode=prefer"),
        ("localhost", "sslmode=allow"),
        ("127.0.0.1", &*trusted.replace("verify-full", "verify-ca")),
    ] {
        assert_eq!(survey(&mut self::store(&bench, &url(host, rest))).unwrap(), 1, "{rest}");
    }
    a_client_proves_itself_by_its_certificate(&mut bench, &format!("localhost:{port}/plans?{trusted}"));
}

fn a_client_proves_itself_by_its_certificate(bench: &mut Bench, place: &str) {
    let folder = server(bench).folder().to_owned();
    fs::write(folder.join("data/pg_hba.conf"), "local all all trust\nhostssl all all 127.0.0.1/32 cert\n").unwrap();
    bench.psql("SELECT pg_reload_conf()");
    let with = |key: &str| {
        let (certificate, key) = (folder.join("ada.crt"), folder.join(key));
        format!("postgresql://ada@{place}&sslcert={}&sslkey={}", certificate.display(), key.display())
    };
    assert_eq!(until("the rule is in force", || survey(&mut store(bench, &with("ada.key"))).ok()), 1);
    fs::copy(folder.join("ada.key"), folder.join("open.key")).unwrap();
    Command::new("chmod").args(["0644"]).arg(folder.join("open.key")).status().unwrap();
    for (url, why) in [
        (with("open.key"), "others may read this key"),
        (with("server.csr"), "server.csr"),
        (format!("postgresql://ada@{place}"), "certificate"),
        (format!("postgresql://ada@{place}").replace("verify-full", "disable"), "no pg_hba.conf entry"),
    ] {
        let error = survey(&mut store(bench, &url)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn pgbouncer_in_transaction_mode_may_stand_between() {
    let bench = Bench::new(Kind::Postgres);
    let server = bench.postgres.as_ref().unwrap();
    let port = free_port();
    let folder = server.folder();
    fs::write(
        folder.join("pgbouncer.ini"),
        format!(
            "[databases]\nplans = host={} port={} dbname=plans user=ada\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n",
            folder.display(),
            server.port()
        ),
    )
    .unwrap();
    let mut bouncer = server.run_as_server_user("/usr/sbin/pgbouncer");
    let mut bouncer = bouncer.arg("-q").arg(folder.join("pgbouncer.ini")).spawn().unwrap();
    let url = format!("postgresql://ada@127.0.0.1:{port}/plans");
    let mut one = store(&bench, &url);
    until("pgbouncer answers", || survey(&mut one).ok());
    // Three clients on two connections of the server: whoever comes gets any of them.
    let mut clients: Vec<_> = (0..3).map(|_| store(&bench, &url)).collect();
    for round in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            let (name, text) = (format!("m-{number}"), format!("round: {round}\n"));
            put(client, &name, &text);
            assert_eq!(client.get(&id(&name)).unwrap().text, text.as_bytes());
        }
    }
    assert_eq!(survey(&mut one).unwrap(), 3);
    bouncer.kill().unwrap();
    bouncer.wait().unwrap();
}

#[test]
fn lists_and_searches_see_rows_as_any_program_writes_them() {
    let bench = Bench::new(Kind::Postgres);
    put(&mut *bench.store(), "a", "status: active\ntitle: '[WIP] Needle'\n");
    for (id, data) in [
        ("number", r#"'{"status":1.50,"title":{"a":1},"note":["x",{"y":"NEEDLE"}]}'"#),
        ("flag", r#"'{"status":true,"timeline":["2026-11-02"]}'"#),
        ("list", r#"'{"status":["active"]}'"#),
        ("scalar", r#"'"needle"'"#),
        ("nothing", "'null'"),
        ("quoted", r#"'{"status":"active","note":"say \"so\" to 3 \u212a"}'"#),
        ("no-time", r#"'{"created_at":"soon"}'"#),
        ("needle-by-name", r#"'{"status":"a","created_at":null,"timeline":{"estimated_start":"2026-11-02"}}'"#),
    ] {
        bench.psql(&format!(
            "INSERT INTO milestones (id, data, created_at) VALUES ('{id}', {data}, '2026-11-03 10:00')"
        ));
    }
    let wanted = |wanted: Wanted| conformance::listed_as_scanned(&bench, &wanted);
    let status = |status: &str| wanted(Wanted { status: Some(status.to_owned()), ..Wanted::default() });
    let search = |text: &str| wanted(Wanted { all: true, text: Some(Needle::new(text)), ..Wanted::default() });
    assert_eq!(status("active"), ["a", "quoted"]);
    assert_eq!((status("1.50"), status("true")), (vec!["number".to_owned()], vec!["flag".to_owned()]));
    assert_eq!(search("needle"), ["a", "needle-by-name", "number", "scalar"]);
    assert_eq!((search("3 k"), search("say \"so")), (vec!["quoted".to_owned()], vec!["quoted".to_owned()]));
    wanted(Wanted { all: true, ..Wanted::default() });
    for text in ["active", "1", "i", "{", "ü"] {
        search(text);
    }
    // Times that are none, or none that can be written.
    for (id, time) in
        [("always", "infinity"), ("never", "-infinity"), ("late", "20000-01-01"), ("early", "1890-05-06 07:08:09.75")]
    {
        bench.psql(&format!(
            "INSERT INTO milestones (id, data, created_at, updated_at) VALUES ('{id}', '{{}}', '{time}', '{time}')"
        ));
    }
    bench.psql("INSERT INTO milestones (id, data, created_at, updated_at) VALUES ('unknown', '{}', NULL, NULL)");
    wanted(Wanted { all: true, ..Wanted::default() });
    search("a");
}

#[test]
fn lists_are_in_the_order_of_bytes_whatever_the_servers_letters() {
    let bench = Bench::new(Kind::Postgres);
    for name in ["b", "A", "a", "B", "ä"] {
        put(&mut *bench.store(), name, "status: active\n");
    }
    bench.psql("ALTER TABLE milestones ALTER COLUMN id TYPE text COLLATE \"und-x-icu\"");
    for wanted in [Wanted::default(), Wanted { text: Some(Needle::new("active")), ..Wanted::default() }] {
        let mut ids = Vec::new();
        bench.store().list(&wanted, &mut |outline| ids.push(outline.id)).unwrap();
        assert_eq!(ids, ["A", "B", "a", "b", "ä"]);
    }
}
