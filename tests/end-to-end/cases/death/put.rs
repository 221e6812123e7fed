//! A write that dies, or whose error comes after its effect.

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime};

use milescale_testkit::Workspace;

use super::super::super::BINARY;
use super::super::super::faults::{compiled, shim, with_fault};
use super::super::super::repository;
use super::{NEW, OLD, names, texts, until_still, with_milestone};

/// Whatever a command says, the old content is kept, and what it says is true.
#[test]
fn l05_an_error_after_the_effect_is_told_as_it_is() {
    let arguments: [&[&str]; 2] =
        [&["milestone", "put", "a", "new.yaml", "--if-match"], &["milestone", "archive", "a", "--if-match"]];
    for arguments in arguments {
        for kind in ["fsync", "rename", "unlink"] {
            for (number, plus) in (1..).flat_map(|number| [(number, ""), (number, "+")]) {
                let (workspace, digest) = with_milestone();
                let faulty = with_fault(workspace.root(), &format!("{kind}:{number}:late-EIO{plus}"));
                let said = faulty.run(arguments.iter().copied().chain([digest.as_str()]));
                let now = workspace.read("active/a.yaml");
                let at = format!("{arguments:?} {kind} {number}{plus}: {said:?}; {now:?}");
                let kept = texts(&workspace.path(".milescale/displaced"));
                assert!(now == OLD || kept.iter().any(|text| text == OLD), "the old content is kept: {at}");
                let tells =
                    ["it is written", "it is moved there", "has the new text"].iter().any(|it| said.err.contains(it));
                let archived = workspace.read("completed/a.yaml");
                let changed = now != OLD || !archived.is_empty();
                assert_eq!(said.code == 0 || tells, changed, "{at}");
                if changed {
                    assert!(now == NEW || (now + &archived).contains("archived"), "{at}");
                }
                if said.code == 0 && plus.is_empty() {
                    break;
                }
            }
        }
    }
}

/// A save of somebody else's comes out of the exchange, and an error comes before or after the effect of any later call.
#[test]
fn l05_a_foreign_save_that_comes_out_is_never_destroyed() {
    let source = fs::read_to_string(repository().join("tests/faults/shim.c")).unwrap();
    let second = compiled("second.so", &source.replace("\"FAULT", "\"THEN"));
    let mut met = Vec::new();
    for kind in ["rename", "fsync"] {
        for what in ["late-EIO", "late-EIO+", "EIO", "EIO+"] {
            for number in 1..9 {
                let (workspace, digest) = with_milestone();
                let mut faulty = with_fault(workspace.root(), "rename:1:meet");
                faulty.environment.retain(|(name, _)| name != "LD_PRELOAD");
                let theirs = workspace.path("active/a.yaml");
                let meet = format!("printf 'id: a\\nn: theirs\\n' > {}; touch met", theirs.display());
                let variables = [
                    ("LD_PRELOAD", format!("{} {}", shim().display(), second.display())),
                    ("FAULT_MEET", meet),
                    ("FAULT_PATH", "active/a.yaml".to_owned()),
                    ("THEN", format!("{kind}:{number}:{what}")),
                    ("THEN_PATH", "/.milestones/".to_owned()),
                ];
                faulty.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
                let said = faulty.run(["milestone", "put", "a", "new.yaml", "--if-match", &digest]);
                if workspace.root().join("met").exists() {
                    assert_eq!(said.code, 1, "{kind} {number} {what}: {said:?}");
                    met.push((format!("{kind} {number} {what}: {said:?}"), workspace));
                }
            }
        }
    }
    assert!(met.len() > 15, "{}", met.len());
    for (at, workspace) in met {
        let is_theirs = |text: &String| text.contains("theirs");
        let is_current = workspace.read("active/a.yaml").contains("theirs");
        let is_kept = texts(&workspace.path(".milescale/displaced")).iter().any(is_theirs);
        assert!(is_current || is_kept, "{at}");
        until_still(&workspace.path(".milescale/displaced"));
        workspace.run(["check"]);
        let is_named = texts(&workspace.path(".milescale/conflicts")).iter().any(is_theirs);
        assert!(is_current || is_named, "{at}");
        assert_eq!(workspace.events_named("write_conflict").len(), usize::from(!is_current), "{at}");
    }
}

