use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use milescale_workspace::Workspace;

use super::{Hints, Inbox, Watch};

struct Bench {
    folder: tempfile::TempDir,
    watch: Watch,
    inbox: Arc<Inbox>,
    woken: Receiver<()>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        for place in [workspace.active(), workspace.config_folder(), workspace.logs()] {
            fs::create_dir_all(place.path()).unwrap();
        }
        let (send, woken) = channel();
        let inbox = Arc::new(Inbox::new(move || send.send(()).unwrap_or_default()));
        workspace.follow_its_name();
        let mut watch = Watch::new(workspace, Arc::clone(&inbox)).unwrap();
        watch.arm().unwrap();
        Self { folder, watch, inbox, woken }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(".milestones").join(path)
    }

    /// Gathers hints until `enough` says so.
    fn until(&self, enough: impl Fn(&Hints) -> bool) {
        let mut hints = Hints::default();
        let end = Instant::now() + Duration::from_secs(10);
        while !enough(&hints) {
            let left = end.saturating_duration_since(Instant::now());
            self.woken.recv_timeout(left).unwrap_or_else(|_| panic!("only {hints:?}"));
            hints.merge(self.inbox.take());
        }
    }

    fn until_milestone(&self, path: &Path) {
        self.until(|hints| hints.milestones.contains(path));
    }
}

#[test]
fn tells_what_changed() {
    let bench = Bench::new();
    let milestone = bench.path("active/a.yaml");
    fs::write(&milestone, "x").unwrap();
    bench.until_milestone(&milestone);
    fs::write(bench.path("config/storage-config.yaml"), "x").unwrap();
    bench.until(|hints| hints.config);
    fs::write(bench.path("config/new"), "x").unwrap();
    fs::rename(bench.path("config/new"), bench.path("config/storage-backend.txt")).unwrap();
    bench.until(|hints| hints.marker);
    fs::write(bench.path("logs/storage-events.jsonl"), "x").unwrap();
    bench.until(|hints| hints.log);
}

#[test]
fn reading_and_other_files_wake_nobody() {
    let bench = Bench::new();
    let milestone = bench.path("active/a.yaml");
    fs::write(&milestone, "x").unwrap();
    bench.until_milestone(&milestone);
    while bench.woken.recv_timeout(Duration::from_millis(300)).is_ok() {}
    bench.inbox.take();
    fs::read(&milestone).unwrap();
    fs::read_dir(bench.path("active")).unwrap().for_each(drop);
    fs::write(bench.path("logs/scale-events.jsonl"), "x").unwrap();
    fs::write(bench.path("active/4913"), "x").unwrap();
    // Events come in order: once this one is there, those above would be too.
    fs::write(bench.path("config/storage-config.yaml"), "x").unwrap();
    bench.until(|hints| {
        assert!(
            hints.milestones.iter().all(|path| path.ends_with("4913")) && !hints.log && !hints.everything,
            "{hints:?}"
        );
        hints.config
    });
}

#[test]
fn a_replaced_folder_is_watched_again_once_armed() {
    let mut bench = Bench::new();
    fs::rename(bench.path(""), bench.folder.path().join("away")).unwrap();
    bench.until(|hints| hints.everything);
    bench.watch.arm().unwrap();
    fs::create_dir_all(bench.path("active")).unwrap();
    bench.until(|hints| hints.everything);
    bench.watch.arm().unwrap();
    let milestone = bench.path("active/a.yaml");
    fs::write(&milestone, "x").unwrap();
    bench.until_milestone(&milestone);
}

#[test]
fn a_folder_that_another_took_the_place_of_is_watched_again_once_armed() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("other")).unwrap();
    fs::rename(bench.path("active"), bench.path("away")).unwrap();
    fs::rename(bench.path("other"), bench.path("active")).unwrap();
    bench.until(|hints| hints.everything);
    // At no time did the watch find the name missing.
    bench.watch.arm().unwrap();
    let milestone = bench.path("active/a.yaml");
    fs::write(&milestone, "x").unwrap();
    bench.until_milestone(&milestone);
}

#[test]
fn new_folders_are_watched_with_all_below_once_armed() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("active/1/2/3")).unwrap();
    bench.until(|hints| hints.everything);
    bench.watch.arm().unwrap();
    let milestone = bench.path("active/1/2/3/a.yaml");
    fs::write(&milestone, "x").unwrap();
    bench.until_milestone(&milestone);
}

#[test]
fn a_folder_below_that_got_another_name_is_told_of_under_it_once_armed() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("active/1/2")).unwrap();
    bench.watch.arm().unwrap();
    for name in ["3", "4"] {
        fs::rename(bench.path(if name == "3" { "active/1" } else { "active/3" }), bench.path("active").join(name))
            .unwrap();
        bench.watch.arm().unwrap();
        let milestone = bench.path("active").join(name).join("2/a.yaml");
        fs::write(&milestone, "x").unwrap();
        bench.until_milestone(&milestone);
    }
}

#[test]
fn a_folder_below_that_another_took_the_place_of_is_watched_again_once_armed() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("active/1")).unwrap();
    bench.watch.arm().unwrap();
    fs::create_dir(bench.path("other")).unwrap();
    fs::rename(bench.path("active/1"), bench.path("away")).unwrap();
    fs::rename(bench.path("other"), bench.path("active/1")).unwrap();
    bench.watch.arm().unwrap();
    let milestone = bench.path("active/1/a.yaml");
    fs::write(&milestone, "x").unwrap();
    bench.until_milestone(&milestone);
}
