//! Connections that leave the machine: none without consent.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::process::Command;

use milescale_testkit::{Postgres, Workspace, until};

use super::{bounded, door};
use crate::workspace;

/// An address that stands for another machine; in the namespace of a test it is the loopback's.
const ELSEWHERE: &str = "203.0.113.9";

fn configured(url: &str) -> Workspace {
    let workspace = workspace();
    workspace.milestones("m", 300);
    workspace.write(
        "config/storage-config.yaml",
        format!(
            "storage:\n  database:\n    type: postgresql\n    url: {url:?}\n  migration:\n    auto_migrate: true\n  \
             thresholds:\n    milestone_count: {{file_to_hybrid: 1, hybrid_to_database: 2}}\n"
        ),
    );
    workspace.age_marker(400);
    workspace
}

/// Runs a script in a network of its own, in which that address is this machine's.
fn in_a_network(script: &str, workspace: &Workspace) -> (i32, String) {
    let output = Command::new("unshare")
        .args(["--net", "--", "sh", "-c"])
        .arg(format!("ip link set lo up; ip addr add {ELSEWHERE}/32 dev lo; {script}"))
        .arg(crate::BINARY)
        .current_dir(workspace.root())
        .env("XDG_CONFIG_HOME", workspace.root().join(".config-of-the-person"))
        .env("PGPASSWORD", "hunter2-of-the-environment")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn d10_nothing_is_sent_to_a_server_elsewhere_before_a_person_has_said_so_needs_root() {
    let workspace = configured(&format!("postgresql://plans@{ELSEWHERE}:5999/plans"));
    // A listener that writes down what it is sent.
    let listener = "python3 -c '
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((\"203.0.113.9\", 5999)); s.listen(20)
while True:
    c, _ = s.accept(); c.settimeout(2)
    open(\"heard\", \"ab\").write(b\"connected \")
    try: open(\"heard\", \"ab\").write(c.recv(4096))
    except OSError: pass
    c.close()
' & L=$!; for i in $(seq 200); do grep -q \":176F 00000000:0000 0A\" /proc/self/net/tcp && break; sleep 0.05; done;";
    let heard = || fs::read(workspace.root().join("heard")).unwrap_or_default();
    for verb in ["check", "status", "doctor", "migrate database --engine postgresql --yes", "milestone list"] {
        let (_, said) = in_a_network(&format!("{listener} \"$0\" {verb}; kill $L"), &workspace);
        assert!(heard().is_empty(), "{verb}: {said}");
    }
    let (code, said) = in_a_network("\"$0\" migrate database --engine postgresql --yes", &workspace);
    let sentence =
        format!("milescale trust {} --server postgresql://plans@{ELSEWHERE}:5999/plans", workspace.root().display());
    assert!(code != 0 && said.contains(&sentence), "{said}");
    // What it says is what gives consent.
    let given = sentence.strip_prefix("milescale ").unwrap();
    let (code, said) = in_a_network(&format!("\"$0\" {given}"), &workspace);
    assert_eq!(code, 0, "{said}");
    let (_, said) =
        in_a_network(&format!("{listener} \"$0\" migrate database --engine postgresql --yes; kill $L"), &workspace);
    assert!(heard().starts_with(b"connected"), "{said}");
    // For this server alone.
    fs::remove_file(workspace.root().join("heard")).unwrap();
    let other = configured(&format!("postgresql://plans@{ELSEWHERE}:5999/other"));
    let trust = workspace.root().join(".config-of-the-person");
    let done = Command::new("cp").arg("-a").arg(trust).arg(other.root()).status().unwrap();
    assert!(done.success());
    let (_, said) =
        in_a_network(&format!("{listener} \"$0\" migrate database --engine postgresql --yes; kill $L"), &other);
    assert!(!other.root().join("heard").exists() && said.contains("milescale trust"), "{said}");
    door(
        "D10",
        "a server elsewhere (a network namespace with a listener), before and after consent, with PGPASSWORD set",
        "0 bytes sent before",
    );
}

#[test]
fn the_sentence_is_one_command_whatever_the_address_and_the_folder_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("it's; touch pwned; '$(touch pwned)");
    fs::create_dir(&root).unwrap();
    let workspace = Workspace::at(&root, crate::BINARY);
    assert_eq!(workspace.run(["init"]).code, 0);
    let url = "postgresql://a'%3Btouch%20pwned%3B'@db.example.org/p%60touch%20pwned%60%24(touch%20pwned)";
    workspace.write(
        "config/storage-config.yaml",
        format!("storage:\n  database:\n    type: postgresql\n    url: {url:?}\n"),
    );
    workspace.milestones("m", 1);
    let said = bounded(&workspace, &["migrate", "database", "--yes"]).err;
    let (from, to) = (said.find("`milescale ").unwrap() + 1, said.rfind('`').unwrap());
    let shell = format!("milescale() {{ \"$BINARY\" \"$@\"; }}; {}", &said[from..to]);
    let home = folder.path().join("home");
    let output = Command::new("sh")
        .args(["-c", &shell])
        .env("BINARY", crate::BINARY)
        .env("XDG_CONFIG_HOME", &home)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{said}: {output:?}");
    let trust = fs::read_to_string(home.join("milescale/trust")).unwrap();
    let line: serde_json::Value = serde_json::from_str(trust.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["workspace"], root.to_str().unwrap());
    let server = serde_json::json!({
        "host": "db.example.org", "port": 5432, "database": "p`touch pwned`$(touch pwned)", "user": "a';touch pwned;'"
    });
    assert_eq!(line["server"], server);
    for place in [folder.path(), &root] {
        assert!(!place.join("pwned").exists());
    }
    door(
        "D10",
        "an address and a folder that are commands of a shell, in the sentence that names the command",
        "one word each",
    );
}

#[test]
fn a_server_on_this_machine_needs_no_consent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = [0; 8];
        stream.read_exact(&mut said).unwrap();
    });
    let workspace = configured(&format!("postgresql://plans@127.0.0.1:{port}/plans"));
    let said = bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
    assert!(!said.err.contains("milescale trust"), "{said:?}");
    heard.join().unwrap();
    let said = bounded(&workspace, &["trust", "--server", "postgresql://plans@localhost/plans"]);
    assert!(said.out.contains("needs no consent"), "{said:?}");
}

#[test]
fn what_is_connected_to_is_what_is_consented_to() {
    // The name says this machine, the address another one; or the other way round, where the name is what a password is looked up by.
    for url in [
        "postgresql://plans@localhost/plans?hostaddr=203.0.113.9",
        "postgresql://plans@db.example.org/plans?hostaddr=127.0.0.1",
    ] {
        let workspace = configured(url);
        let said = bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
        assert!(said.err.contains("take one of host and hostaddr out"), "{said:?}");
        // A person may say so.
        let said = workspace
            .command(["migrate", "database", "--engine", "postgresql", "--yes"])
            .env("DATABASE_URL", url)
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&said.stderr);
        assert!(err.contains("milescale trust "), "{err}");
    }
    // Of several hosts each.
    let workspace = configured("postgresql://plans@127.0.0.1:1,203.0.113.9:5432/plans");
    let said = bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
    assert!(said.err.contains("203.0.113.9"), "{said:?}");
    for name in ["localhost.example.org", "127.0.0.1.example.org", "localhost.", "0x7f.1"] {
        let workspace = configured(&format!("postgresql://plans@{name}/plans"));
        let said = bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
        assert!(said.err.contains("milescale trust"), "{name}: {said:?}");
    }
}