/// A save of somebody else's comes out of the exchange, and before it is put back a third program, which knows what `put` has written,
/// renames a file of its own over that.
#[test]
fn l05_of_two_foreign_saves_around_an_exchange_both_are_kept() {
    let source = fs::read_to_string(repository().join("tests/faults/shim.c")).unwrap();
    let second = compiled("second.so", &source.replace("\"FAULT", "\"THEN"));
    let (workspace, digest) = with_milestone();
    let mut faulty = with_fault(workspace.root(), "rename:1:meet");
    faulty.environment.retain(|(name, _)| name != "LD_PRELOAD");
    let file = workspace.path("active/a.yaml").display().to_string();
    let variables = [
        ("LD_PRELOAD", format!("{} {}", shim().display(), second.display())),
        ("FAULT_MEET", format!("printf 'id: a\\nn: theirs\\n' > {file}")),
        ("FAULT_PATH", "active/a.yaml".to_owned()),
        ("THEN", "rename:2:meet".to_owned()),
        ("THEN_MEET", format!("printf 'id: a\\nn: a third\\n' > third; mv third {file}")),
        ("THEN_PATH", "active/a.yaml".to_owned()),
    ];
    faulty.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    let said = faulty.run(["milestone", "put", "a", "new.yaml", "--if-match", &digest]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(workspace.read("active/a.yaml").contains("a third"), "{said:?}");
    until_still(&workspace.path(".milescale/displaced"));
    workspace.run(["check"]);
    let named = texts(&workspace.path(".milescale/conflicts"));
    assert!(named.iter().any(|text| text.contains("theirs")), "{named:?}");
}

/// Dies at each rename of `put`, `archive` and a move back to files; then a review of what was displaced.
#[test]
fn l32_p04_a_death_around_an_exchange_is_no_conflict() {
    let mut died = Vec::new();
    for what in ["kill", "killafter"] {
        for verb in ["put", "archive", "migrate"] {
            for number in 1.. {
                let (workspace, digest) = with_milestone();
                let arguments = match verb {
                    "put" => vec!["milestone", "put", "a", "new.yaml", "--if-match", &digest],
                    "archive" => vec!["milestone", "archive", "a"],
                    _ => {
                        assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
                        let digest = workspace.run(["milestone", "show", "a", "--digest"]).out;
                        let put = workspace.run(["milestone", "put", "a", "new.yaml", "--if-match", digest.trim()]);
                        assert_eq!(put.code, 0, "{put:?}");
                        vec!["migrate", "file", "--yes"]
                    }
                };
                let said = with_fault(workspace.root(), &format!("rename:{number}:{what}")).run(&arguments);
                if said.code == 0 {
                    assert!(number > 1, "{verb}");
                    break;
                }
                died.push((format!("{verb} {what} {number}"), workspace));
            }
        }
    }
    for (at, workspace) in died {
        until_still(&workspace.path(".milescale/displaced"));
        workspace.run(["check"]);
        assert_eq!(texts(&workspace.path(".milescale/conflicts")), [""; 0], "{at}");
        assert!(workspace.events_named("write_conflict").is_empty(), "{at}");
        let there = texts(&workspace.path("active")).len() + texts(&workspace.path("completed")).len();
        assert!(there >= 1, "{at}");
    }
}

/// The line may be lost with the process that was to write it: the next one writes it, and only once.
#[test]
fn p09_a_conflict_is_announced_exactly_once_wherever_the_process_dies() {
    let written_to = |_| {
        let (workspace, digest) = with_milestone();
        assert_eq!(workspace.run(["check"]).code, 0);
        let mut open = fs::File::options().append(true).open(workspace.path("active/a.yaml")).unwrap();
        let put = workspace.run(["milestone", "put", "a", "new.yaml", "--if-match", &digest]);
        assert_eq!(put.code, 0, "{put:?}");
        open.write_all(b"late: 3\n").unwrap();
        workspace
    };
    let workspaces: Vec<_> = (0..14).map(written_to).collect();
    for (number, workspace) in workspaces.iter().enumerate() {
        until_still(&workspace.path(".milescale/displaced"));
        let died = with_fault(workspace.root(), &format!("any:{}:kill", 1 + number * 2)).run(["check"]);
        assert_eq!(workspace.run(["check"]).code, 0);
        let said = workspace.events_named("write_conflict");
        assert_eq!(said.len(), 1, "{number}: {said:?} {died:?}");
        assert!(said[0]["details"]["kept_as"].as_str().unwrap().contains(".milescale/conflicts/"), "{said:?}");
    }
}

#[test]
fn l19_a_clock_that_is_ahead_purges_nothing() {
    let (workspace, _) = with_milestone();
    let digest = workspace.run(["milestone", "show", "a", "--digest"]).out;
    let name = format!(".milescale/displaced/20200101T000000Z-{}-77-0.a.yaml", &digest[..16]);
    workspace.write(&name, OLD);
    let file = fs::File::options().write(true).open(workspace.path(&name)).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    assert_eq!(workspace.run(["check"]).code, 0);
    assert_eq!(workspace.read(&name), OLD, "30 days have not been counted since it was first seen");
    until_still(&workspace.path(".milescale/displaced"));
    // Thirty days of `check`s later.
    let mut days: serde_json::Value = serde_json::from_str(&workspace.read(".milescale/days.json")).unwrap();
    days["days"]["counted"] = serde_json::json!(30);
    days["days"]["at"] = serde_json::json!(0);
    workspace.write(".milescale/days.json", days.to_string());
    assert_eq!(workspace.run(["check"]).code, 0);
    assert!(!workspace.path(&name).exists());
}

/// The library that knows no exchange.
fn without_exchange(workspace: &Workspace) -> Workspace {
    let source = fs::read_to_string(repository().join("tests/faults/no_exchange.c")).unwrap();
    let library = compiled("no_exchange.so", &source);
    let mut without = Workspace::at(workspace.root(), BINARY);
    without.environment = vec![("LD_PRELOAD".to_owned(), library.to_str().unwrap().to_owned())];
    without
}

#[test]
fn e06_a_file_system_without_exchange_is_told_before_anything_changes() {
    let (workspace, digest) = with_milestone();
    let without = without_exchange(&workspace);
    for arguments in
        [vec!["milestone", "put", "a", "new.yaml", "--if-match", &digest], vec!["milestone", "archive", "a"]]
    {
        let said = without.run(arguments);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("cannot exchange two files") && said.err.contains("ext4"), "{said:?}");
        assert_eq!(workspace.read("active/a.yaml"), OLD);
        assert_eq!(names(&workspace.path(".milescale/displaced")), [""; 0]);
    }
    let doctor = without.run(["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("exchange"), "{doctor:?}");
    // What needs no exchange works.
    fs::write(workspace.root().join("b.yaml"), "id: b\n").unwrap();
    let new = without.run(["milestone", "put", "b", "b.yaml"]);
    assert_eq!((new.code, workspace.read("active/b.yaml").as_str()), (0, "id: b\n"), "{new:?}");
    let again = without.run(["milestone", "put", "b", "b.yaml"]);
    assert_eq!(again.code, 1, "never over what is there: {again:?}");
    let moved = without.run(["migrate", "database", "--yes"]);
    assert!(moved.code == 0 || moved.err.contains("exchange"), "refused before anything, or done: {moved:?}");
    let left = names(&workspace.path("active"));
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}
