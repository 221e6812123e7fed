//! A password in thirty spellings of addresses, through every command, error, event, state file and log: it is never seen.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use milescale_testkit::{Workspace, takes};

use super::{bounded, door};
use crate::workspace;

/// The secret; no part of it of five letters stands anywhere else.
const SECRET: &str = "Zq7xKw9vJ";

/// Spellings of addresses, good and broken, with the secret in each.
fn spellings(port: u16) -> Vec<String> {
    let at = format!("127.0.0.1:{port}");
    [
        "postgresql://u:SECRET@AT/d",
        "postgres://u:SECRET@AT/d",
        "postgresql://u:SECRET@AT/d?sslmode=disable",
        "postgresql://u:SECRET@AT/d?application_name=a&options=-c%20x.y%3DSECRET",
        "postgresql://u@AT/d?password=SECRET",
        "postgresql://AT/d?user=u&password=SECRET",
        "postgresql://u:SECRET@AT,127.0.0.1:1/d",
        "postgresql://u:p%40SECRET@AT/d",
        "postgresql://u:p@SECRET@AT/d",
        "postgresql://u:SECRET@/d?host=127.0.0.1",
        "postgresql://u:SECRET@[::1]:1/d",
        "postgresql://u:SECRET@AT/d#SECRET",
        "postgresql:///d?host=127.0.0.1&password=SECRET&user=u",
        "host=127.0.0.1 user=u password=SECRET dbname=d",
        "host=127.0.0.1 user=u password='SECRET' dbname=d",
        "host=127.0.0.1 user=u password = SECRET dbname=d",
        "host=127.0.0.1 user=u password='SECRET",
        "password=SECRET",
        "u:SECRET@AT/d",
        "//u:SECRET@AT/d",
        "mysql://u:SECRET@AT/d",
        "postgresql//u:SECRET@AT/d",
        "postgresql:u:SECRET@AT/d",
        " postgresql://u:SECRET@AT/d",
        "postgresql://u:SECRET@AT:port/d",
        "postgresql://u:SECRET@AT/d?sslmode=SECRET",
        "postgresql://u:SECRET@AT/d?connect_timeout=SECRET",
        "postgresql://u:SECRET@AT/d?unknown=SECRET",
        "postgresql://u:SEC\u{0}RET@AT/d?SECRET=1",
        // User and database are names, and shown: the secret stands where secrets stand.
        "postgresql://u:SECRET@AT/d?passfile=/SECRET",
    ]
    .iter()
    .map(|it| it.replace("SECRET", SECRET).replace("AT", &at).replace('\u{0}', "%00"))
    .collect()
}

/// Whether a text shows the secret, or five letters of it in a row.
fn shows(text: &str) -> bool {
    (0..=SECRET.len() - 5).any(|start| text.contains(&SECRET[start..start + 5]))
}

/// A server that asks for the password in clear text, and refuses it with an error that has it.
fn asks_for_it() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut said = [0; 4096];
                let mut count = stream.read(&mut said).ok()?;
                if said[..count].starts_with(&[0, 0, 0, 8, 4, 210, 22, 47]) {
                    stream.write_all(b"N").ok()?;
                    count = stream.read(&mut said).ok()?;
                }
                let _ = count;
                stream.write_all(b"R\0\0\0\x08\0\0\0\x03").ok()?;
                let count = stream.read(&mut said).ok()?;
                let mut body = b"SFATAL\0C28P01\0Mno: ".to_vec();
                // What it was told is said back.
                body.extend(said[5.min(count)..count].iter().filter(|byte| **byte != 0));
                body.extend(b": password authentication failed\0\0");
                let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
                stream.write_all(&[&b"E"[..], &length, &body].concat()).ok()?;
                (count > 0).then_some(())
            });
        }
    });
    port
}