/// A server that is called another machine's, and is reached on this one.
fn elsewhere(server: &Postgres) -> String {
    server.tcp_url().replace("@127.0.0.1:", "@db.example.org:")
}

#[test]
fn consent_that_is_taken_back_ends_the_connection_of_a_daemon() {
    let server = Postgres::start();
    let mut workspace = configured(&elsewhere(&server));
    let config = workspace.read("config/storage-config.yaml").replace("auto_migrate: true", "auto_migrate: false");
    workspace.write("config/storage-config.yaml", config);
    workspace.environment.push(("PGHOSTADDR".to_owned(), "127.0.0.1".to_owned()));
    let trust = |also: &[&str]| {
        let said = workspace.run([&["trust", "--server", &elsewhere(&server)][..], also].concat());
        assert_eq!(said.code, 0, "{said:?}");
    };
    trust(&[]);
    let said = workspace.run(["migrate", "database", "--engine", "postgresql", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    let daemon = workspace.daemon(["--interval", "1"]);
    daemon.until("stale", false);
    trust(&["--remove"]);
    daemon.until("stale", true);
    // What is written now reaches nobody.
    workspace.save("active/m-0.yaml", "title: after that\n");
    let cycles = || workspace.events_named("scale_status").len();
    let before = cycles();
    until("some cycles", || (cycles() > before + 2).then_some(()));
    let sent = || server.psql("plans", "SELECT count(*) FROM milestones WHERE data->>'title' = 'after that'");
    assert_eq!(sent().trim(), "0");
    // Nobody can tell whose the table is, and nobody is asked to.
    let identity = workspace.read(".milescale/identity");
    let doctor = workspace.run(["doctor"]);
    assert!(doctor.out.contains("milescale trust") && !doctor.out.contains("--fix identity"), "{doctor:?}");
    let fix = workspace.run(["doctor", "--fix", "identity"]);
    assert!(fix.code == 1 && fix.err.contains("milescale trust"), "{fix:?}");
    assert_eq!(workspace.read(".milescale/identity"), identity);
    trust(&[]);
    until("it goes on", || (sent().trim() == "1").then_some(()));
    assert_eq!(daemon.stop().0, 0);
    door("D10", "consent that is taken back while a daemon is connected", "nothing is sent any more");
}

#[test]
fn a_terminal_is_asked_and_yes_answers_nothing_of_it() {
    let workspace = configured("postgresql://plans@203.0.113.9/plans");
    for (arguments, is_asked) in [
        ("migrate database --engine postgresql", true),
        ("migrate database --engine postgresql --yes", false),
        ("check", false),
        ("milestone list", true),
    ] {
        let output = Command::new("timeout")
            .args(["20", "script", "-qec", &format!("\"$BINARY\" {arguments}"), "/dev/null"])
            .env("BINARY", crate::BINARY)
            .env("XDG_CONFIG_HOME", workspace.root().join(".config-of-the-person"))
            .current_dir(workspace.root())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.contains("Connect to it"), is_asked, "{arguments}: {said}");
        assert!(output.status.code() != Some(124), "{arguments}: {said}");
        assert!(!is_asked || said.contains(".config-of-the-person/milescale/trust"), "{said}");
    }
}

#[test]
fn consent_is_to_the_protection_that_was_there() {
    let workspace = configured("postgresql://plans@203.0.113.9/plans?sslmode=verify-full&connect_timeout=1");
    let move_it = || bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]).err;
    let sentence = "--server postgresql://plans@203.0.113.9:5432/plans?sslmode=verify-full`";
    let said = move_it();
    // In the words of a shell.
    assert!(said.replace('\'', "").contains(sentence), "{said}");
    let given = ["trust", "--server", "postgresql://plans@203.0.113.9:5432/plans?sslmode=verify-full"];
    assert_eq!(bounded(&workspace, &given).code, 0);
    assert!(!move_it().contains("milescale trust"));
    let say = |what: &str| {
        let before = workspace.read("config/storage-config.yaml");
        let url = before.split("sslmode=").nth(1).and_then(|rest| rest.split('&').next()).unwrap().to_owned();
        workspace.write("config/storage-config.yaml", before.replace(&url, what));
    };
    // It checks as much.
    say("require");
    assert!(!move_it().contains("milescale trust"));
    for weaker in ["disable", "prefer", "verify-ca"] {
        say(weaker);
        let said = move_it();
        let named = weaker == "prefer" || said.contains(&format!("sslmode={weaker}"));
        assert!(said.contains("milescale trust") && named, "{weaker}: {said}");
        // What the environment asks for at least is what it is.
        let mut stronger = workspace.command(["migrate", "database", "--engine", "postgresql", "--yes"]);
        let said = stronger.env("PGSSLMODE", "verify-full").output().unwrap();
        assert!(!String::from_utf8_lossy(&said.stderr).contains("milescale trust"), "{weaker}: {said:?}");
    }
    say("verify-full");
    std::os::unix::fs::symlink("/etc/ssl/certs/ca-certificates.crt", workspace.path("config/linked.pem")).unwrap();
    let inside = workspace.path("config/ca.pem").display().to_string();
    let linked = workspace.path("config/linked.pem").display().to_string();
    let before = workspace.read("config/storage-config.yaml");
    for (authority, why) in [
        (".milestones/config/ca.pem", "sslrootcert is no whole path"),
        (&inside, "sslrootcert lies in the workspace"),
        (&linked, "sslrootcert lies in the workspace"),
    ] {
        workspace.write(
            "config/storage-config.yaml",
            before.replace("sslmode=verify-full", &format!("sslmode=verify-full&sslrootcert={authority}")),
        );
        let said = move_it();
        assert!(said.contains(why), "{authority}: {said}");
    }
    // And what the environment says of it is written down, so that consent is given once.
    let workspace = configured("postgresql://plans@203.0.113.9/plans?connect_timeout=1");
    let unprotected = |arguments: &[&str]| {
        let said = workspace.command(arguments).env("PGSSLMODE", "disable").output().unwrap();
        String::from_utf8_lossy(&said.stderr).replace('\'', "")
    };
    let migrate = ["migrate", "database", "--engine", "postgresql", "--yes"];
    let said = unprotected(&migrate);
    let named = said.split("--server ").nth(1).and_then(|rest| rest.split('`').next()).unwrap_or_default().to_owned();
    assert!(named.ends_with("?sslmode=disable"), "{said}");
    unprotected(&["trust", "--server", &named]);
    assert!(!unprotected(&migrate).contains("milescale trust"));
    door(
        "D10",
        "a workspace that asks for less protection than was consented to, or brings an authority of its own",
        "refused",
    );
}

