//! A workspace that a group shares: its members work in turns, and none gets what another one keeps for himself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::door;
use super::rights::{LIST, NOBODY, give_list, list_of_rights};

/// The group.
const GROUP: u32 = 60000;

/// Its members.
const USERS: [u32; 2] = [65532, 65531];

/// A folder of the first of two users, for the group of both.
struct Shared {
    root: PathBuf,
    homes: [TempDir; 2],
    _folder: TempDir,
}

impl Shared {
    /// One that both have trusted, with a milestone of each.
    fn new() -> Self {
        let new = Self::empty();
        assert_eq!(new.run(0, &["init"]).0, 0);
        assert_eq!(new.run(1, &["trust", new.root.to_str().unwrap()]).0, 0);
        for (user, id) in ["of-one", "of-two"].into_iter().enumerate() {
            let (code, said) = new.run(user, &["milestone", "put", id, "doc.yaml"]);
            assert_eq!(code, 0, "{said}");
        }
        new
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("plans");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(&root, Some(USERS[0]), Some(GROUP)).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o2775)).unwrap();
        fs::write(root.join("doc.yaml"), "title: x\n").unwrap();
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (home, user) in homes.iter().zip(USERS) {
            chown(home.path(), Some(user), None).unwrap();
        }
        Self { root, homes, _folder: folder }
    }

    fn command(&self, user: usize, program: &str, arguments: &[&str]) -> (i32, String) {
        self.command_with("002", user, program, arguments)
    }

    fn command_with(&self, umask: &str, user: usize, program: &str, arguments: &[&str]) -> (i32, String) {
        // By setpriv itself, which root's rights leave first after: this checkout may lie in a folder of root's alone.
        let script = format!(r#"umask {umask}; exec setpriv --reuid="$0" --regid=60000 --clear-groups -- "$@""#);
        let output = Command::new("sh")
            .args(["-c", &script, &USERS[user].to_string(), program])
            .args(arguments)
            .current_dir(&self.root)
            .env("XDG_CONFIG_HOME", self.homes[user].path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs milescale as one of the users.
    fn run(&self, user: usize, arguments: &[&str]) -> (i32, String) {
        self.command(user, crate::BINARY, arguments)
    }

    /// The same, which has to succeed.
    fn does(&self, user: usize, arguments: &[&str]) {
        let (code, said) = self.run(user, arguments);
        assert_eq!(code, 0, "{user}, {arguments:?}: {said}");
    }

    /// The same as root, with this umask.
    fn does_as_root(&self, umask: &str, arguments: &[&str]) {
        // What root trusts is written in a folder of root's own.
        let home = self.homes[0].path().join("of-root");
        fs::create_dir_all(&home).unwrap();
        let output = Command::new("sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), crate::BINARY])
            .args(arguments)
            .current_dir(&self.root)
            .env("XDG_CONFIG_HOME", &home)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// The same, which has to be refused for a reason.
    fn refuses(&self, user: usize, arguments: &[&str], why: &str) {
        let (code, said) = self.run(user, arguments);
        assert!(code == 1 && said.contains(why), "{user}, {arguments:?}: {said}");
    }

    /// A milestone of one user that nobody else may read.
    fn private(&self, user: usize) {
        let script = "umask 077; echo 'title: PRIVATE-TEXT' > .milestones/active/private.yaml";
        assert_eq!(self.command(user, "sh", &["-c", script]).0, 0);
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.root.join(".milestones").join(inside)
    }

    /// Mode and owner.
    fn rights(&self, inside: &str) -> (u32, u32) {
        let metadata = fs::metadata(self.path(inside)).unwrap();
        (metadata.mode() & 0o777, metadata.uid())
    }

    /// Whether somebody who is in no group finds the private text anywhere.
    fn is_told_to_others(&self) -> bool {
        let found = Command::new("setpriv")
            .args(["--reuid=65530", "--regid=65530", "--clear-groups", "grep", "-rl", "PRIVATE-TEXT", ".milestones"])
            .current_dir(&self.root)
            .output()
            .unwrap();
        !found.stdout.is_empty()
    }
}

#[test]
fn a_workspace_that_a_group_shares_is_used_by_all_who_trust_it_needs_root() {
    let shared = Shared::empty();
    shared.does(0, &["init"]);
    shared.refuses(1, &["status"], "milescale trust");
    shared.does(1, &["trust", shared.root.to_str().unwrap()]);
    // What one has made the other one writes to, in turn.
    for (round, user) in [1, 0, 1, 0].into_iter().enumerate() {
        let id = format!("m-{round}");
        for arguments in [&["milestone", "put", &id, "doc.yaml"][..], &["check"], &["milestone", "list"]] {
            shared.does(user, arguments);
        }
    }
    // Folders that the other one has made count as trusted.
    shared.does(0, &["status"]);
    for arguments in [&["migrate", "hybrid", "--yes"][..], &["migrate", "database", "--yes"]] {
        shared.does(0, arguments);
    }
    shared.does(1, &["milestone", "list"]);
    // Whoever moves back, each writes each file again.
    shared.does(1, &["rollback", "--yes"]);
    for entry in fs::read_dir(shared.path("active")).unwrap() {
        let file = entry.unwrap();
        let mode = file.metadata().unwrap().mode();
        assert_eq!(mode & 0o060, 0o060, "{}: {mode:o}", file.path().display());
    }
    door("D9", "two accounts of a group, who take turns", "each writes what the other one made, after one `trust`");
}

/// A database and an index that a colleague has made, and that he keeps.
#[test]
fn a_store_of_a_colleague_is_not_filled_with_what_he_may_not_read_needs_root() {
    let shared = Shared::new();
    shared.does(1, &["migrate", "database", "--yes"]);
    shared.does(1, &["migrate", "file", "--yes"]);
    shared.does(1, &["migrate", "hybrid", "--yes"]);
    shared.does(1, &["migrate", "file", "--yes"]);
    assert_eq!((shared.rights("enterprise.db"), shared.rights("index.db")), ((0o664, USERS[1]), (0o664, USERS[1])));
    shared.private(0);
    let refused = "it belongs to somebody who may not read the milestones";
    shared.refuses(0, &["migrate", "database", "--dry-run"], refused);
    shared.refuses(0, &["migrate", "database", "--yes"], refused);
    // An index is derived: a new one takes its place.
    shared.does(0, &["migrate", "hybrid", "--dry-run"]);
    shared.does(0, &["migrate", "hybrid", "--yes"]);
    assert_eq!(shared.rights("index.db"), (0o600, USERS[0]));
    shared.does(0, &["migrate", "file", "--yes"]);
    // Who may not read all of them moves none, and changes nothing.
    shared.refuses(1, &["migrate", "hybrid", "--dry-run"], "private.yaml: this user may not read it");
    shared.refuses(1, &["migrate", "hybrid", "--yes"], "private.yaml: this user may not read it");
    assert_eq!(shared.rights("index.db"), (0o600, USERS[0]));
    // And one's own database of before is narrowed.
    fs::rename(shared.path("enterprise.db"), shared.path("his.db")).unwrap();
    fs::rename(shared.path("active/private.yaml"), shared.root.join("aside")).unwrap();
    shared.does(0, &["migrate", "database", "--yes"]);
    shared.does(0, &["migrate", "file", "--yes"]);
    assert_eq!(shared.rights("enterprise.db"), (0o664, USERS[0]));
    fs::rename(shared.root.join("aside"), shared.path("active/private.yaml")).unwrap();
    shared.does(0, &["migrate", "database", "--yes"]);
    assert_eq!(shared.rights("enterprise.db"), (0o600, USERS[0]));
    assert!(!shared.is_told_to_others());
    door(
        "D8",
        "a database and an index of a colleague, of before a milestone was private",
        "refused; made anew; 0 told",
    );
}

/// As `sudo` and cron are: of root, with a umask that lets no group write.
#[test]
fn what_root_makes_in_a_folder_that_a_group_shares_stays_the_groups_needs_root() {
    let shared = Shared::new();
    let changes = |user: usize, id: &str| {
        let digest = shared.run(user, &["milestone", "show", id, "--digest"]).1;
        shared.does(user, &["milestone", "put", id, "doc.yaml", "--if-match", digest.trim()]);
        shared.does(user, &["check"]);
    };
    shared.does_as_root("022", &["trust", shared.root.to_str().unwrap()]);
    for logs in fs::read_dir(shared.path("logs")).unwrap() {
        fs::remove_file(logs.unwrap().path()).unwrap();
    }
    shared.does(0, &["milestone", "put", "third", "doc.yaml"]);
    shared.does_as_root("022", &["check"]);
    shared.does_as_root("022", &["milestone", "archive", "third"]);
    for (user, id) in [(0, "of-two"), (1, "of-one")] {
        changes(user, id);
    }
    for to in ["hybrid", "database"] {
        shared.does_as_root("022", &["migrate", to, "--yes"]);
        for (user, id) in [(0, "of-two"), (1, "of-one")] {
            changes(user, id);
        }
    }
    shared.does(1, &["migrate", "file", "--yes"]);
    changes(0, "of-one");
    // The same with a umask that lets no group read either, where a member has left a file that only its owner may write.
    fs::set_permissions(shared.path("active/of-one.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
    shared.does_as_root("077", &["milestone", "archive", "of-two"]);
    shared.does_as_root("077", &["pause"]);
    shared.does_as_root("077", &["resume"]);
    for to in ["hybrid", "database"] {
        shared.does_as_root("077", &["migrate", to, "--yes"]);
        for user in [0, 1] {
            changes(user, "of-one");
        }
    }
    shared.does(1, &["migrate", "file", "--yes"]);
    changes(0, "of-one");
    door(
        "D9",
        "root with umask 022 and 077 in a folder that a group shares: check, archive, moves",
        "the group writes on",
    );
}

/// In a folder with a list, the bit of the group says what the list allows at most.
#[test]
fn who_may_only_read_by_a_list_is_not_let_write_by_root_needs_root() {
    let shared = Shared::empty();
    // The second user by name; the group reads.
    let list = list_of_rights(&[(1, 7, NOBODY), (2, 7, USERS[1]), (4, 5, NOBODY), (16, 7, NOBODY), (32, 5, NOBODY)]);
    shared.does(0, &["init"]);
    let closed = Command::new("chmod").args(["-R", "g-w"]).arg(shared.path("")).status().unwrap();
    assert!(closed.success());
    let mut folders = vec![shared.path("")];
    while let Some(folder) = folders.pop() {
        if !give_list(&folder, LIST, &list) {
            return;
        }
        let below = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(below.filter(|path| path.is_dir()));
    }
    fs::write(shared.path("active/of-root.yaml"), "title: x\n").unwrap();
    for arguments in [&["trust", shared.root.to_str().unwrap()][..], &["check"], &["migrate", "hybrid", "--yes"]] {
        shared.does_as_root("022", arguments);
    }
    // Another member of the group.
    let writable = Command::new("setpriv")
        .args([
            "--reuid=65529",
            "--regid=60000",
            "--clear-groups",
            "find",
            ".milestones",
            "-writable",
            "-not",
            "-type",
            "l",
        ])
        .current_dir(&shared.root)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&writable.stdout), "");
    door("D9", "root in folders whose list lets the group read", "the group writes nothing");
}

/// What leaves such a folder would be for more users, and only its owner may take that from it.
#[test]
fn files_stay_in_a_folder_that_lets_in_fewer_users_than_the_workspace_needs_root() {
    let shared = Shared::new();
    let close = |folder: &str| fs::set_permissions(shared.path(folder), fs::Permissions::from_mode(0o2770)).unwrap();
    close("active");
    let stays = "its folder lets in fewer users than the workspace does, and only";
    let digest = shared.run(1, &["milestone", "show", "of-one", "--digest"]).1;
    let put = |user: usize| {
        let digest = digest.trim();
        shared.run(user, &["milestone", "put", "of-one", "doc.yaml", "--if-match", digest])
    };
    let (code, said) = put(1);
    assert!(code == 1 && said.contains(stays), "{said}");
    let (code, said) = shared.run(1, &["migrate", "database", "--dry-run"]);
    assert!(code == 0 && said.contains("before the milestones can come back to files"), "{said}");
    fs::write(shared.path("config/storage-config.yaml"), "storage:\n  migration: {files_after: retire}\n").unwrap();
    shared.refuses(1, &["migrate", "database", "--dry-run"], stays);
    // Its owner takes it from them by writing it.
    assert_eq!(put(0).0, 0);
    assert_eq!(shared.rights("active/of-one.yaml"), (0o660, USERS[0]));
    fs::set_permissions(shared.path("active/of-one.yaml"), fs::Permissions::from_mode(0o664)).unwrap();
    // The whole workspace instead of that folder: then nothing is for more users than before.
    fs::set_permissions(shared.path(""), fs::Permissions::from_mode(0o2770)).unwrap();
    shared.does(1, &["migrate", "database", "--yes"]);
    shared.does(1, &["rollback", "--yes"]);
    // The configuration is exchanged as well, where the engine is another one.
    fs::set_permissions(shared.path(""), fs::Permissions::from_mode(0o2775)).unwrap();
    fs::set_permissions(shared.path("active"), fs::Permissions::from_mode(0o2775)).unwrap();
    let config = "storage:\n  database: {type: postgresql, url: postgresql://a@127.0.0.1/x}\n";
    fs::write(shared.path("config/storage-config.yaml"), config).unwrap();
    chown(shared.path("config/storage-config.yaml"), Some(USERS[0]), Some(GROUP)).unwrap();
    close("config");
    for how in ["--dry-run", "--yes"] {
        shared.refuses(1, &["migrate", "database", "--engine", "sqlite", how], stays);
    }
    assert_eq!(fs::read_to_string(shared.path("config/storage-config.yaml")).unwrap(), config);
    door("D8", "files of a colleague in a folder that is closed to others", "named before a move; 0 left half moved");
}

/// A letter box: members may put files into it, and not list it.
#[test]
fn a_folder_that_may_be_written_to_and_not_listed_takes_an_export_needs_root() {
    let shared = Shared::new();
    let letter_box = shared.root.join("box");
    fs::create_dir(&letter_box).unwrap();
    fs::set_permissions(&letter_box, fs::Permissions::from_mode(0o733)).unwrap();
    let (code, said) = shared.run(1, &["milestone", "export", "--dir", "box"]);
    assert_eq!(code, 0, "{said}");
    let mut there: Vec<_> = fs::read_dir(&letter_box).unwrap().map(|it| it.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["of-one.yaml", "of-two.yaml"]);
}

/// One member's umask keeps no other one out of what milescale keeps for all; what he keeps from the group for himself stays his.
#[test]
fn the_umask_of_one_member_keeps_no_other_one_out_needs_root() {
    for umask in ["022", "077"] {
        let shared = Shared::new();
        let put = |user: usize, umask: &str, id: &str, text: &str| {
            fs::write(shared.root.join("doc.yaml"), format!("title: {text}\n")).unwrap();
            let (code, seen) = shared.run(user, &["milestone", "show", id, "--digest"]);
            let all = ["milestone", "put", id, "doc.yaml", "--if-match", seen.trim()];
            shared.command_with(umask, user, crate::BINARY, if code == 0 { &all } else { &all[..4] })
        };
        // What is there stays the group's, and so does what milescale keeps of it.
        let (code, said) = put(1, umask, "of-one", "written by two");
        assert_eq!(code, 0, "{said}");
        assert_eq!(shared.rights("active/of-one.yaml").0, 0o664, "{umask}");
        assert_eq!(shared.rights(".milescale/displaced").0 & 0o070, 0o070, "{umask}");
        let (code, said) = put(0, "002", "of-two", "written by one");
        assert_eq!(code, 0, "{umask}: {said}");
        // A new one is as he says who writes it.
        assert_eq!(put(1, umask, "new", "new").0, 0);
        assert_eq!(shared.rights("active/new.yaml").0 & 0o070, if umask == "022" { 0o060 } else { 0 });
        fs::remove_file(shared.path("active/new.yaml")).unwrap();
        // A move, and the way back by the other one.
        for (user, umask, to) in
            [(1, umask, "hybrid"), (0, "002", "database"), (1, umask, "file"), (0, "002", "hybrid")]
        {
            let (code, said) = shared.command_with(umask, user, crate::BINARY, &["migrate", to, "--yes"]);
            assert_eq!(code, 0, "{umask}, {to}: {said}");
        }
        assert_eq!(shared.command_with(umask, 1, crate::BINARY, &["check"]).0, 0);
        shared.does(0, &["check"]);
        assert!(shared.run(0, &["doctor"]).1.contains("0 wrong"), "{}", shared.run(0, &["doctor"]).1);
    }
    door(
        "D9",
        "a member with umask 022 and 077: puts, moves, a check",
        "the others write on; what is new is as private as he says",
    );
}

/// A folder that a member has closed is named before a move, by `doctor`, and where a write needs it, with who can open it.
#[test]
fn a_closed_folder_of_milescales_own_is_named_with_who_opens_it_needs_root() {
    let shared = Shared::new();
    shared.does(1, &["check"]);
    let displaced = shared.path(".milescale/displaced");
    fs::create_dir_all(&displaced).unwrap();
    chown(&displaced, Some(USERS[1]), Some(GROUP)).unwrap();
    fs::set_permissions(&displaced, fs::Permissions::from_mode(0o2755)).unwrap();
    let step = format!("let the user {} run `chmod g+rwx .milestones/.milescale/displaced`", USERS[1]);
    let seen = shared.run(0, &["milestone", "show", "of-one", "--digest"]).1;
    fs::write(shared.root.join("doc.yaml"), "title: changed\n").unwrap();
    shared.refuses(0, &["milestone", "put", "of-one", "doc.yaml", "--if-match", seen.trim()], &step);
    shared.refuses(0, &["migrate", "database", "--yes"], &step);
    shared.refuses(0, &["doctor"], &step);
    fs::set_permissions(&displaced, fs::Permissions::from_mode(0o2775)).unwrap();
    shared.does(0, &["milestone", "put", "of-one", "doc.yaml", "--if-match", seen.trim()]);
    // A file of state that he keeps to himself.
    let record = shared.path(".milescale/migration.json");
    shared.does(1, &["migrate", "hybrid", "--yes"]);
    fs::set_permissions(&record, fs::Permissions::from_mode(0o600)).unwrap();
    shared.refuses(0, &["milestone", "list"], "run `chmod g+rw .milestones/.milescale/migration.json`");
}

/// A database of private milestones is not opened to others by what is said of it, and a restore says for whom its files are.
#[test]
fn what_is_said_of_private_milestones_opens_them_to_nobody_needs_root() {
    let shared = Shared::new();
    shared.private(0);
    let (code, plan) = shared.run(0, &["migrate", "database", "--dry-run"]);
    assert!(code == 0 && plan.contains("enterprise.db will not be for all who use the workspace"), "{plan}");
    shared.does(0, &["migrate", "database", "--yes"]);
    let plan = shared.run(0, &["migrate", "file", "--dry-run"]).1;
    assert!(plan.contains("to those that are not private") && !plan.contains("give them the right to read"), "{plan}");
    shared.refuses(1, &["milestone", "list"], "where none of them is private");
    let backup = fs::read_dir(shared.path("backups")).unwrap().next().unwrap().unwrap().file_name();
    shared.does(0, &["milestone", "archive", "of-one"]);
    let (code, said) = shared.run(0, &["restore", backup.to_str().unwrap(), "--yes"]);
    assert!(code == 0 && said.contains("for those who may read the backup"), "{said}");
}

/// What a colleague keeps private is in no sentence that says how to open it, nor an empty file of an export; and a folder above that one
/// may not list is in nobody's way.
#[test]
fn what_a_colleague_keeps_private_is_his_in_sentences_and_exports_needs_root() {
    let shared = Shared::new();
    shared.private(0);
    let conflict = shared.path(".milescale/conflicts/one.private.yaml");
    shared.does(0, &["check"]);
    fs::create_dir_all(conflict.parent().unwrap()).unwrap();
    fs::write(&conflict, "title: PRIVATE-TEXT\n").unwrap();
    chown(&conflict, Some(USERS[0]), Some(GROUP)).unwrap();
    fs::set_permissions(&conflict, fs::Permissions::from_mode(0o600)).unwrap();
    for arguments in [&["conflicts", "list"][..], &["conflicts", "show", "one.private.yaml"]] {
        let said = shared.run(1, arguments).1;
        assert!(!said.contains("chmod"), "{arguments:?}: {said}");
    }
    let (code, said) = shared.run(1, &["milestone", "export", "--dir", "out"]);
    assert!(code == 1 && said.contains("private.yaml: it cannot be exported"), "{said}");
    assert!(!shared.root.join("out/private.yaml").exists() && shared.root.join("out/of-one.yaml").exists());
    // As with `sudo -u plans` out of a folder of root's.
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let script = r#"cd "$1"; exec setpriv --reuid="$2" --regid=60000 --clear-groups -- "$0" status --workspace "$3""#;
    let output = Command::new("sh")
        .args(["-c", script, crate::BINARY])
        .args([closed.path(), std::path::Path::new(&USERS[1].to_string()), &shared.root])
        .env("XDG_CONFIG_HOME", shared.homes[1].path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
