//! Whose a workspace is, and who is the caller.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use milescale_testkit::Workspace;

use super::{as_nobody, bounded, door};
use crate::workspace;

/// A user that has nothing.
const NOBODY: u32 = 65534;

fn give_to(path: &Path, user: u32) {
    let done = Command::new("chown").arg("-R").arg(format!("{user}:{user}")).arg(path).status().unwrap();
    assert!(done.success());
}

/// A workspace of somebody else's in a folder above the one that commands are run in.
fn of_nobody() -> Workspace {
    let workspace = workspace();
    workspace.milestones("m", 2);
    give_to(&workspace.path(""), NOBODY);
    fs::create_dir(workspace.root().join("below")).unwrap();
    workspace
}

#[test]
fn d09_a_workspace_of_somebody_else_is_refused_by_each_command_until_it_is_trusted_needs_root() {
    let workspace = of_nobody();
    let before = fs::read_dir(workspace.path("active")).unwrap().count();
    let root = workspace.root().to_str().unwrap();
    for arguments in [
        &["status"][..],
        &["check"],
        &["run"],
        &["doctor"],
        &["dashboard"],
        &["events"],
        &["init"],
        &["milestone", "list"],
        &["milestone", "put", "m-0"],
        &["migrate", "database", "--yes"],
        &["rollback", "--yes"],
        &["restore", "migration-x", "--yes"],
        &["backups", "list"],
        &["conflicts"],
        &["import"],
        &["retire", "files", "--yes"],
        &["pause"],
        &["resume"],
        &["config", "show"],
    ] {
        let said = bounded(&workspace, arguments);
        let sentence = format!(
            "belongs to nobody (user {NOBODY}), and may lead you to do what they want; if you trust it, `milescale trust {root}`"
        );
        assert!(said.code == 1 && said.err.contains(&sentence), "{arguments:?}: {said:?}");
        assert_eq!(said.err.trim_end().lines().count(), 1, "one sentence: {said:?}");
    }
    assert_eq!(fs::read_dir(workspace.path("active")).unwrap().count(), before);
    assert!(!workspace.path("enterprise.db").exists());
    assert_eq!(bounded(&workspace, &["trust"]).code, 0);
    assert_eq!(bounded(&workspace, &["status"]).code, 0);
    assert_eq!(bounded(&workspace, &["trust", "--remove"]).code, 0);
    assert_eq!(bounded(&workspace, &["status"]).code, 1);
    door("D9", "a workspace of somebody else, by each verb, as root", "refused by one sentence by each of 19 commands");
}

#[test]
fn the_folders_that_decide_what_happens_have_to_be_the_callers_own_too_needs_root() {
    for folder in ["config", ".milescale"] {
        let workspace = workspace();
        chown(workspace.path(folder), Some(NOBODY), None).unwrap();
        let said = bounded(&workspace, &["status"]);
        assert!(said.code == 1 && said.err.contains(&format!(".milestones/{folder} belongs to nobody")), "{said:?}");
    }
    let workspace = workspace();
    chown(workspace.path("active"), Some(NOBODY), None).unwrap();
    assert_eq!(bounded(&workspace, &["status"]).code, 0, "whoever writes milestones");
}

