//! Addresses of servers as libpq takes them, and what is said of those that are not taken.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use milescale_testkit::{PASSWORD, Postgres, Said, Workspace};

use crate::workspace;

/// A plan of a move to the server that an environment names.
fn plan(workspace: &Workspace, home: &Path, variables: &[(&str, &str)]) -> Said {
    let mut command = workspace.command(["migrate", "database", "--dry-run"]);
    command.env("DATABASE_TYPE", "postgresql").env("HOME", home);
    workspace.write("config/storage-config.yaml", "storage: {database: {type: postgresql}}\n");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn e15_what_psql_takes_is_taken() {
    let (server, workspace, home) = (Postgres::start(), workspace(), tempfile::tempdir().unwrap());
    let (folder, port) = (server.folder().to_str().unwrap(), server.port().to_string());
    let encoded = folder.replace('/', "%2F");
    let on_socket = [("PGHOST", folder), ("PGPORT", &port), ("PGUSER", "ada")];
    let with_password = [("PGPORT", port.as_str()), ("PGPASSWORD", PASSWORD)];
    let file = home.path().join("passwords");
    private(&file, &format!("127.0.0.1:{port}:*:ada:{PASSWORD}\n"));
    let passfile = file.to_str().unwrap();
    let services = format!("[plans]\nhost={folder}\nport={port}\ndbname=plans\nuser=ada\n");
    fs::write(home.path().join(".pg_service.conf"), services).unwrap();
    let taken = |url: &str, variables: &[(&str, &str)]| {
        let said = plan(&workspace, home.path(), &[variables, &[("DATABASE_URL", url)]].concat());
        assert!(said.out.contains("nothing stands against it"), "{url} {variables:?}: {said:?}");
    };
    taken("postgresql:///plans", &on_socket);
    taken(&format!("postgresql://ada@{encoded}/plans?port={port}"), &[]);
    taken(&format!("host={folder} port={port} user=ada dbname=plans sslmode=verify-full sslrootcert=/ca.pem"), &[]);
    for parameter in [
        "sslmode=allow",
        "sslmode=prefer",
        "sslmode=disable",
        "gssencmode=disable",
        "keepalives_count=3",
        "target_session_attrs=primary",
        "target_session_attrs=read-write",
        "application_name=x&connect_timeout=3&channel_binding=prefer",
    ] {
        taken(&format!("postgresql://ada@127.0.0.1/plans?{parameter}"), &with_password);
    }
    taken(&format!("postgresql://ada@127.0.0.1:{port}/plans?passfile={passfile}"), &[]);
    taken(&format!("postgresql://ada@127.0.0.1:{port}/plans"), &[("PGPASSFILE", passfile)]);
    private(&home.path().join(".pgpass"), &format!("127.0.0.1:*:plans:*:{PASSWORD}\n"));
    taken(&format!("postgresql://ada@127.0.0.1:{port}/plans"), &[]);
    taken("service=plans", &[]);
    taken("postgresql://", &[("PGSERVICE", "plans")]);
    let elsewhere = home.path().join("elsewhere.conf");
    fs::rename(home.path().join(".pg_service.conf"), &elsewhere).unwrap();
    taken("postgresql://", &[("PGSERVICE", "plans"), ("PGSERVICEFILE", elsewhere.to_str().unwrap())]);
}

#[test]
fn e15_what_is_refused_is_named_and_blamed_on_where_it_stands() {
    let (workspace, home) = (workspace(), tempfile::tempdir().unwrap());
    let secret = "s3cret-Pa55";
    let refused = |variables: &[(&str, &str)], why: &str| {
        let said = plan(&workspace, home.path(), variables);
        let all = format!("{}{}", said.out, said.err);
        assert!(said.code != 0 && all.contains(why), "{variables:?}: {said:?}");
        assert!(!all.contains("s3cret"), "{said:?}");
    };
    for (url, why) in [
        (format!("postgresql+psycopg2://app:{secret}@127.0.0.1/p"), "write postgresql:// without + and what follows"),
        (
            "postgresql://app@127.0.0.1/p?sslmode=require&sslcert=/c&sslkey=/k".to_owned(),
            "/c: no certificates can be read",
        ),
        (format!("postgresql://app:{secret}@127.0.0.1:x/p"), "DATABASE_URL: port: the port of host 1"),
        (format!("postgresql://app:s3cret/{secret}@127.0.0.1/p"), "DATABASE_URL: port: the port of host 1"),
        (format!("host=127.0.0.1 password={secret} s3cret"), "DATABASE_URL: it cannot be read: word 3 has no ="),
        (format!("postgresql://app:{secret}@127.0.0.1/p?sslmode=s3cret"), "DATABASE_URL: sslmode: it is none of"),
        ("service=none".to_owned(), "DATABASE_URL: service: there is no such service in "),
    ] {
        refused(&[("DATABASE_URL", &url)], why);
    }
    refused(&[("DATABASE_URL", "postgresql://h/d"), ("PGPORT", secret)], "PGPORT: port: the port of host 1");
    let file = format!("storage: {{database: {{type: postgresql, url: 'host=h s3cret={secret}'}}}}\n");
    workspace.write("config/storage-config.yaml", file);
    let said = workspace.run(["migrate", "database", "--dry-run"]);
    assert!(said.out.contains("storage.database.url: it cannot be read") && !said.out.contains("s3cret"), "{said:?}");
}