#[test]
fn what_listens_on_a_socket_is_looked_at_before_anything_is_sent_needs_root() {
    let folder = tempfile::Builder::new().prefix("milescale-sockets-").tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let everybody = |name: &str| {
        fs::create_dir(at(name)).unwrap();
        fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    };
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for name in ["of-all", "linked"] {
        everybody(name);
    }
    let heard_in = at("of-all").join("heard");
    let heard = || fs::read(&heard_in).unwrap_or_default();
    let script = "import socket, sys\ns = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(20)\nwhile True:\n \
                  c, _ = s.accept(); c.settimeout(2); open(sys.argv[2], 'ab').write(c.recv(4096)); c.close()";
    let socket = at("of-all").join(".s.PGSQL.5432");
    let mut listener = Command::new("setpriv")
        .args(["--pdeathsig=KILL", "--reuid=65533", "--regid=65533", "--clear-groups", "python3", "-c", script])
        .args([&socket, &heard_in])
        .env("PATH", "/usr/bin:/bin")
        .spawn()
        .unwrap();
    until("it listens", || socket.exists().then_some(()));
    std::os::unix::fs::symlink(&socket, at("linked").join(".s.PGSQL.5432")).unwrap();
    for (name, why) in [("of-all", "every user may make a socket in"), ("linked", "is a symlink")] {
        let workspace = configured(&format!("host={} user=plans dbname=plans connect_timeout=1", at(name).display()));
        for arguments in [&["migrate", "database", "--engine", "postgresql", "--yes"][..], &["status"], &["doctor"]] {
            let said = bounded(&workspace, arguments);
            assert!(heard().is_empty(), "{arguments:?}: {said:?}");
            assert!(arguments.len() < 4 || said.err.contains(why), "{said:?}");
        }
    }
    // The person knows whose it is.
    let workspace = configured(&format!("host={} user=plans dbname=plans connect_timeout=1", at("of-all").display()));
    let also = |peer: &str| {
        let mut command = workspace.command(["migrate", "database", "--engine", "postgresql", "--yes"]);
        String::from_utf8(command.env("PGREQUIREPEER", peer).output().unwrap().stderr).unwrap()
    };
    assert!(also("root").contains("requirepeer names another user") && heard().is_empty());
    also("65533");
    assert!(!heard().is_empty());
    listener.kill().unwrap();
    listener.wait().unwrap();
    door("D10", "a socket of another user where everybody may make one, or behind a symlink", "nothing is sent");
}

