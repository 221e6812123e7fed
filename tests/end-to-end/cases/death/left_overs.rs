//! What a death leaves lying about: never opened again, gone after the next start.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use milescale_testkit::Workspace;

use super::super::super::BINARY;
use super::super::super::faults::{shim, with_fault};
use super::names;

#[test]
fn p01_wherever_a_put_dies_nothing_is_left_beside_the_milestones() {
    for what in ["kill", "killafter"] {
        for number in 1.. {
            let workspace = Workspace::new(BINARY);
            fs::write(workspace.root().join("n1.yaml"), "id: n1\n").unwrap();
            let died = with_fault(workspace.root(), &format!("any:{number}:{what}")).run([
                "milestone",
                "put",
                "n1",
                "n1.yaml",
            ]);
            workspace.run(["check"]);
            let left = names(&workspace.path("active"));
            assert!(left.is_empty() || left == ["n1.yaml"], "{what} {number}: {left:?}");
            assert!(died.code != 0 || !left.is_empty(), "{what} {number}: done is done");
            if let Ok(metadata) = fs::metadata(workspace.path("active/n1.yaml")) {
                assert_eq!(metadata.nlink(), 1, "{what} {number}");
                assert_eq!(workspace.read("active/n1.yaml"), "id: n1\n", "{what} {number}");
            }
            if died.code == 0 {
                assert!(number > 5, "{number} operations");
                break;
            }
        }
    }
}

/// Two processes with one number, as in a container that is started anew.
#[test]
fn p01_a_put_with_the_number_of_a_dead_one_touches_nothing_of_it_needs_root() {
    for number in 1.. {
        let workspace = Workspace::new(BINARY);
        for id in ["n1", "n2"] {
            fs::write(workspace.root().join(format!("{id}.yaml")), format!("id: {id}\n")).unwrap();
        }
        let put = |id: &str, fault: &str| {
            let script = format!("{BINARY} milestone put {id} {id}.yaml; exit $?");
            Command::new("unshare")
                .args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script])
                .current_dir(workspace.root())
                .env("LD_PRELOAD", shim())
                .env("FAULT", fault)
                .env("FAULT_PATH", "/active/")
                .output()
                .unwrap()
        };
        let died = put("n1", &format!("any:{number}:kill"));
        let second = put("n2", "any:0:count");
        assert!(second.status.success(), "{number}: {second:?}");
        let first = workspace.read("active/n1.yaml");
        assert!(first.is_empty() || first == "id: n1\n", "{number}: {first:?} {died:?}");
        assert_eq!(workspace.read("active/n2.yaml"), "id: n2\n", "{number}");
        if died.status.success() {
            assert!(number > 2, "{number} operations");
            return;
        }
    }
}

#[test]
fn p01_what_an_older_milescale_left_goes_and_what_is_being_written_stays() {
    let workspace = Workspace::new(BINARY);
    let living = format!("active/.milescale-tmp-{}-7", std::process::id());
    workspace.write(&living, "half");
    let left = ["active/.milescale-tmp-3999999-0", "config/.milescale-tmp-3999999-1", ".milescale/.milescale-tmp-1-1"];
    for path in left {
        workspace.write(path, "half");
        let file = fs::File::options().write(true).open(workspace.path(path)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    assert_eq!(workspace.run(["check"]).code, 0);
    assert!(left.iter().all(|path| !workspace.path(path).exists()));
    assert!(workspace.path(living).exists(), "its writer lives");
}

#[test]
fn p07_a_prepared_switch_that_nobody_wants_goes_but_no_edit_of_a_persons() {
    let workspace = Workspace::new(BINARY);
    let edit = "storage:\n  monitoring: {interval: 7}\n";
    workspace.write("config/.milescale-switch-3-backend", "database\n");
    workspace.write("config/.milescale-switch-1-engine", workspace.read("config/storage-config.yaml"));
    workspace.write("config/.milescale-switch-2-engine", edit);
    assert_eq!(workspace.run(["check"]).code, 0);
    assert!(names(&workspace.path("config")).iter().all(|name| !name.starts_with(".milescale-switch")));
    assert_eq!(workspace.read("config/storage-backend.txt"), "file\n");
    let aside = names(&workspace.path(".milescale"));
    let aside: Vec<_> = aside.iter().filter(|name| name.starts_with("came-out")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(workspace.read(format!(".milescale/{}", aside[0])), edit);
}