#[test]
fn who_called_sudo_is_the_caller_and_only_for_root_needs_root() {
    let mut workspace = of_nobody();
    workspace.environment.push(("SUDO_UID".to_owned(), NOBODY.to_string()));
    assert_eq!(bounded(&workspace, &["status"]).code, 0);
    let other = self::workspace();
    give_to(&other.path(""), 65533);
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(other.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let environment = [("SUDO_UID", "65533"), ("XDG_CONFIG_HOME", home.path().to_str().unwrap())];
    let said = as_nobody(&["-w", other.root().to_str().unwrap(), "status"], folder.path(), &environment);
    assert!(said.code == 1 && said.err.contains("milescale trust"), "{said:?}");
    // What `sudo` makes in one's own folder is one's own; what root makes there is root's.
    for (caller, owner) in [(Some(NOBODY), NOBODY), (None, 0)] {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let mut init = std::process::Command::new(crate::BINARY);
        init.arg("init").current_dir(folder.path()).env("XDG_CONFIG_HOME", home.path()).env_remove("SUDO_UID");
        init.envs(caller.map(|caller| ("SUDO_UID", caller.to_string())));
        let said = init.output().unwrap();
        assert!(said.status.success(), "{said:?}");
        for made in ["", "active", "config/storage-backend.txt", ".milescale"] {
            let made = folder.path().join(".milestones").join(made);
            let metadata = std::fs::metadata(&made).unwrap();
            assert_eq!(std::os::unix::fs::MetadataExt::uid(&metadata), owner, "{}", made.display());
        }
    }
    door("D9", "SUDO_UID, as root and as nobody", "counts for root alone");
}

#[test]
fn roots_own_is_everybodys_and_ones_own_needs_no_home_as_under_cron_needs_root() {
    let workspace = workspace();
    fs::set_permissions(workspace.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let root = workspace.root().to_str().unwrap();
    let said = as_nobody(&["-w", root, "status"], Path::new("/"), &[]);
    assert_eq!(said.code, 0, "{said:?}");
    give_to(&workspace.path(""), NOBODY);
    for verb in ["check", "status"] {
        let said = as_nobody(&["-w", root, verb], Path::new("/"), &[]);
        assert_eq!(said.code, 0, "{verb}: {said:?}");
    }
}

#[test]
fn trust_is_read_from_each_of_its_places_needs_root() {
    let workspace = of_nobody();
    let root = workspace.root().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trust");
    let line = format!("{{\"milescale\":\"trust\",\"format\":1}}\n{{\"workspace\":{root:?}}}\n");
    fs::write(&file, &line).unwrap();
    let with = |name: &str, value: &Path| {
        let mut it = Workspace::at(workspace.root(), crate::BINARY);
        it.environment.push((name.to_owned(), value.to_str().unwrap().to_owned()));
        bounded(&it, &["status"])
    };
    assert_eq!(with("MILESCALE_TRUST", &file).code, 0);
    assert_eq!(with("CONFIGURATION_DIRECTORY", folder.path()).code, 0);
    // Whoever takes it back, or asks what there is, is told of the other places.
    let mut it = Workspace::at(workspace.root(), crate::BINARY);
    it.environment.push(("CONFIGURATION_DIRECTORY".to_owned(), folder.path().to_str().unwrap().to_owned()));
    let said = bounded(&it, &["trust", "--remove"]);
    let file_shown = file.display();
    assert!(said.out.contains(&format!("still trusted by {file_shown}: {root}")), "{said:?}");
    let said = bounded(&it, &["trust", "--list"]);
    assert!(said.out.contains(&format!("(in {file_shown})")), "{said:?}");
    // And whoever allows one thing is told what else is missing.
    std::os::unix::fs::symlink("/nowhere", workspace.path("notes")).unwrap();
    let said = bounded(&workspace, &["trust", "--link", "notes"]);
    assert!(
        said.code == 0 && said.out.contains("not enough yet: ") && said.out.contains("belongs to nobody"),
        "{said:?}"
    );
    assert_eq!(bounded(&workspace, &["trust", "--remove"]).code, 0);
    // One that others may write decides nothing, and that is said; a container's owner is another matter.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let said = with("CONFIGURATION_DIRECTORY", folder.path());
    assert!(said.code == 1 && said.err.contains("others own it or may write it"), "{said:?}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    chown(&file, Some(1000), None).unwrap();
    assert_eq!(with("CONFIGURATION_DIRECTORY", folder.path()).code, 1);
    assert_eq!(with("MILESCALE_TRUST", &file).code, 0, "the caller has named it");
    fs::write(&file, "nonsense\n").unwrap();
    let said = with("MILESCALE_TRUST", &file);
    assert!(said.code == 1 && said.err.contains("line 1"), "{said:?}");
}

#[test]
fn what_somebody_else_may_have_written_does_not_become_ones_own_needs_root() {
    let workspace = of_nobody();
    let file = workspace.root().join(".config-of-the-person/milescale/trust");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let line = format!("{{\"workspace\":{:?}}}\n", workspace.root().to_str().unwrap());
    for (mode, owner) in [(0o666, None), (0o600, Some(NOBODY))] {
        let _ = fs::remove_file(&file);
        fs::write(&file, &line).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        chown(&file, owner, None).unwrap();
        let other = self::workspace();
        let mut by_name = Workspace::at(other.root(), crate::BINARY);
        let home = workspace.root().join(".config-of-the-person");
        by_name.environment.push(("XDG_CONFIG_HOME".to_owned(), home.to_str().unwrap().to_owned()));
        let said = by_name.run(["trust"]);
        assert!(said.code == 1 && said.err.contains("it is not used") && said.err.contains("chmod 0600"), "{said:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), line);
        assert_eq!(bounded(&workspace, &["status"]).code, 1);
    }
}

#[test]
fn what_root_trusts_is_not_written_where_somebody_else_leads_it_needs_root() {
    let folder = tempfile::tempdir().unwrap();
    let (home, elsewhere) = (folder.path().join("home"), folder.path().join("elsewhere"));
    for it in [&home, &elsewhere] {
        fs::create_dir(it).unwrap();
    }
    let own = home.join("milescale");
    let by_name = || {
        let mut workspace = of_nobody();
        workspace.environment.push(("XDG_CONFIG_HOME".to_owned(), home.to_str().unwrap().to_owned()));
        workspace.run(["trust"])
    };
    let is_empty = || fs::read_dir(&elsewhere).unwrap().count() == 0;
    // A folder of configuration that is a symlink of another user's, and one that is another user's.
    symlink(&elsewhere, &own).unwrap();
    lchown(&own, Some(NOBODY), None).unwrap();
    let said = by_name();
    assert!(said.code == 1 && said.err.contains("symlink of"), "{said:?}");
    fs::remove_file(&own).unwrap();
    fs::create_dir(&own).unwrap();
    chown(&own, Some(NOBODY), None).unwrap();
    let said = by_name();
    assert!(said.code == 1 && said.err.contains("is no place for what you trust"), "{said:?}");
    // The file.
    chown(&own, Some(0), None).unwrap();
    symlink(elsewhere.join("trust"), own.join("trust")).unwrap();
    lchown(own.join("trust"), Some(NOBODY), None).unwrap();
    let said = by_name();
    assert!(said.code == 1 && said.err.contains("symlink of") && is_empty(), "{said:?}");
    // One of one's own is followed: some keep their configuration elsewhere.
    lchown(own.join("trust"), Some(0), None).unwrap();
    let said = by_name();
    assert!(said.code == 0 && elsewhere.join("trust").is_file(), "{said:?}");
    fs::remove_dir_all(&own).unwrap();
    fs::remove_file(elsewhere.join("trust")).unwrap();
    symlink(&elsewhere, &own).unwrap();
    let said = by_name();
    assert!(said.code == 0 && elsewhere.join("trust").is_file(), "{said:?}");
    door("D6", "a folder of configuration, and a file of trust, that another user leads elsewhere", "0 files made");
}

#[test]
fn those_who_trust_at_once_lose_no_word() {
    let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let roots: Vec<_> = (0..12).map(|number| folder.path().join(number.to_string())).collect();
    for root in &roots {
        fs::create_dir_all(root.join(".milestones")).unwrap();
    }
    let started: Vec<_> = roots
        .iter()
        .map(|root| {
            let mut command = Command::new(crate::BINARY);
            command.arg("trust").arg(root).env("XDG_CONFIG_HOME", home.path());
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in started {
        assert!(child.wait().unwrap().success());
    }
    let text = fs::read_to_string(home.path().join("milescale/trust")).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("\"workspace\"")).count(), 12, "{text}");
}

#[test]
fn a_container_is_told_how_and_a_service_manager_needs_no_word_needs_root() {
    let workspace = of_nobody();
    let root = workspace.root().to_str().unwrap();
    // In a user namespace that knows root alone, nobody has no number of his own.
    let inside = |script: &str| {
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--", "sh", "-c", script])
            .arg(crate::BINARY)
            .arg(root)
            .env_remove("SUDO_UID")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = inside(r#"exec "$0" -w "$1" status"#);
    assert!(code == 1 && said.contains("milescale trust"), "{said}");
    // As systemd says it: the number of the process that it has started.
    let (code, said) = inside(r#"SYSTEMD_EXEC_PID=$$ exec "$0" -w "$1" status"#);
    assert_eq!(code, 0, "{said}");
    let (code, _) = inside(r#"SYSTEMD_EXEC_PID=1 exec "$0" -w "$1" status"#);
    assert_eq!(code, 1, "of a process that another one has started it says nothing");
    door(
        "D9",
        "a user namespace that cannot name the owner, without and with a service manager",
        "told how; no word needed",
    );
}

#[test]
fn a_name_that_leads_through_a_link_of_somebody_else_is_no_name_needs_root() {
    let workspace = workspace();
    workspace.milestones("m", 2);
    let shared = tempfile::tempdir().unwrap();
    let linked = |name: &str, owner: u32| {
        let path = shared.path().join(name);
        std::os::unix::fs::symlink(workspace.root(), &path).unwrap();
        std::os::unix::fs::lchown(&path, Some(owner), None).unwrap();
        path
    };
    let (own, theirs) = (linked("own", 0), linked("theirs", NOBODY));
    let list = |folder: &Path| bounded(&workspace, &["milestone", "list", "--workspace", folder.to_str().unwrap()]);
    assert!(list(&own).code == 0 && list(&own).out.contains("m-0"));
    let said = list(&theirs);
    assert!(said.code != 0 && said.err.contains("leads through a symlink of nobody"), "{said:?}");
    // So are a folder to export into, and a file to read.
    let victim = tempfile::tempdir().unwrap();
    fs::write(victim.path().join("plan.yaml"), "title: PRIVATE-TEXT\n").unwrap();
    fs::remove_file(&theirs).unwrap();
    std::os::unix::fs::symlink(victim.path(), &theirs).unwrap();
    std::os::unix::fs::lchown(&theirs, Some(NOBODY), None).unwrap();
    let below = |name: &str| theirs.join(name).to_str().unwrap().to_owned();
    for arguments in [
        &["milestone", "export", "--dir", theirs.to_str().unwrap()][..],
        &["milestone", "export", "--dir", &below("new/below")],
        &["milestone", "put", "plan", &below("plan.yaml")],
    ] {
        let said = bounded(&workspace, arguments);
        assert!(said.code != 0 && said.err.contains("leads through a symlink of nobody"), "{arguments:?}: {said:?}");
    }
    assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 1);
    let to = shared.path().join("new/below");
    assert_eq!(bounded(&workspace, &["milestone", "export", "--dir", to.to_str().unwrap()]).code, 0);
    assert_eq!(fs::read_dir(&to).unwrap().count(), 2);
    door(
        "D9",
        "a workspace, a folder to export into and a file to put, named by a path through another user's symlink",
        "refused",
    );
}

#[test]
fn what_root_writes_down_for_a_user_is_that_users_needs_root() {
    let home = tempfile::tempdir().unwrap();
    give_to(home.path(), NOBODY);
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut workspace = of_nobody();
    workspace.environment.push(("SUDO_UID".to_owned(), NOBODY.to_string()));
    workspace.environment.push(("XDG_CONFIG_HOME".to_owned(), home.path().join(".config").display().to_string()));
    assert_eq!(bounded(&workspace, &["trust"]).code, 0);
    let owner = |name: &str| std::os::unix::fs::MetadataExt::uid(&fs::metadata(home.path().join(name)).unwrap());
    assert_eq!([".config", ".config/milescale", ".config/milescale/trust"].map(owner), [NOBODY; 3]);
}

#[test]
fn what_a_person_has_written_with_a_slash_is_taken_back_as_well() {
    let workspace = workspace();
    let (home, root) = (tempfile::tempdir().unwrap(), workspace.root().display());
    fs::create_dir(home.path().join("milescale")).unwrap();
    let file = home.path().join("milescale/trust");
    fs::write(&file, format!("{{\"milescale\":\"trust\",\"format\":1}}\n{{\"workspace\":\"{root}/\"}}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut workspace = workspace;
    workspace.environment.push(("XDG_CONFIG_HOME".to_owned(), home.path().display().to_string()));
    let said = bounded(&workspace, &["trust", "--remove"]);
    assert!(said.code == 0 && said.out.contains("no longer trusted"), "{said:?}");
    assert!(!fs::read_to_string(&file).unwrap().contains("workspace"));
}