#[test]
fn a_workspace_gives_no_orders_to_a_program_on_this_machine() {
    let server = Postgres::start();
    let url = server.url();
    for (parameter, why) in [
        ("options=-c%20session_preload_libraries%3D/tmp/evil", "write it into PGOPTIONS"),
        ("options=-c%20search_path%3Dpublic%20--dynamic-library-path%3D/tmp", "write it into PGOPTIONS"),
        ("user=x%0ADELETE_KEY%0A", "there is a control character in it"),
        ("application_name=x%0D%0Aflush_all%0D%0A", "there is a control character in it"),
    ] {
        let workspace = configured(&format!("{url}?{parameter}"));
        let said = bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
        assert!(said.code != 0 && said.err.contains(why), "{parameter}: {said:?}");
    }
    let many = vec!["127.0.0.1"; 4000].join(",");
    let said = bounded(&configured(&format!("host={many} user=u dbname=d")), &["status"]);
    assert!(said.out.len() + said.err.len() < 100_000, "{} bytes", said.out.len() + said.err.len());
    let workspace = configured(&format!("{url}?options=-c%20search_path%3Dpublic%20-c%20app.tenant%3D7"));
    assert_eq!(bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]).code, 0);
    door("D10", "settings of a session, ends of lines and lists of hosts in an address of a workspace", "refused");
}

