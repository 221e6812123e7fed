//! What was displaced is named whatever was done to its times, its size, and the clock.

use std::fs::{self, File, FileTimes};
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use milescale_testkit::Workspace;

use super::super::super::faults::with_fault;
use super::{names, texts, until_still, with_milestone};

const LATE: &str = "id: a\nn: late\n";

/// Looks once everything that was displaced stands still.
fn check(workspace: &Workspace) {
    until_still(&workspace.path(".milescale/displaced"));
    workspace.run(["check"]);
}

fn conflicts(workspace: &Workspace) -> PathBuf {
    workspace.path(".milescale/conflicts")
}

fn yaml_in(folder: &std::path::Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| name.ends_with(".yaml")).collect()
}

fn open(workspace: &Workspace) -> File {
    File::options().read(true).write(true).open(workspace.path("active/a.yaml")).unwrap()
}

fn put(workspace: &Workspace, digest: &str) {
    let said = workspace.run(["milestone", "put", "a", "new.yaml", "--if-match", digest]);
    assert_eq!(said.code, 0, "{said:?}");
}

fn write(mut file: &File, text: &[u8]) {
    file.rewind().unwrap();
    file.write_all(text).unwrap();
    file.set_len(text.len() as u64).unwrap();
}

#[test]
fn a_foreign_save_that_keeps_its_times_is_named_after_a_death() {
    let (workspace, digest) = with_milestone();
    let theirs = workspace.root().join("theirs");
    fs::write(&theirs, LATE).unwrap();
    let long_ago = SystemTime::now() - Duration::from_hours(1);
    File::open(&theirs).unwrap().set_modified(long_ago).unwrap();
    let mut faulty = with_fault(workspace.root(), "rename:1:meet");
    let active = workspace.path("active");
    let meet =
        format!("cp -p {} {active}/.t && mv {active}/.t {active}/a.yaml", theirs.display(), active = active.display());
    let variables =
        [("FAULT_MEET", meet), ("FAULT_PATH", "/active/a.yaml".to_owned()), ("FAULT_THEN", "1:kill".to_owned())];
    faulty.environment.retain(|(name, _)| name != "FAULT_PATH");
    faulty.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    assert_ne!(faulty.run(["milestone", "put", "a", "new.yaml", "--if-match", &digest]).code, 0);
    assert!(texts(&workspace.path(".milescale/displaced")).contains(&LATE.to_owned()), "it came out");
    check(&workspace);
    assert_eq!(texts(&conflicts(&workspace)), [LATE]);
    assert_eq!(workspace.events_named("write_conflict").len(), 1);
}

#[test]
fn what_is_written_into_a_replaced_file_is_named_whatever_its_times_say() {
    let each = |time: Duration| {
        let (workspace, digest) = with_milestone();
        let file = open(&workspace);
        put(&workspace, &digest);
        check(&workspace);
        assert_eq!(yaml_in(&conflicts(&workspace)), [""; 0]);
        // It was looked at, and is as long as before.
        write(&file, b"# LATE\nid: a\nn: 3");
        file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + time)).unwrap();
        check(&workspace);
        assert_eq!(yaml_in(&conflicts(&workspace)).len(), 1, "{time:?}");
        assert_eq!(workspace.events_named("write_conflict").len(), 1, "{time:?}");
    };
    std::thread::scope(|scope| {
        for hours in [24, 1_000_000] {
            scope.spawn(move || each(Duration::from_hours(hours)));
        }
    });
}

#[test]
fn what_was_replaced_while_the_clock_was_ahead_is_named() {
    let (workspace, digest) = with_milestone();
    let file = open(&workspace);
    put(&workspace, &digest);
    // As its name says, it left its place in an hour.
    let displaced = workspace.path(".milescale/displaced");
    let [name] = &yaml_in(&displaced)[..] else { panic!() };
    let (_, rest) = name.split_once('-').unwrap();
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    fs::rename(displaced.join(name), displaced.join(format!("{}-{rest}", ahead.strftime("%Y%m%dT%H%M%SZ")))).unwrap();
    write(&file, LATE.as_bytes());
    check(&workspace);
    assert_eq!(texts(&conflicts(&workspace)), [LATE]);
}

#[test]
fn what_is_larger_than_a_milestone_may_be_is_named_and_settled() {
    let (workspace, digest) = with_milestone();
    let file = open(&workspace);
    put(&workspace, &digest);
    write(&file, LATE.as_bytes());
    file.set_len((16 << 20) + 1).unwrap();
    check(&workspace);
    let [name] = &yaml_in(&conflicts(&workspace))[..] else { panic!("it is not named") };
    let settled = workspace.run(["conflicts", "resolve", name, "--keep-current"]);
    assert_eq!(settled.code, 0, "{settled:?}");
    check(&workspace);
    assert_eq!(yaml_in(&conflicts(&workspace)), [""; 0], "it was dealt with");
    // Of what was looked at the next look reads nothing.
    let before = workspace.read(".milescale/displaced-looked.json");
    assert!(before.contains(".a.yaml"), "{before}");
    workspace.run(["check"]);
    assert_eq!(workspace.read(".milescale/displaced-looked.json"), before);
}