/// Every file in a folder that shows it, but for the person's own.
fn files_that_show(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_copy_of_a_file =
            ["storage-config.yaml", "last-good-config.yaml"].iter().any(|name| path.ends_with(name));
        if path.is_dir() {
            files_that_show(&path, found);
        } else if !is_copy_of_a_file && shows(&String::from_utf8_lossy(&fs::read(&path).unwrap_or_default())) {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn d16_a_password_is_never_shown() {
    let port = asks_for_it();
    let (mut sightings, mut all, mut tried) = (Vec::new(), 0, 0);
    for (number, url) in spellings(port).into_iter().enumerate() {
        for place in ["url", "type", "schema", "environment", "type-of-environment"] {
            // Each spelling in one place or two.
            if place != "url" && !number.is_multiple_of(3) {
                continue;
            }
            all += 1;
            if !takes(all, 12) {
                continue;
            }
            tried += 1;
            let mut workspace = workspace();
            workspace.milestones("m", 2);
            let config = match place {
                "url" => format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n"),
                "type" => format!("storage:\n  database: {{type: {url:?}}}\n"),
                "schema" => format!(
                    "storage:\n  database: {{type: postgresql, url: \"postgresql://127.0.0.1:1/d\", schema: {url:?}}}\n"
                ),
                _ => "storage:\n  database: {type: postgresql}\n".to_owned(),
            };
            workspace.write("config/storage-config.yaml", config);
            match place {
                "environment" => workspace.environment.push(("DATABASE_URL".into(), url.clone())),
                "type-of-environment" => workspace.environment.push(("DATABASE_TYPE".into(), url.clone())),
                _ => {}
            }
            look(&workspace, &format!("{place} {url}"), &mut sightings);
        }
    }
    assert_eq!(sightings, [] as [String; 0]);
    door(
        "D16",
        "a password in 30 spellings of addresses, in five places, a server that asks for it in clear text; output, events, state, logs",
        format!("{tried} of {all}: 0 sightings"),
    );
}

fn look(workspace: &Workspace, what: &str, sightings: &mut Vec<String>) {
    workspace.write("config/storage-backend.txt", "database\n");
    for arguments in [
        &["config", "check"][..],
        &["config", "check", "--json"],
        &["config", "show"],
        &["config", "show", "--json"],
        &["status"],
        &["status", "--json"],
        &["doctor"],
        &["check"],
        &["milestone", "list"],
        &["milestone", "put", "m-9"],
        &["dashboard"],
        &["events", "--json"],
        &["migrate", "database", "--engine", "postgresql", "--dry-run"],
        &["migrate", "database", "--engine", "postgresql", "--yes"],
        &["migrate", "file", "--yes"],
        &["rollback", "--yes"],
    ] {
        let said = bounded(workspace, arguments);
        if shows(&said.out) || shows(&said.err) {
            sightings.push(format!("{what}: {arguments:?}: {said:?}"));
        }
    }
    let mut found = Vec::new();
    files_that_show(workspace.root(), &mut found);
    sightings.extend(found.into_iter().map(|path| format!("{what}: {path}")));
}

#[test]
fn a_password_is_not_in_proc_of_a_daemon_beyond_what_it_was_started_with() {
    let port = asks_for_it();
    let workspace = workspace();
    let url = format!("postgresql://u:{SECRET}@127.0.0.1:{port}/d");
    workspace
        .write("config/storage-config.yaml", format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n"));
    workspace.write("config/storage-backend.txt", "database\n");
    let daemon = workspace.daemon_at_once(["--interval", "1"]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    for name in ["cmdline", "environ", "status", "comm"] {
        let text = fs::read(format!("/proc/{}/{name}", daemon.pid())).unwrap();
        assert!(!shows(&String::from_utf8_lossy(&text)), "{name}");
    }
    let (_, log) = daemon.stop();
    assert!(!shows(&log), "{log}");
    assert!(!shows(&workspace.read("logs/scale-events.jsonl")));
    door("D16", "`/proc` of a daemon that knows the password", "0 sightings");
}
