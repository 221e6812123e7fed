//! Whose table it is, whether a COMMIT happened, and what triggers and others make of a table.

mod addresses;
mod commits;
mod copies;
mod left;
mod tables;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use milescale_testkit::{Postgres, Said, Workspace};

use crate::BINARY;

/// A workspace with three milestones in files, and the server that it can move to.
struct Plans {
    above: tempfile::TempDir,
    server: Postgres,
}

impl Plans {
    fn new() -> Self {
        let plans = Self { above: tempfile::tempdir().unwrap(), server: Postgres::start() };
        fs::create_dir(plans.root("one")).unwrap();
        let one = plans.workspace("one");
        assert_eq!(one.run(["init"]).code, 0);
        configure(&one, &plans.server.url());
        for number in 1..=3 {
            one.write(format!("active/m{number}.yaml"), "title: a\nstatus: active\n");
        }
        plans
    }

    /// The same, moved to the server.
    fn moved() -> Self {
        let plans = Self::new();
        let said = move_to_server(&plans.workspace("one"));
        assert_eq!(said.code, 0, "{said:?}");
        plans
    }

    fn root(&self, name: &str) -> std::path::PathBuf {
        self.above.path().join(name)
    }

    fn workspace(&self, name: &str) -> Workspace {
        Workspace::at(&self.root(name), BINARY)
    }

    /// `cp -a` of a workspace.
    fn copy(&self, from: &str, to: &str) -> Workspace {
        let copied = Command::new("cp").arg("-a").arg(self.root(from)).arg(self.root(to)).status().unwrap();
        assert!(copied.success());
        self.workspace(to)
    }

    /// All rows, with what milescale keeps beside them.
    fn table(&self) -> String {
        let rows = "SELECT id, data, updated_at FROM milestones ORDER BY id";
        let meta = "SELECT workspace, path, number, token FROM milescale_meta";
        format!("{}\n{}", self.server.psql("plans", rows), self.server.psql("plans", meta))
    }

    fn psql(&self, sql: &str) -> String {
        self.server.psql("plans", sql)
    }
}

fn configure(workspace: &Workspace, url: &str) {
    let text =
        format!("storage:\n  database: {{ type: sqlite, url: \"{url}\" }}\n  performance: {{ query_timeout: 1 }}\n");
    workspace.write("config/storage-config.yaml", text);
}

fn move_to_server(workspace: &Workspace) -> Said {
    workspace.run(["migrate", "database", "--engine", "postgresql", "--yes"])
}

/// Puts a text, over what is there where a digest is given.
fn put(workspace: &Workspace, id: &str, text: &str, over: Option<&str>) -> Said {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let mut arguments = vec!["milestone", "put", id, file.path().to_str().unwrap()];
    arguments.extend(over.iter().flat_map(|digest| ["--if-match", digest]));
    workspace.run(arguments)
}

fn digest(workspace: &Workspace, id: &str) -> String {
    workspace.run(["milestone", "show", id, "--digest"]).out.trim().to_owned()
}

/// `doctor --fix identity` on a terminal, with an answer.
fn fix_identity(workspace: &Workspace, answer: &str) -> String {
    let line = format!("{BINARY} doctor --fix identity");
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(workspace.root());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), format!("{answer}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

/// Makes a copy of files what a copy of the whole file system is: inodes and places are those of the original, as on
/// another machine.
fn as_an_image(copy: &Path) {
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(copy.join(".milestones/.milescale")).unwrap());
    let path = copy.join(".milestones/.milescale/identity");
    let mut identity: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    identity["folder"] = inode.into();
    identity["places"][0]["path"] = copy.canonicalize().unwrap().to_str().unwrap().into();
    fs::write(path, identity.to_string()).unwrap();
}