/// A password that is said beside a host is for that host: in a service, and in the environment.
#[test]
fn a_password_goes_to_the_host_that_it_was_said_beside() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let all = std::sync::Arc::clone(&heard);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut said = vec![0; 4096];
            let count = stream.read(&mut said).unwrap_or(0);
            let _ = std::io::Write::write_all(&mut stream, b"R\0\0\0\x08\0\0\0\x03");
            all.lock().unwrap().extend_from_slice(&said[..count]);
            let count = stream.read(&mut said).unwrap_or(0);
            all.lock().unwrap().extend_from_slice(&said[..count]);
        }
    });
    let mut workspace = configured(&format!("postgresql://plans@127.0.0.1:{port}/plans?service=prod&sslmode=disable"));
    let services = workspace.root().join("services");
    fs::write(&services, "[prod]\nhost=db.example.org\npassword=Of-the-service\n").unwrap();
    workspace.environment.push(("PGSERVICEFILE".to_owned(), services.display().to_string()));
    bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
    let mut workspace = configured(&format!("postgresql://plans@127.0.0.1:{port}/plans?sslmode=disable"));
    workspace.environment.push(("PGHOST".to_owned(), "db.example.org".to_owned()));
    workspace.environment.push(("PGPASSWORD".to_owned(), "Of-the-environment".to_owned()));
    bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    assert!(heard.contains("plans") && !heard.contains("Of-the"), "{heard:?}");
    door(
        "D10",
        "a password of a service, and one of the environment beside PGHOST, where the address names another host",
        "0 sent",
    );
}
