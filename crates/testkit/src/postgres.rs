//! A PostgreSQL server of a test's own: in a temporary folder, on a socket in it and on a port of the loopback.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::until;

/// The password of the user `ada`, to look for where none may be.
pub const PASSWORD: &str = "s3cret-Pa55";

/// A server that runs; it goes when this is dropped, and with the test's process.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    _outer: tempfile::TempDir,
    port: u16,
    child: Child,
}

/// Where Debian keeps the programs of the newest server that is installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: tests/run does that");
    let newest = versions
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()).unwrap_or_default());
    newest.expect("a version of PostgreSQL is installed").join("bin")
}

/// A port of the loopback that nobody has now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A command as a user that PostgreSQL lets run a server: not root. It ends with the thread that started it.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if fs::metadata("/proc/self").map(|it| std::os::unix::fs::MetadataExt::uid(&it)).unwrap() == 0 {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    }
    command.arg(program).stdin(Stdio::null()).stdout(Stdio::null()).env("LC_ALL", "C.UTF-8");
    command
}

/// A folder of that user's, in one that nobody else writes: the server makes its data there, and a socket for everybody.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::Builder::new().prefix("milescale-pg-").tempdir().unwrap();
    let folder = outer.path().join("pg");
    fs::create_dir(&folder).unwrap();
    for path in [outer.path(), &folder] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let user = as_server_user(Path::new("id")).arg("-u").stdout(Stdio::piped()).output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap().trim().parse().expect("the number of a user");
    std::os::unix::fs::chown(&folder, Some(user), None).unwrap();
    (outer, folder)
}

impl Postgres {
    /// A fresh server with the users `postgres` and `ada` (with [`PASSWORD`], needed on the port) and the database `plans`.
    pub fn start() -> Self {
        let (outer, folder) = folder();
        let data = folder.join("data");
        let made = as_server_user(&programs().join("initdb"))
            .args(["--no-sync", "--no-instructions", "-A", "trust", "-U", "postgres", "-E", "UTF8", "-D"])
            .arg(&data)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        fs::write(
            data.join("pg_hba.conf"),
            "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\nlocal replication all trust\n",
        )
        .unwrap();
        let server = Self::started(outer, folder);
        server.psql("postgres", &format!("CREATE ROLE ada LOGIN PASSWORD '{PASSWORD}'"));
        server.psql("postgres", "CREATE DATABASE plans OWNER ada");
        server
    }

    /// Starts a server on data that is there. A port that was free may be taken before the server has it: then another.
    fn started(outer: tempfile::TempDir, folder: PathBuf) -> Self {
        let port = free_port();
        let mut server = Self { child: spawn(&folder, port), folder, _outer: outer, port };
        while !server.is_ready() {
            server.port = free_port();
            server.child = spawn(&server.folder, server.port);
        }
        server
    }

    /// Waits until it answers; `false` where it has ended instead.
    fn is_ready(&mut self) -> bool {
        until("the server answers or ends", || {
            let asked = self.client("postgres").args(["-c", "SELECT 1"]).output().unwrap();
            let ended = self.child.try_wait().unwrap().is_some();
            (asked.status.success() || ended).then_some(!ended)
        })
    }

    /// Its URL over the socket, as `ada`.
    pub fn url(&self) -> String {
        let socket = self.folder.to_str().unwrap().replace('/', "%2F");
        format!("postgresql://ada@{socket}:{}/plans", self.port)
    }

    /// Makes another database of `ada`'s: its URL over the socket.
    pub fn database(&self, name: &str) -> String {
        self.psql("postgres", &format!("CREATE DATABASE {name} OWNER ada"));
        let url = self.url();
        format!("{}/{name}", url.rsplit_once('/').map_or(url.as_str(), |(server, _)| server))
    }

    /// Its URL over the loopback, with the password.
    pub fn tcp_url(&self) -> String {
        format!("postgresql://ada:{PASSWORD}@127.0.0.1:{}/plans", self.port)
    }

    /// The port on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of its first process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A command as the server's user, which ends with the test.
    pub fn run_as_server_user(&self, program: impl AsRef<Path>) -> Command {
        as_server_user(program.as_ref())
    }

    /// The server's folder: `data` and the socket are in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `psql` as the superuser, ready for its arguments.
    pub fn client(&self, database: &str) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        command.arg(&self.folder).args(["-p", &self.port.to_string()]).stdin(Stdio::null());
        command
    }

    /// What `psql` prints as the superuser.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let said = self.client(database).args(["-c", sql]).output().unwrap();
        assert!(said.status.success(), "{sql}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim_end().to_owned()
    }

    /// A standby of it, that follows it.
    #[must_use]
    pub fn standby(&self) -> Self {
        let (outer, folder) = folder();
        let copied = as_server_user(&programs().join("pg_basebackup"))
            .args([
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "--no-sync",
                "-U",
                "postgres",
                "-p",
                &self.port.to_string(),
                "-h",
            ])
            .arg(&self.folder)
            .arg("-D")
            .arg(folder.join("data"))
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        Self::started(outer, folder)
    }

    /// Gives it a certificate that an authority of the test's own has signed for `localhost`, and starts it anew with TLS
    /// on. The authority's certificate; beside it lie `ada.crt` and `ada.key`, which prove the client.
    pub fn with_tls(&mut self) -> PathBuf {
        let folder = &self.folder;
        let script = "set -e; cd \"$1\"
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-authority -keyout ca.key -out ca.pem
            openssl req -newkey rsa:2048 -nodes -subj /CN=ada -keyout ada.key -out ada.csr
            printf 'basicConstraints=CA:FALSE\n' > client
            openssl x509 -req -days 2 -in ada.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile client -out ada.crt
            openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
            printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' > extensions
            openssl x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions -out server.crt
            chmod 600 server.key; chown --reference=data server.key server.crt; mv server.key server.crt data/
            chmod 600 ada.key; cp ca.pem data/; chown --reference=data data/ca.pem
            printf 'ssl = on\nssl_ca_file = \\047ca.pem\\047\n' >> data/postgresql.conf";
        let made = Command::new("sh").args(["-c", script, "sh"]).arg(folder).stderr(Stdio::piped()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let authority = folder.join("ca.pem");
        self.crash();
        self.start_again();
        authority
    }

    /// Sends the server's first process a signal, by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Stops it at once, as a crash does, and waits for its end.
    pub fn crash(&mut self) {
        self.signal("QUIT");
        until("the server's end", || self.child.try_wait().unwrap());
    }

    /// Starts it again after a crash.
    pub fn start_again(&mut self) {
        let mut tries = 0;
        loop {
            self.child = spawn(&self.folder, self.port);
            if self.is_ready() {
                return;
            }
            tries += 1;
            assert!(tries < 100, "its port is taken: {}", fs::read_to_string(self.folder.join("log")).unwrap());
        }
    }
}

fn spawn(folder: &Path, port: u16) -> Child {
    as_server_user(&programs().join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}")])
        .args(["-c", &format!("unix_socket_directories={}", folder.display())])
        .args(["-c", "shared_buffers=16MB", "-c", "max_connections=60", "-c", "timezone=Asia/Tokyo"])
        .stderr(fs::File::options().append(true).create(true).open(folder.join("log")).unwrap())
        .spawn()
        .unwrap()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for name in ["CONT", "QUIT"] {
            let _ = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        }
        let _ = self.child.wait();
    }
}
