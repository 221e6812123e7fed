//! Copies are for nobody who could not read the original, whatever the umask.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use milescale_testkit::Workspace;

use super::rights::{LIST, NOBODY, entry_of_rights, give_list, list_at, list_of_rights, one_reader_named};
use super::{as_nobody_reads, bounded, door, is_root};
use crate::workspace;

/// Runs commands under a umask.
fn run(workspace: &Workspace, umask: &str, arguments: &[&str]) {
    let output = Command::new("sh")
        .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
        .arg(crate::BINARY)
        .args(arguments)
        .current_dir(workspace.root())
        .env("XDG_CONFIG_HOME", workspace.root().join(".config-of-the-person"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

fn set_mode(workspace: &Workspace, path: &str, mode: u32) {
    fs::set_permissions(workspace.path(path), fs::Permissions::from_mode(mode)).unwrap();
}

/// A workspace of two milestones, each for a group.
fn for_groups(groups: [u32; 2]) -> Workspace {
    let workspace = workspace();
    workspace.milestones("m", 2);
    for (number, group) in groups.into_iter().enumerate() {
        let name = format!("active/m-{number}.yaml");
        chown(workspace.path(&name), None, Some(group)).unwrap();
        set_mode(&workspace, &name, 0o640);
    }
    workspace
}

/// The backup whose name has a word.
fn backup_of(workspace: &Workspace, word: &str) -> String {
    let backups = fs::read_dir(workspace.path("backups")).unwrap();
    let mut names = backups.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.find(|name| name.contains(word)).unwrap()
}

/// Nobody but their owners may read these.
#[track_caller]
fn are_private(found: impl IntoIterator<Item = (String, u32)>) {
    for (path, mode) in found {
        assert_eq!(mode & 0o077, 0, "{path} has the mode {mode:o}");
    }
}

/// Every file below a folder whose text has a word, with its mode.
fn holding(workspace: &Workspace, word: &str) -> Vec<(String, u32)> {
    let found = Command::new("grep").args(["-rlaF", word]).arg(workspace.path("")).output().unwrap();
    let paths = String::from_utf8_lossy(&found.stdout).into_owned();
    let mode = |path: &str| (path.to_owned(), fs::metadata(path).unwrap().mode() & 0o777);
    paths.lines().map(mode).collect()
}

#[test]
fn d08_what_holds_a_private_text_is_private_in_all_that_is_made_of_it() {
    for umask in ["000", "022", "077"] {
        let workspace = workspace();
        workspace.milestones("m", 3);
        workspace.write("active/secret.yaml", "title: PRIVATE-TEXT\n");
        set_mode(&workspace, "active/secret.yaml", 0o600);
        workspace.write("config/storage-config.yaml", "# PRIVATE-CONFIG\nstorage: {}\n");
        set_mode(&workspace, "config/storage-config.yaml", 0o600);
        for arguments in
            [&["check"][..], &["migrate", "hybrid", "--yes"], &["migrate", "database", "--yes"], &["check"]]
        {
            run(&workspace, umask, arguments);
        }
        // A conflict: both sides change.
        let sql = "UPDATE milestones SET data = '{\"title\":\"PRIVATE-TEXT row\"}' WHERE id = 'secret'";
        workspace.sqlite("enterprise.db", sql);
        set_mode(&workspace, "active/secret.yaml", 0o600);
        fs::write(workspace.path("active/secret.yaml"), "title: PRIVATE-TEXT file\n").unwrap();
        run(&workspace, umask, &["check"]);
        run(&workspace, umask, &["migrate", "file", "--yes"]);
        run(&workspace, umask, &["check"]);
        let found: Vec<_> =
            ["PRIVATE-TEXT", "PRIVATE-CONFIG"].iter().flat_map(|word| holding(&workspace, word)).collect();
        assert!(found.len() >= 6, "{found:?}");
        for (path, mode) in found {
            assert_eq!(mode & 0o077, 0, "umask {umask}: {path} has the mode {mode:o}");
        }
    }
    door(
        "D8",
        "a private milestone and configuration through moves, conflicts and a return, under three umasks",
        "0 copies that others may read",
    );
}

#[test]
fn nothing_that_is_made_may_be_written_by_everybody() {
    let workspace = Workspace::empty(crate::BINARY);
    run(&workspace, "000", &["init"]);
    workspace.milestones("m", 3);
    for arguments in
        [&["check"][..], &["migrate", "hybrid", "--yes"], &["migrate", "database", "--yes"], &["check"], &["pause"]]
    {
        run(&workspace, "000", arguments);
    }
    let found =
        Command::new("find").arg(workspace.path("")).args(["-perm", "-002", "!", "-type", "l"]).output().unwrap();
    let theirs: Vec<String> = String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect();
    assert!(theirs.iter().all(|path| path.contains("/active/m-")), "what the test itself has made apart: {theirs:?}");
    door("D8", "all that is made under umask 000", "0 files that everybody may write");
}

#[test]
fn a_copy_goes_to_the_group_of_its_original_or_to_no_group_needs_root() {
    let workspace = for_groups([60001, 60001]);
    chown(workspace.path("active"), None, Some(60001)).unwrap();
    run(&workspace, "022", &["migrate", "database", "--yes"]);
    let database = fs::metadata(workspace.path("enterprise.db")).unwrap();
    assert_eq!((database.mode() & 0o777, database.gid()), (0o640, 60001));
    // Of two groups no one may read both.
    let workspace = for_groups([60001, 60002]);
    run(&workspace, "022", &["migrate", "database", "--yes"]);
    assert_eq!(fs::metadata(workspace.path("enterprise.db")).unwrap().mode() & 0o777, 0o600);
    door(
        "D8",
        "copies of files that a group may read, of one group and of two",
        "0 readers more than the originals have",
    );
}

#[test]
fn what_comes_back_from_a_private_store_is_private() {
    let workspace = workspace();
    workspace.milestones("m", 2);
    set_mode(&workspace, "active/m-0.yaml", 0o600);
    let mode = |path: &str| {
        let file = fs::metadata(workspace.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        file.mode() & 0o777
    };
    run(&workspace, "022", &["milestone", "export", "--dir", "out"]);
    assert_eq!(fs::metadata(workspace.root().join("out/m-0.yaml")).unwrap().mode() & 0o077, 0, "an export");
    run(&workspace, "022", &["migrate", "database", "--yes"]);
    let sql = "INSERT INTO milestones (id, data) VALUES ('new', '{\"title\":\"t\"}')";
    workspace.sqlite("enterprise.db", sql);
    fs::remove_file(workspace.path("active/m-0.yaml")).unwrap();
    run(&workspace, "022", &["rollback", "--yes"]);
    assert_eq!((mode("active/new.yaml"), mode("active/m-0.yaml")), (0o600, 0o600), "what a rollback makes");
    let mut backups =
        fs::read_dir(workspace.path("backups")).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let backup = backups.find(|name| name.ends_with("-file-to-sqlite")).unwrap();
    fs::remove_file(workspace.path("active/m-0.yaml")).unwrap();
    run(&workspace, "022", &["restore", &backup, "--yes"]);
    assert_eq!(mode("active/m-0.yaml"), 0o600, "what a restore makes");
    door(
        "D8",
        "an export, a rollback and a restore of a private milestone, umask 022",
        "0 copies that others may read",
    );
}

#[test]
fn modes_that_are_remembered_give_nobody_more_than_the_right_to_write() {
    let workspace = workspace();
    workspace.milestones("m", 3);
    set_mode(&workspace, "active/m-1.yaml", 0o400);
    set_mode(&workspace, "active/m-2.yaml", 0o664);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    workspace.write(".milescale/modes.json", format!("{{\"m-0.yaml\":{},\"m-1.yaml\":{}}}", 0o6777, 0o4755));
    assert_eq!(workspace.run(["rollback", "--yes"]).code, 0);
    let now = |name: &str| fs::metadata(workspace.path(name)).unwrap().mode() & 0o7777;
    assert_eq!(now("active/m-0.yaml"), 0o666, "those who may read it");
    assert_eq!(now("active/m-1.yaml"), 0o600, "nobody else could read it");
    // Without a word of it the usual one, and nothing of what was private.
    let workspace = self::workspace();
    workspace.milestones("m", 2);
    set_mode(&workspace, "active/m-1.yaml", 0o400);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    fs::remove_file(workspace.path(".milescale/modes.json")).unwrap();
    assert_eq!(workspace.run(["rollback", "--yes"]).code, 0);
    let now = |name: &str| fs::metadata(workspace.path(name)).unwrap().mode() & 0o7777;
    assert_eq!((now("active/m-0.yaml"), now("active/m-1.yaml")), (0o644, 0o400));
    door(
        "(new)",
        "a file of modes with the bits of a set user, and none",
        "0 bits beyond the right to write of those who may read",
    );
}

/// What SQLite finds beside a database it gives to the database's owner, and makes as wide.
#[test]
fn a_private_file_under_the_name_of_a_wal_stays_whose_it_is_needs_root() {
    let workspace = workspace();
    workspace.milestones("m", 2);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    let database = workspace.path("enterprise.db");
    let done = Command::new("sqlite3").arg(&database).arg("PRAGMA journal_mode = WAL").output().unwrap();
    assert!(done.status.success());
    chown(&database, Some(65534), Some(65534)).unwrap();
    for suffix in ["-wal", "-journal"] {
        let path = workspace.path(format!("enterprise.db{suffix}"));
        fs::write(&path, "private to root\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for arguments in [&["milestone", "list"][..], &["check"], &["doctor"]] {
            super::bounded(&workspace, arguments);
            if let Ok(metadata) = fs::metadata(&path) {
                assert_eq!((metadata.uid(), metadata.mode() & 0o077), (0, 0), "{suffix}: {arguments:?}");
            }
        }
        let _ = fs::remove_file(&path);
    }
    door("(new)", "a private file under the name of a WAL or a journal", "not given away");
}

/// A group that may read a file, and may not enter its folder, does not read it.
#[test]
fn a_copy_is_for_no_group_that_its_folder_keeps_out_needs_root() {
    let workspace = workspace();
    workspace.write("active/team/secret.yaml", "title: PRIVATE-TEXT\n");
    for (path, group, mode) in [("active/team/secret.yaml", 60001, 0o640), ("active/team", 60002, 0o750)] {
        chown(workspace.path(path), None, Some(group)).unwrap();
        set_mode(&workspace, path, mode);
    }
    run(&workspace, "022", &["migrate", "hybrid", "--yes"]);
    run(&workspace, "022", &["migrate", "database", "--yes"]);
    for name in ["index.db", "enterprise.db"] {
        assert_eq!(fs::metadata(workspace.path(name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn two_private_files_of_different_owners_make_a_copy_for_neither_needs_root() {
    let workspace = workspace();
    workspace.milestones("m", 2);
    let done = Command::new("chown").args(["-R", "65534:65534"]).arg(workspace.path("")).status().unwrap();
    assert!(done.success());
    assert_eq!(workspace.run(["trust"]).code, 0);
    for (name, owner) in [("active/m-0.yaml", 0), ("active/m-1.yaml", 65534)] {
        chown(workspace.path(name), Some(owner), None).unwrap();
        set_mode(&workspace, name, 0o600);
    }
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    let mut copies = vec![workspace.path("enterprise.db")];
    for backup in fs::read_dir(workspace.path("backups")).unwrap() {
        copies.push(backup.unwrap().path().join("milestones.jsonl"));
    }
    for copy in copies {
        let metadata = fs::metadata(&copy).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o077), (0, 0), "{}", copy.display());
    }
    door("D8", "private files of two owners in one copy", "for the process's user alone");
}

#[test]
fn words_of_private_files_stand_in_no_file_that_others_may_read() {
    let workspace = workspace();
    workspace.milestones("m", 3);
    for (file, text, told) in [
        ("config/storage-backend.txt", "PRIVATE-WORD\n", "\"…\" is not a backend"),
        (
            "config/storage-config.yaml",
            "storage:\n  backend: PRIVATE-WORD\n  database: {type: PRIVATE-WORD}\n  PRIVATE-WORD: 1\n",
            "storage.backend: what is wrong is not said here",
        ),
        ("config/storage-config.yaml", "storage:\n  PRIVATE-WORD: 1\n", "what is wrong is not said here"),
        ("active/p.yaml", "id: PRIVATE-WORD\ntitle: x\n", "its id: says …"),
        ("active/p.yaml", "PRIVATE-WORD: 1\nPRIVATE-WORD: 2\n", "its text cannot be parsed"),
    ] {
        let before = fs::read(workspace.path(file)).ok();
        workspace.write(file, text);
        set_mode(&workspace, file, 0o600);
        super::bounded(&workspace, &["check"]);
        let said = workspace.run(["doctor"]).out;
        assert!(said.contains(told) && !said.contains("PRIVATE-WORD"), "{file}: {said}");
        let others: Vec<_> =
            holding(&workspace, "PRIVATE-WORD").into_iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
        assert!(others.is_empty(), "{file}: {others:?}");
        // Of one that all may read, all may hear.
        set_mode(&workspace, file, 0o644);
        workspace.write(file, format!("{text}# again\n").replace("WORD\n# again", "WORD2"));
        super::bounded(&workspace, &["check"]);
        let said = workspace.run(["doctor"]).out;
        assert!(said.contains("PRIVATE-WORD"), "{file}: {said}");
        match before {
            Some(before) => fs::write(workspace.path(file), before).unwrap(),
            None => fs::remove_file(workspace.path(file)).unwrap(),
        }
        super::bounded(&workspace, &["check"]);
        for left in
            [".milescale/state.json", ".milescale/status.json", "logs/scale-events.jsonl", "logs/scale-alert.txt"]
        {
            let _ = fs::remove_file(workspace.path(left));
        }
    }
    // What an old store has that cannot be taken over.
    run(&workspace, "022", &["migrate", "database", "--yes"]);
    let of_old = "PRIVATE-WORD: 1\nPRIVATE-WORD: 2\n";
    set_mode(&workspace, "active/m-1.yaml", 0o600);
    workspace.write("active/m-1.yaml", of_old);
    super::bounded(&workspace, &["check"]);
    let said = workspace.run(["conflicts"]).out;
    assert!(said.contains("it cannot be taken over: what it says is not what every store keeps (line 2"), "{said}");
    are_private(holding(&workspace, "PRIVATE-WORD"));
    // What another program wrote into a private database.
    let rows = self::workspace();
    rows.write("active/secret.yaml", "title: a\n");
    set_mode(&rows, "active/secret.yaml", 0o600);
    run(&rows, "022", &["migrate", "database", "--yes"]);
    let row = "INSERT INTO milestones (id, data) VALUES ('odd', '{\"PRIVATE-WORD\":1,\"PRIVATE-WORD\":2}')";
    rows.sqlite("enterprise.db", row);
    super::bounded(&rows, &["check"]);
    are_private(holding(&rows, "PRIVATE-WORD"));
    door(
        "D8",
        "unknown words of a marker, a configuration and milestones of mode 0600, in an old store and a row too",
        "0 repeated where others may read",
    );
}

#[test]
fn what_a_folder_keeps_from_others_is_kept_from_them_wherever_it_goes() {
    for private in ["active", "active/sub", "config"] {
        let workspace = workspace();
        workspace.milestones("m", 2);
        workspace.write("active/sub/below/secret.yaml", "title: PRIVATE-TEXT\n");
        workspace.write("config/storage-config.yaml", "# PRIVATE-TEXT\nstorage:\n  migration: {files_after: retire}\n");
        workspace.write("put.yaml", "title: PRIVATE-TEXT too\n");
        set_mode(&workspace, "put.yaml", 0o600);
        fs::write(workspace.root().join("seen.txt"), "made anew\n").unwrap();
        set_mode(&workspace, private, 0o700);
        let digest = workspace.run(["milestone", "show", "secret", "--digest"]).out;
        for arguments in [
            &["check"][..],
            &["milestone", "put", "secret", ".milestones/put.yaml", "--if-match", digest.trim()],
            &["milestone", "archive", "secret"],
            &["milestone", "unarchive", "secret"],
            &["migrate", "hybrid", "--yes"],
            &["migrate", "database", "--yes"],
            &["check"],
            &["milestone", "export", "--dir", "out"],
        ] {
            run(&workspace, "022", arguments);
        }
        // What a user who owns none of the folders can reach.
        if is_root() {
            set_mode(&workspace, "..", 0o755);
            assert!(as_nobody_reads(&workspace, "made anew").iter().any(|it| it.ends_with("seen.txt")), "it looks");
            let others = |name: &String| (private == "config") == name.contains("config");
            let reached: Vec<_> = as_nobody_reads(&workspace, "PRIVATE-TEXT").into_iter().filter(others).collect();
            assert!(reached.is_empty(), "{private}: {reached:?}");
        }
        let rights = |path: &str| fs::metadata(workspace.path(path)).unwrap().mode() & 0o077;
        if private != "config" {
            let found = holding(&workspace, "PRIVATE-TEXT");
            let open: Vec<_> = found
                .iter()
                .filter(|(path, mode)| mode & 0o077 != 0 && !path.contains("config"))
                .filter(|(path, _)| !path.contains("/active/"))
                .collect();
            assert!(open.is_empty() && rights("enterprise.db") == 0, "{private}: {open:?}");
        }
    }
    door(
        "D8",
        "milestones and a configuration of mode 0644 in folders of mode 0700: put, archive, moves, retiring, an export",
        "0 copies that others may read",
    );
}

#[test]
fn lists_of_rights_are_kept_and_let_nobody_else_in() {
    let workspace = workspace();
    workspace.milestones("m", 2);
    // Its group may read nothing; one other user may. The bits of the mode say that the group may read.
    let list = one_reader_named(7777);
    for name in ["active/m-0.yaml", "active/m-1.yaml", "config/storage-config.yaml"] {
        if !give_list(&workspace.path(name), LIST, &list) {
            return door("D8", "lists of rights", "the file system of the tests has none");
        }
    }
    workspace.write("put.yaml", "title: put\n");
    let digest = workspace.run(["milestone", "show", "m-0", "--digest"]).out;
    run(&workspace, "022", &["milestone", "put", "m-0", ".milestones/put.yaml", "--if-match", digest.trim()]);
    assert_eq!(list_at(&workspace.path("active/m-0.yaml")).as_ref(), Some(&list), "what is replaced keeps it");
    run(&workspace, "022", &["check"]);
    run(&workspace, "022", &["migrate", "hybrid", "--yes"]);
    run(&workspace, "022", &["migrate", "database", "--yes"]);
    for copy in ["enterprise.db", ".milescale/last-good-config.yaml"] {
        assert_eq!(list_at(&workspace.path(copy)).as_ref(), Some(&list), "{copy}");
    }
    // One of them is for nobody else: nobody is in both.
    let workspace = self::workspace();
    workspace.milestones("m", 2);
    give_list(&workspace.path("active/m-0.yaml"), LIST, &list);
    set_mode(&workspace, "active/m-1.yaml", 0o600);
    run(&workspace, "022", &["migrate", "database", "--yes"]);
    run(&workspace, "022", &["milestone", "export", "--dir", "out"]);
    for copy in [workspace.path("enterprise.db"), workspace.root().join("out/m-0.yaml")] {
        let mode = fs::metadata(&copy).unwrap().mode();
        assert_eq!((mode & 0o077, list_at(&copy)), (0, None), "{}: {mode:o}", copy.display());
    }
    // The users of a folder that is shared by such lists go on sharing it.
    let workspace = self::workspace();
    let shared = list_of_rights(&[(1, 7, NOBODY), (2, 7, 7777), (4, 0, NOBODY), (16, 7, NOBODY), (32, 0, NOBODY)]);
    for folder in ["", "active", "config", "logs"] {
        for name in [LIST, "system.posix_acl_default"] {
            assert!(give_list(&workspace.path(folder), name, &shared));
        }
    }
    workspace.milestones("m", 2);
    let _ = fs::remove_file(workspace.path("config/storage-backend.txt"));
    run(&workspace, "022", &["migrate", "database", "--yes"]);
    let (named, any) = (entry_of_rights((2, 6, 7777)), entry_of_rights((2, 7, 7777)));
    for made in ["enterprise.db", "config/storage-backend.txt"] {
        let list = list_at(&workspace.path(made)).unwrap_or_else(|| panic!("{made} has no list"));
        assert!(list.windows(8).any(|it| it == named || it == any), "{made}");
        assert_eq!(fs::metadata(workspace.path(made)).unwrap().mode() & 0o060, 0o060, "{made}");
    }
    door(
        "D8",
        "lists of rights on milestones, a configuration, a folder: a put, moves, an export",
        "kept, and 0 readers more than the originals have",
    );
}

#[test]
fn an_index_of_before_that_not_all_could_read_is_set_aside_and_built_anew() {
    let workspace = workspace();
    workspace.milestones("m", 3);
    assert_eq!(bounded(&workspace, &["migrate", "hybrid", "--yes"]).code, 0);
    let index = workspace.path("index.db");
    let of =
        |path: &std::path::PathBuf| (fs::metadata(path).unwrap().ino(), fs::metadata(path).unwrap().mode() & 0o777);
    let before = of(&index);
    assert_eq!(bounded(&workspace, &["migrate", "file", "--yes"]).code, 0);
    assert_eq!(bounded(&workspace, &["migrate", "hybrid", "--yes"]).code, 0);
    assert_eq!(of(&index), before, "it is the same file, with the rights that it had");
    assert_eq!(bounded(&workspace, &["migrate", "file", "--yes"]).code, 0);
    fs::set_permissions(&index, fs::Permissions::from_mode(0o600)).unwrap();
    let said = bounded(&workspace, &["migrate", "hybrid", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(of(&index).1, before.1, "all who may read the files may read it");
    // What was removed from it while it was private may stand in its free pages.
    let aside = workspace.path(".milescale/index.before-1.db");
    assert_eq!((of(&aside).1, of(&aside).0 == of(&index).0), (0o600, false));
    let said = bounded(&workspace, &["doctor"]).out;
    assert!(said.contains(".milescale/index.before-1.db: the index of before was set aside"), "{said}");
}

#[test]
fn copies_behind_a_link_out_of_a_private_folder_are_private() {
    let outside = tempfile::tempdir().unwrap();
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["enterprise.db", "index.db", "logs", ".milescale/conflicts", ".milescale"] {
        let workspace = workspace();
        fs::set_permissions(workspace.root(), fs::Permissions::from_mode(0o700)).unwrap();
        workspace.write("active/secret.yaml", "title: PRIVATE-TEXT\n");
        workspace.write("config/storage-config.yaml", "# PRIVATE-TEXT\nstorage: {}\n");
        run(&workspace, "022", &["check"]);
        let target = outside.path().join(name.trim_matches('.').replace('/', "-"));
        if name.ends_with(".db") {
            fs::write(&target, "").unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        } else {
            let _ = fs::remove_dir_all(workspace.path(name));
            fs::create_dir_all(&target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(&target, workspace.path(name)).unwrap();
        run(&workspace, "022", &["trust", "--link", name]);
        for arguments in [&["migrate", "hybrid", "--yes"][..], &["migrate", "database", "--yes"]] {
            run(&workspace, "022", arguments);
        }
        // What cannot be taken over, and is a conflict; what cannot be parsed.
        set_mode(&workspace, "active/secret.yaml", 0o644);
        workspace.write("active/secret.yaml", "PRIVATE-TEXT: 1\nPRIVATE-TEXT: 2\n");
        run(&workspace, "022", &["check"]);
        run(&workspace, "022", &["migrate", "file", "--yes"]);
        workspace.write("active/other.yaml", "PRIVATE-TEXT: 1\nPRIVATE-TEXT: 2\n");
        run(&workspace, "022", &["check"]);
        let found = Command::new("grep").args(["-rlaF", "PRIVATE-TEXT"]).arg(outside.path()).output().unwrap();
        for path in String::from_utf8_lossy(&found.stdout).lines() {
            let mode = fs::metadata(path).unwrap().mode() & 0o777;
            assert_eq!(mode & 0o077, 0, "{name}: {path} has the mode {mode:o}");
        }
    }
    door(
        "D8",
        "databases, logs, conflicts and files of state behind trusted links, out of a folder of mode 0700",
        "0 copies or words that others may read",
    );
}

/// The acts on the rights of the files whose names these are, in the order in which a command does them.
fn acts_on_rights(workspace: &Workspace, arguments: &[&str], names: &[&str]) -> Vec<(String, String)> {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let traced = Command::new("strace")
        .args(["-f", "-qq", "-y", "-e", "trace=openat,fchmod,chmod,fchmodat,fchown,fchownat,fsetxattr", "-o"])
        .arg(trace.path())
        .arg(crate::BINARY)
        .args(arguments)
        .current_dir(workspace.root())
        .env("XDG_CONFIG_HOME", workspace.root().join(".config-of-the-person"))
        .output()
        .unwrap();
    assert!(traced.status.success(), "{traced:?}");
    let lines = fs::read_to_string(trace.path()).unwrap();
    let of = |line: &str| names.iter().find(|name| line.contains(*name)).map(|name| (*name).to_owned());
    let is_act = |line: &str| !line.contains("openat(") || line.contains("O_CREAT");
    lines.lines().filter(|line| is_act(line)).filter_map(|line| Some((of(line)?, line.to_owned()))).collect()
}

#[test]
fn a_copy_belongs_to_its_group_before_that_may_read_it_needs_root() {
    let workspace = for_groups([60001, 60001]);
    chown(workspace.path("active"), None, Some(60001)).unwrap();
    let names = ["/enterprise.db", "\"enterprise.db\"", "\"index.db\"", "/index.db", "milestones.jsonl", "base.db"];
    let mut seen = 0;
    for to in ["hybrid", "database"] {
        let acts = acts_on_rights(&workspace, &["migrate", to, "--yes"], &names);
        let short = |name: &str| name.trim_matches(['/', '"']).to_owned();
        let mut is_theirs = std::collections::HashSet::new();
        for (name, act) in &acts {
            let name = short(name);
            if act.contains("openat(") {
                assert!(act.contains(", 0600)"), "nobody else opens it before it is whose it is to be: {act}");
                is_theirs.remove(&name);
            } else if act.contains("fchown") && act.contains("60001") {
                is_theirs.insert(name);
            } else if act.contains("chmod") && act.contains("0640") {
                assert!(is_theirs.contains(&name), "its group may read it and is another one: {act} of {acts:?}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 4, "index, database and two backups: {seen}");
    door(
        "D8",
        "system calls on copies of files that a group may read (strace)",
        "0 rights given before owner and group were",
    );
}

#[test]
fn a_database_that_was_there_lets_nobody_else_in_needs_root() {
    let private = || {
        let workspace = workspace();
        workspace.write("active/secret.yaml", "title: PRIVATE-TEXT\n");
        set_mode(&workspace, "active/secret.yaml", 0o600);
        workspace
    };
    let table = "CREATE TABLE milestones (id TEXT PRIMARY KEY, title TEXT, status TEXT, priority TEXT, created_at TEXT, updated_at TEXT, \
                 file_path TEXT)";
    let with_table = |path: &std::path::Path| {
        assert!(Command::new("sqlite3").arg(path).arg(table).status().unwrap().success());
    };
    let mut count = 0;
    for (to, name) in [("hybrid", "index.db"), ("database", "enterprise.db")] {
        // One's own, empty, as `sqlite3` leaves it.
        let workspace = private();
        workspace.write(name, "");
        set_mode(&workspace, name, 0o644);
        run(&workspace, "022", &["migrate", to, "--yes"]);
        assert_eq!(fs::metadata(workspace.path(name)).unwrap().mode() & 0o777, 0o600, "{name}");
        // Somebody else's.
        for is_empty in [true, false] {
            if !is_empty && to == "database" {
                continue;
            }
            let workspace = private();
            workspace.write(name, "");
            if !is_empty {
                with_table(&workspace.path(name));
            }
            set_mode(&workspace, name, 0o666);
            chown(workspace.path(name), Some(65534), Some(65534)).unwrap();
            let said = bounded(&workspace, &["migrate", to, "--yes"]);
            // An index is derived: a new one takes its place.
            if to == "database" {
                let refused = "it belongs to somebody who may not read the milestones, and nothing was written into it";
                assert!(said.code == 1 && said.err.contains(refused), "{name}: {said:?}");
                fs::remove_file(workspace.path(name)).unwrap();
                assert_eq!(bounded(&workspace, &["migrate", to, "--yes"]).code, 0);
            } else {
                assert_eq!(said.code, 0, "{name}: {said:?}");
            }
            let made = fs::metadata(workspace.path(name)).unwrap();
            assert_eq!((made.mode() & 0o777, made.uid()), (0o600, 0), "{name}");
            assert_eq!(as_nobody_reads(&workspace, "PRIVATE-TEXT"), Vec::<String>::new());
            count += 1;
        }
    }
    // An index of before, of another group and of more readers.
    let workspace = private();
    run(&workspace, "022", &["migrate", "hybrid", "--yes"]);
    run(&workspace, "022", &["migrate", "file", "--yes"]);
    let rights = |workspace: &Workspace| {
        let index = fs::metadata(workspace.path("index.db")).unwrap();
        (index.mode() & 0o777, index.gid())
    };
    chown(workspace.path("active/secret.yaml"), None, Some(60001)).unwrap();
    set_mode(&workspace, "active/secret.yaml", 0o640);
    run(&workspace, "022", &["migrate", "hybrid", "--yes"]);
    assert_eq!(rights(&workspace), (0o640, 60001), "it goes to the group that may read the files");
    run(&workspace, "022", &["migrate", "file", "--yes"]);
    set_mode(&workspace, "active/secret.yaml", 0o600);
    run(&workspace, "022", &["migrate", "hybrid", "--yes"]);
    assert_eq!(rights(&workspace).0, 0o600, "what the files are for one alone, it is");
    // Nobody reads all of them: one by name the one file, nobody else the other.
    run(&workspace, "022", &["migrate", "file", "--yes"]);
    workspace.write("active/other.yaml", "title: PRIVATE-TEXT\n");
    set_mode(&workspace, "active/other.yaml", 0o600);
    set_mode(&workspace, "index.db", 0o644);
    if give_list(&workspace.path("active/secret.yaml"), LIST, &one_reader_named(NOBODY - 1)) {
        run(&workspace, "022", &["migrate", "hybrid", "--yes"]);
        assert_eq!(rights(&workspace).0, 0o600);
    }
    // One that is put there while hybrid is in use, with nothing of an index in it yet.
    let workspace = private();
    run(&workspace, "022", &["migrate", "hybrid", "--yes"]);
    fs::remove_file(workspace.path("index.db")).unwrap();
    workspace.sqlite("index.db", "CREATE TABLE other (x)");
    chown(workspace.path("index.db"), Some(65534), Some(65534)).unwrap();
    set_mode(&workspace, "index.db", 0o666);
    bounded(&workspace, &["check"]);
    assert_eq!(as_nobody_reads(&workspace, "PRIVATE-TEXT"), Vec::<String>::new());
    // In a folder of the group's, a file of somebody else's belongs to the group too; he is not in it.
    let workspace = self::workspace();
    workspace.write("active/secret.yaml", "title: PRIVATE-TEXT\n");
    chown(workspace.path("active/secret.yaml"), None, Some(60001)).unwrap();
    set_mode(&workspace, "active/secret.yaml", 0o640);
    workspace.write("index.db", "");
    chown(workspace.path("index.db"), Some(65534), Some(60001)).unwrap();
    set_mode(&workspace, "index.db", 0o660);
    let said = bounded(&workspace, &["migrate", "hybrid", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!((rights(&workspace), fs::metadata(workspace.path("index.db")).unwrap().uid()), ((0o640, 60001), 0));
    door(
        "D8",
        "databases that are there before a move, empty or with a table, one's own and another user's",
        format!("{count} of {count} of another user not filled; 0 copies that others may read"),
    );
}

/// SQLite removes what lies beside a database that is empty.
#[test]
fn what_a_program_has_written_last_is_not_removed_with_a_database_that_was_moved_away() {
    let workspace = workspace();
    workspace.milestones("m", 2);
    run(&workspace, "022", &["migrate", "database", "--yes"]);
    run(&workspace, "022", &["migrate", "file", "--yes"]);
    fs::remove_file(workspace.path("enterprise.db")).unwrap();
    workspace.write("enterprise.db-wal", "what was written last");
    let said = bounded(&workspace, &["migrate", "database", "--yes"]);
    assert!(said.code == 1 && said.err.contains("would be lost; move it to that database"), "{said:?}");
    assert_eq!(workspace.read("enterprise.db-wal"), "what was written last");
    fs::remove_file(workspace.path("enterprise.db-wal")).unwrap();
    run(&workspace, "022", &["migrate", "database", "--yes"]);
}

#[test]
fn what_was_kept_from_others_as_a_conflict_stays_so_when_it_is_taken() {
    for database in [false, true] {
        let workspace = workspace();
        workspace.milestones("m", 1);
        workspace.write("active/secret.yaml", "id: secret\ntitle: S\nsecret: PRIVATE-TEXT\n");
        set_mode(&workspace, "active/secret.yaml", 0o600);
        run(&workspace, "022", &["migrate", "database", "--yes"]);
        run(&workspace, "022", &["migrate", "file", "--yes"]);
        // Both sides are changed: what the old one has is kept as a conflict.
        fs::remove_file(workspace.path("active/secret.yaml")).unwrap();
        let change = "UPDATE milestones SET data = json_set(data, '$.secret', 'PRIVATE-TEXT-2'), updated_at = '2030-01-01T00:00:00Z' \
                      WHERE id = 'secret'";
        workspace.sqlite("enterprise.db", change);
        let conflict = milescale_testkit::until("a conflict", || {
            bounded(&workspace, &["check"]);
            let listed: serde_json::Value =
                serde_json::from_str(&bounded(&workspace, &["conflicts", "list", "--json"]).out).ok()?;
            Some(listed[0]["name"].as_str()?.to_owned())
        });
        if database {
            // What is in use by then was made without it.
            fs::remove_file(workspace.path("enterprise.db")).unwrap();
            run(&workspace, "022", &["migrate", "database", "--yes"]);
            set_mode(&workspace, "enterprise.db", 0o644);
        }
        let take = || bounded(&workspace, &["conflicts", "resolve", &conflict, "--take-kept"]);
        if database {
            // It is neither closed to those who use it, nor filled with what is not for them.
            let said = take();
            assert!(said.code == 1 && said.err.contains("not all who may read this database"), "{said:?}");
            assert_eq!(fs::metadata(workspace.path("enterprise.db")).unwrap().mode() & 0o777, 0o644);
            set_mode(&workspace, "enterprise.db", 0o600);
        }
        let said = take();
        assert_eq!(said.code, 0, "{said:?}");
        assert!(bounded(&workspace, &["milestone", "show", "secret"]).out.contains("PRIVATE-TEXT-2"));
        assert_eq!(as_nobody_reads(&workspace, "PRIVATE-TEXT"), Vec::<String>::new());
    }
    door("D8", "a private conflict that is taken, into files and into a database", "0 copies that others may read");
}

#[test]
fn what_takes_the_place_of_a_public_file_stays_as_private_as_it_was() {
    // A private milestone's backup, over a public one of its id.
    let workspace = workspace();
    workspace.write("active/secret.yaml", "title: PRIVATE-TEXT\n");
    set_mode(&workspace, "active/secret.yaml", 0o600);
    run(&workspace, "022", &["migrate", "hybrid", "--yes"]);
    run(&workspace, "022", &["migrate", "file", "--yes"]);
    fs::remove_file(workspace.path("active/secret.yaml")).unwrap();
    workspace.write("active/secret.yaml", "title: for all\n");
    set_mode(&workspace, "active/secret.yaml", 0o644);
    let backup = backup_of(&workspace, "file-to-hybrid");
    // What its folder keeps from others counts as well as its mode.
    set_mode(&workspace, &format!("backups/{backup}/milestones.jsonl"), 0o644);
    set_mode(&workspace, "backups", 0o700);
    run(&workspace, "022", &["restore", &backup, "--yes"]);
    let of_backups = |path: &str| path.contains("/backups/");
    let of_backup = holding(&workspace, "PRIVATE-TEXT");
    assert!(of_backup.iter().any(|(path, _)| path.ends_with("active/secret.yaml")), "{of_backup:?}");
    // A row that was written while its database was private.
    let of_database = self::workspace();
    of_database.write("active/secret.yaml", "title: for all\n");
    set_mode(&of_database, "active/secret.yaml", 0o644);
    run(&of_database, "022", &["migrate", "database", "--yes"]);
    set_mode(&of_database, "enterprise.db", 0o600);
    let row = "UPDATE milestones SET data = '{\"title\":\"PRIVATE-TEXT\"}' WHERE id = 'secret'";
    of_database.sqlite("enterprise.db", row);
    run(&of_database, "022", &["rollback", "--yes"]);
    let of_row = holding(&of_database, "PRIVATE-TEXT");
    assert!(of_row.iter().any(|(path, _)| path.ends_with("active/secret.yaml")), "{of_row:?}");
    // A private backup into a database for all.
    let into_database = self::workspace();
    into_database.write("active/secret.yaml", "title: PRIVATE-TEXT\n");
    set_mode(&into_database, "active/secret.yaml", 0o600);
    run(&into_database, "022", &["migrate", "database", "--yes"]);
    run(&into_database, "022", &["migrate", "file", "--yes"]);
    let backup = backup_of(&into_database, "sqlite-to-file");
    fs::remove_file(into_database.path("enterprise.db")).unwrap();
    into_database.write("active/secret.yaml", "title: for all\n");
    set_mode(&into_database, "active/secret.yaml", 0o644);
    run(&into_database, "022", &["retire", "sqlite", "--yes"]);
    run(&into_database, "022", &["migrate", "database", "--yes"]);
    assert_eq!(fs::metadata(into_database.path("enterprise.db")).unwrap().mode() & 0o777, 0o644);
    // It is in use: neither filled with what is not for all of them, nor closed to them unasked.
    let said = bounded(&into_database, &["restore", &backup, "--yes"]);
    assert!(said.code == 1 && said.err.contains("not all who may read this database"), "{said:?}");
    assert_eq!(fs::metadata(into_database.path("enterprise.db")).unwrap().mode() & 0o777, 0o644);
    set_mode(&into_database, "enterprise.db", 0o600);
    run(&into_database, "022", &["restore", &backup, "--yes"]);
    let of_restored = holding(&into_database, "PRIVATE-TEXT");
    assert!(of_restored.iter().any(|(path, _)| path.ends_with("enterprise.db")), "{of_restored:?}");
    are_private(of_backup.into_iter().chain(of_row).chain(of_restored).filter(|(path, _)| !of_backups(path)));
    door(
        "D8",
        "a private backup restored, and a private database brought back, over public files",
        "0 copies that others may read",
    );
}

#[test]
fn the_folders_above_the_target_of_a_trusted_link_keep_others_out_of_copies_too() {
    let workspace = workspace();
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(home.path().join("plans")).unwrap();
    fs::write(home.path().join("plans/secret.yaml"), "title: PRIVATE-TEXT\n").unwrap();
    for (path, mode) in [("plans", 0o755), ("plans/secret.yaml", 0o644)] {
        fs::set_permissions(home.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::remove_dir(workspace.path("active")).unwrap();
    std::os::unix::fs::symlink(home.path().join("plans"), workspace.path("active")).unwrap();
    // The configuration, behind a link to a folder inside.
    fs::create_dir(workspace.path("private")).unwrap();
    fs::rename(workspace.path("config"), workspace.path("private/config")).unwrap();
    std::os::unix::fs::symlink("private/config", workspace.path("config")).unwrap();
    workspace.write("config/storage-config.yaml", "# PRIVATE-TEXT\nstorage: {}\n");
    set_mode(&workspace, "config/storage-config.yaml", 0o644);
    set_mode(&workspace, "private", 0o700);
    let put = home.path().join("put.yaml");
    fs::write(&put, "title: another\n").unwrap();
    for arguments in [&["trust", "--link", "active"][..], &["trust", "--link", "config"], &["check"]] {
        run(&workspace, "022", arguments);
    }
    let shown = workspace.run(["milestone", "show", "secret", "--json"]);
    let digest = shown.json()["digest"].as_str().unwrap().to_owned();
    for arguments in [
        &["milestone", "put", "secret", put.to_str().unwrap(), "--if-match", &digest][..],
        &["migrate", "hybrid", "--yes"],
        &["migrate", "database", "--yes"],
    ] {
        run(&workspace, "022", arguments);
    }
    let found = holding(&workspace, "PRIVATE-TEXT");
    assert!(found.iter().any(|(path, _)| path.contains("displaced")) && found.len() >= 3, "{found:?}");
    are_private(found.into_iter().filter(|(path, _)| !path.contains("/private/")));
    door(
        "D8",
        "milestones and a configuration behind trusted links, in folders of mode 0755 in ones of 0700: a put, moves",
        "0 copies that others may read",
    );
}
