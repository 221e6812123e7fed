use milescale_workspace::Place;
use milescale_workspace::folder::Folder;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Draft;
use milescale_workspace::Workspace;
use milescale_workspace::conflicts;
use milescale_workspace::displaced::{purge, review};
use milescale_workspace::keeping::NewDay;

use super::FileStore;
use super::texts::are_several;
use super::walk::{ByName, by_name};
use crate::store::{Extent, Occasion, Seen, Store};

struct Bench {
    folder: tempfile::TempDir,
    store: FileStore,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::new(Workspace::at(folder.path()), 0);
        fs::create_dir_all(folder.path().join(".milestones/active")).unwrap();
        Self { folder, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(".milestones/active").join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn look(&mut self) -> (u64, u64, u64) {
        self.store.survey(&Extent::Everything, SystemTime::now()).unwrap();
        self.figures()
    }

    fn look_at(&mut self, name: &str) -> (u64, u64, u64) {
        let path = self.path(name);
        self.store.survey(&Extent::Paths(vec![path]), SystemTime::now()).unwrap();
        self.figures()
    }

    fn figures(&self) -> (u64, u64, u64) {
        let figures = self.store.figures();
        (figures.milestone_count, figures.kiro_enabled_count, figures.dependency_count)
    }
}

const KIRO: &str = "tasks: [{kiro_workflow: {enabled: true}}]\ndependencies: {requires: [x]}\n";

#[test]
fn counts_what_the_contract_counts() {
    let mut bench = Bench::new();
    for name in ["a.yaml", "sub/b.yaml", "folder.yaml/c.yaml", "new\nline'\".yaml"] {
        bench.write(name, KIRO);
    }
    for name in ["d.yml", ".e.yaml", ".hidden/f.yaml", "g.yaml.bak", "h.YAML"] {
        bench.write(name, KIRO);
    }
    symlink("a.yaml", bench.path("link.yaml")).unwrap();
    symlink("sub", bench.path("folder-link")).unwrap();
    symlink("/etc/passwd", bench.path("out.yaml")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.path("fifo.yaml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket.yaml")).unwrap();
    assert_eq!(bench.look(), (4, 4, 4));
    for name in ["fifo.yaml", "socket.yaml", "link.yaml", ".e.yaml", ".hidden/f.yaml", "d.yml"] {
        assert_eq!(bench.look_at(name), (4, 4, 4), "{name}");
    }
}

#[test]
fn a_flawed_file_counts_and_adds_nothing_else() {
    let mut bench = Bench::new();
    bench.write("a.yaml", KIRO);
    bench.write("b.yaml", "tasks: [");
    bench.write("huge.yaml", vec![b'#'; (16 << 20) + 1]);
    bench.write("list.yaml", "- a");
    assert_eq!(bench.look(), (4, 1, 1));
    let flawed: Vec<String> = bench.store.flawed().into_keys().collect();
    assert_eq!(flawed, ["b.yaml", "huge.yaml", "list.yaml"].map(|name| format!(".milestones/active/{name}")));
    bench.write("b.yaml", KIRO);
    assert_eq!(bench.look_at("b.yaml"), (4, 2, 2));
    assert_eq!(bench.store.flawed().len(), 2);
}

#[test]
fn a_change_of_one_path_is_seen_whatever_it_is() {
    let mut bench = Bench::new();
    bench.write("a.yaml", "id: a");
    assert_eq!(bench.look(), (1, 0, 0));
    bench.write("a.yaml", KIRO);
    assert_eq!(bench.look_at("a.yaml"), (1, 1, 1));
    bench.write("new/b.yaml", KIRO);
    assert_eq!(bench.look_at("new"), (2, 2, 2), "a new folder widens the look");
    fs::rename(bench.path("new"), bench.path(".gone")).unwrap();
    assert_eq!(bench.look_at("new"), (1, 1, 1), "a folder that is gone takes its files along");
    fs::remove_file(bench.path("a.yaml")).unwrap();
    assert_eq!(bench.look_at("a.yaml"), (0, 0, 0));
}

#[test]
fn two_edits_of_one_size_within_a_clock_tick_are_both_seen() {
    let mut bench = Bench::new();
    bench.write("a.yaml", "tasks: [{kiro_workflow: {enabled: true}}]");
    let times = fs::FileTimes::new().set_modified(SystemTime::now());
    assert_eq!(bench.look(), (1, 1, 0));
    bench.write("a.yaml", "tasks: [{kiro_workflow: {enabled: nope}}]");
    fs::File::options().write(true).open(bench.path("a.yaml")).unwrap().set_times(times).unwrap();
    assert_eq!(bench.store.fresh_paths(), [bench.path("a.yaml")]);
    assert_eq!(bench.look(), (1, 0, 0));
    let later = SystemTime::now() + Duration::from_secs(5);
    bench.store.survey(&Extent::Everything, later).unwrap();
    assert!(bench.store.fresh_paths().is_empty(), "an old change needs no further look");
}

#[test]
fn a_lost_folder_is_not_an_empty_one() {
    let mut bench = Bench::new();
    let active = bench.folder.path().join(".milestones/active");
    fs::remove_dir(&active).unwrap();
    assert_eq!(bench.look(), (0, 0, 0), "a fresh clone without active/ has no milestones");
    bench.write("a.yaml", KIRO);
    assert_eq!(bench.look(), (1, 1, 1));
    fs::rename(&active, bench.folder.path().join(".milestones/away")).unwrap();
    let lost = bench.store.survey(&Extent::Everything, SystemTime::now()).unwrap_err();
    assert!(lost.cause.contains("it held milestones"), "{lost}");
    assert_eq!(bench.figures(), (1, 1, 1), "the last figures stay");
    symlink("away", &active).unwrap();
    let lost = bench.store.survey(&Extent::Everything, SystemTime::now()).unwrap_err();
    assert!(lost.cause.contains("active is a symlink to away") && lost.cause.contains("--link active"), "{lost}");
    fs::remove_file(&active).unwrap();
    fs::create_dir(&active).unwrap();
    assert_eq!(bench.look(), (0, 0, 0), "an empty folder is empty");
    let mut restarted = FileStore::new(Workspace::at(bench.folder.path().join("nowhere")), 7);
    assert!(restarted.survey(&Extent::Everything, SystemTime::now()).is_err(), "remembered across restarts");
}

#[test]
fn names_ids_that_stand_twice_or_differ_from_the_name() {
    let mut bench = Bench::new();
    bench.write("a.yaml", "id: other");
    bench.write("x/b.yaml", "id: b");
    bench.write("y/b.yaml", "id: b");
    bench.look();
    let [(_, name, declared)] = &bench.store.other_ids()[..] else { panic!() };
    assert_eq!((name.as_str(), declared.as_str()), ("a", "other"));
    assert_eq!(
        bench.store.duplicates()["b"],
        ["x/b.yaml", "y/b.yaml"].map(|name| format!(".milestones/active/{name}"))
    );
}

#[test]
fn what_is_written_into_a_replaced_file_is_kept_and_named() {
    let bench = Bench::new();
    let workspace = Workspace::at(bench.folder.path());
    bench.write("a.yaml", "n: 1\n");
    // An editor that has the file open since before.
    let mut open = fs::File::options().append(true).open(bench.path("a.yaml")).unwrap();
    let mut store = FileStore::new(workspace.clone(), 0);
    let id: milescale_document::id::Id = "a".parse().unwrap();
    let seen = Seen::Text(store.get(&id).unwrap().digest());
    let draft = Draft::new(id, b"n: 2\n".to_vec(), jiff::Timestamp::now()).unwrap();
    store.put(&draft, seen).unwrap();
    let later = |seconds| SystemTime::now() + Duration::from_secs(seconds);
    let nothing: [Place; 0] = [];
    assert_eq!(review(&workspace, later(10)).unwrap(), nothing, "what nobody wrote to is no conflict");
    std::io::Write::write_all(&mut open, b"late: 3\n").unwrap();
    assert_eq!(review(&workspace, later(0)).unwrap(), nothing, "not while it is being written");
    let found = review(&workspace, later(10)).unwrap();
    let [kept_as] = &found[..] else { panic!("{found:?}") };
    assert!(kept_as.name_text().ends_with(".a.yaml"), "{kept_as:?}");
    assert_eq!(fs::read_to_string(kept_as.path()).unwrap(), "n: 1\nlate: 3\n");
    assert_eq!(fs::read_to_string(bench.path("a.yaml")).unwrap(), "n: 2\n");
    assert_eq!(review(&workspace, later(10)).unwrap(), nothing);
}

#[test]
fn what_was_replaced_goes_after_thirty_days() {
    let bench = Bench::new();
    let workspace = Workspace::at(bench.folder.path());
    bench.write("a.yaml", "n: 1\n");
    let mut store = FileStore::new(workspace.clone(), 0);
    let id: milescale_document::id::Id = "a".parse().unwrap();
    let seen = Seen::Text(store.get(&id).unwrap().digest());
    store.put(&Draft::new(id, b"n: 2\n".to_vec(), jiff::Timestamp::now()).unwrap(), seen).unwrap();
    let count = || fs::read_dir(workspace.displaced().path()).unwrap().count();
    let purge_on = |day: u64| {
        let now = SystemTime::now() + Duration::from_hours(day * 24 + 1);
        let mut new_day = NewDay::begin(&workspace, now.try_into().unwrap(), None).unwrap().unwrap();
        purge(&workspace, now, &mut new_day).unwrap();
        new_day.end(&workspace).unwrap();
        count()
    };
    fs::create_dir_all(workspace.own().path()).unwrap();
    assert_eq!(purge_on(400), 1, "a clock that is ahead ends nothing");
    assert_eq!((0..30).map(purge_on).min(), Some(1));
    assert_eq!(purge_on(30), 0);
}

/// Wherever a write dies, what is displaced is what was in place or what was to be: never a conflict.
#[test]
fn a_text_that_was_prepared_and_never_put_is_no_conflict() {
    let bench = Bench::new();
    let workspace = Workspace::at(bench.folder.path());
    let (old, new) = (b"n: 1\n", b"n: 2\n");
    let now = jiff::Timestamp::now();
    let id = "a".parse().unwrap();
    let name =
        || milescale_workspace::displaced::name(&workspace, &id, Digest::of(old), Some(Digest::of(new)), now).unwrap();
    let (before, after, foreign) = (name(), name(), name());
    fs::write(before.path(), new).unwrap();
    fs::write(after.path(), old).unwrap();
    fs::write(foreign.path(), "").unwrap();
    let found = review(&workspace, SystemTime::now() + Duration::from_secs(10)).unwrap();
    assert_eq!(found, [workspace.conflicts().join(foreign.name())]);
}

#[test]
fn mode_and_owner_stay() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.write("a.yaml", "n: 1\n");
    fs::set_permissions(bench.path("a.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let mut store = FileStore::new(Workspace::at(bench.folder.path()), 0);
    let id: milescale_document::id::Id = "a".parse().unwrap();
    let seen = Seen::Text(store.get(&id).unwrap().digest());
    store.put(&Draft::new(id, b"n: 2\n".to_vec(), jiff::Timestamp::now()).unwrap(), seen).unwrap();
    assert_eq!(fs::metadata(bench.path("a.yaml")).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn what_another_program_saved_in_between_is_put_back() {
    let bench = Bench::new();
    let workspace = Workspace::at(bench.folder.path());
    bench.write("a.yaml", "n: 1\n");
    let store = FileStore::new(workspace.clone(), 0);
    let draft = Draft::new("a".parse().unwrap(), b"n: 2\n".to_vec(), jiff::Timestamp::now()).unwrap();
    let seen = Digest::of(b"n: 1\n");
    let aside = workspace.displaced().join("aside.yaml");
    fs::create_dir_all(workspace.displaced().path()).unwrap();
    fs::write(aside.path(), &draft.text).unwrap();
    // Between the check and the exchange.
    bench.write("a.yaml", "n: theirs\n");
    let error = store.exchange(&aside, &Place::named(&bench.path("a.yaml")), &draft, seen).unwrap_err();
    assert_eq!(error.problem, milescale_workspace::error::Problem::Changed, "{error}");
    assert_eq!(fs::read_to_string(bench.path("a.yaml")).unwrap(), "n: theirs\n");
    let kept: Vec<_> = fs::read_dir(workspace.displaced().path())
        .unwrap()
        .map(|it| fs::read_to_string(it.unwrap().path()).unwrap())
        .collect();
    assert_eq!(kept, ["n: 2\n"], "what was in place for an instant is kept");
    let later = SystemTime::now() + Duration::from_secs(10);
    assert!(review(&workspace, later).unwrap().is_empty(), "and is no conflict");
    // A file that is gone by then is not made again.
    fs::write(aside.path(), &draft.text).unwrap();
    fs::remove_file(bench.path("a.yaml")).unwrap();
    assert!(store.exchange(&aside, &Place::named(&bench.path("a.yaml")), &draft, seen).is_err());
    assert!(!bench.path("a.yaml").exists());
}

impl Bench {
    /// As after a restart.
    fn again(&self) -> FileStore {
        FileStore::new(Workspace::at(self.folder.path()), 0)
    }

    fn facts(&self) -> PathBuf {
        self.folder.path().join(".milestones/.milescale/facts")
    }

    /// Five milestones that were read long enough after they were written, and what is known of them, kept.
    fn with_facts() -> Self {
        let mut bench = Self::new();
        for name in ["a.yaml", "b.yaml", "sub/c.yaml", "sub/d.yaml", "e.yaml"] {
            bench.write(name, KIRO);
        }
        fs::create_dir_all(bench.facts().parent().unwrap()).unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        bench.store.survey(&Extent::Everything, later).unwrap();
        bench.store.keep_facts(Occasion::End).unwrap();
        bench
    }
}

/// A look at everything as if it were later: how many files it read, and the figures.
fn later_look(store: &mut FileStore) -> (u64, (u64, u64, u64)) {
    store.survey(&Extent::Everything, SystemTime::now() + Duration::from_secs(5)).unwrap();
    let figures = store.figures();
    (store.changes(), (figures.milestone_count, figures.kiro_enabled_count, figures.dependency_count))
}

#[test]
fn a_start_reads_only_what_has_changed_since() {
    let bench = Bench::with_facts();
    assert_eq!(later_look(&mut bench.again()), (0, (5, 5, 5)));
    // Of the same size and with its old time: the change of the inode tells.
    let times = fs::metadata(bench.path("b.yaml")).unwrap().modified().unwrap();
    bench.write("b.yaml", KIRO.replace("true", "tru3"));
    let file = fs::File::options().write(true).open(bench.path("b.yaml")).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(times)).unwrap();
    fs::remove_file(bench.path("sub/d.yaml")).unwrap();
    bench.write("f.yaml", KIRO);
    assert_eq!(later_look(&mut bench.again()), (3, (5, 4, 5)), "one changed, one gone, one new");
}

#[test]
fn damaged_facts_are_worth_nothing_and_change_nothing() {
    let bench = Bench::with_facts();
    let whole = fs::read(bench.facts()).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(bench.facts(), &damaged).unwrap();
        assert_eq!(later_look(&mut bench.again()), (5, (5, 5, 5)), "byte {at}");
        fs::write(bench.facts(), &whole[..at]).unwrap();
        assert_eq!(later_look(&mut bench.again()), (5, (5, 5, 5)), "cut at {at}");
    }
}

#[test]
fn facts_of_another_folder_are_not_used() {
    let bench = Bench::with_facts();
    let other = Bench::new();
    other.write("a.yaml", "id: a\n");
    fs::create_dir_all(other.facts().parent().unwrap()).unwrap();
    fs::copy(bench.facts(), other.facts()).unwrap();
    assert_eq!(later_look(&mut other.again()), (1, (1, 0, 0)));
}

#[test]
fn what_was_just_written_or_cannot_be_read_is_read_again_after_a_restart() {
    let mut bench = Bench::with_facts();
    bench.write("bad.yaml", "a: [\n");
    bench.store.survey(&Extent::Everything, SystemTime::now() + Duration::from_secs(5)).unwrap();
    bench.write("fresh.yaml", KIRO);
    bench.look();
    bench.store.keep_facts(Occasion::End).unwrap();
    let mut again = bench.again();
    assert_eq!(later_look(&mut again), (2, (7, 6, 6)));
    assert_eq!(again.flawed().len(), 1, "what a person should know is known again");
}

#[test]
fn an_id_is_found_by_its_name_where_no_other_file_can_have_it() {
    let bench = Bench::new();
    for name in ["a.yaml", "B.yaml", "c.yml", "ä.yaml", "target"] {
        bench.write(name, KIRO);
    }
    symlink(bench.path("target"), bench.path("link.yaml")).unwrap();
    let active = Workspace::at(bench.folder.path()).active();
    let by_name = |id: &str| by_name(&active, id);
    let listed =
        |id: &str| -> Vec<_> { bench.store.find(&id.parse().unwrap()).unwrap().iter().map(Place::path).collect() };
    if by_name("a") != ByName::Unclear {
        assert_eq!(by_name("a"), ByName::File(active.join("a.yaml")));
        for id in ["b", "c", "link", "target"] {
            assert_eq!(by_name(id), ByName::Nothing, "{id}");
        }
    }
    assert_eq!(by_name("ä"), ByName::Unclear, "a name that may be spelled in several ways");
    assert_eq!(
        (listed("a"), listed("b"), listed("ä")),
        (vec![bench.path("a.yaml")], vec![], vec![bench.path("ä.yaml")])
    );
    // One name for both cases, as where letters are not told apart.
    fs::hard_link(bench.path("a.yaml"), bench.path("A.YAML")).unwrap();
    assert_eq!((by_name("a"), listed("a")), (ByName::Unclear, vec![bench.path("a.yaml")]));
    bench.write("sub/a.yaml", KIRO);
    bench.write("sub/deep/d.yaml", KIRO);
    assert_eq!(by_name("B"), ByName::Unclear, "there is a folder");
    assert_eq!(listed("a"), [bench.path("a.yaml"), bench.path("sub/a.yaml")]);
    assert_eq!((listed("d"), listed("B")), (vec![bench.path("sub/deep/d.yaml")], vec![bench.path("B.yaml")]));
}

/// Folders that are listed while a file is renamed between them both have it; a link makes two of it.
#[test]
fn a_file_that_is_listed_twice_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let [here, gone, link] =
        ["here.yaml", "gone.yaml", "link.yaml"].map(|name| Folder::named(folder.path()).place().join(name));
    std::fs::write(here.path(), "a: 1\n").unwrap();
    let mut found = vec![gone.clone(), here.clone()];
    assert!(are_several(&mut found));
    assert!(found.len() == 1 && found[0] == here);
    assert!(
        !are_several(&mut vec![here.clone(), here.clone()]),
        "it was renamed between two looks: to be listed again"
    );
    assert!(!are_several(&mut vec![gone]), "neither is there any more: to be listed again");
    std::fs::hard_link(here.path(), link.path()).unwrap();
    let mut found = vec![here, link];
    assert!(are_several(&mut found) && found.len() == 2);
}

/// Whoever looks for an id while another program renames its file to and fro finds it once, or not at all.
#[test]
fn a_file_that_is_renamed_all_the_time_never_stands_several_times() {
    let bench = Bench::new();
    bench.write("sub/m.yaml", "a: 1\n");
    for other in 0..200 {
        bench.write(&format!("o{other}.yaml"), "");
    }
    let (stop, id) = (std::sync::atomic::AtomicBool::new(false), "m".parse().unwrap());
    let [here, there] = [bench.path("m.yaml"), bench.path("sub/m.yaml")];
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::rename(&there, &here).unwrap();
                fs::rename(&here, &there).unwrap();
            }
        });
        let refused = (0..2000).filter(|_| bench.store.find_one(&id).is_err()).count();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        refused
    });
    assert_eq!(refused, 0);
}

/// Each way in which a content leaves its place, with the longest ids that there are.
#[test]
fn long_ids_are_replaced_archived_and_removed_as_short_ones() {
    let longest = ["x".repeat(200), "ü".repeat(100), "🔄".repeat(50), "x".repeat(187)];
    for id in longest.map(|id| id.parse::<Id>().unwrap()) {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let mut store = FileStore::new(workspace.clone(), 0);
        store.prepare().unwrap();
        let draft =
            |text: &str| Draft::new(id.clone(), format!("title: {text}\n").into_bytes(), Timestamp::now()).unwrap();
        let (one, two) = (draft("one"), draft("two"));
        store.put(&one, Seen::Nothing).unwrap();
        store.put(&two, Seen::Text(one.content().text)).unwrap();
        store.archive(&one, two.content().text).unwrap();
        store.unarchive(&two, one.content().text).unwrap();
        store.remove(&id, two.content().text, Timestamp::now()).unwrap();
        let later = SystemTime::now() + Duration::from_secs(10);
        assert_eq!(review(&workspace, later).unwrap(), Vec::<Place>::new());
        // Somebody who has it open writes into it.
        let name = fs::read_dir(workspace.displaced().path()).unwrap().flatten().map(|entry| entry.path());
        let is_two =
            |path: &std::path::PathBuf| fs::read(path).is_ok_and(|text| Digest::of(&text) == two.content().text);
        fs::write(name.filter(is_two).last().unwrap(), "title: late\n").unwrap();
        assert_eq!(review(&workspace, later).unwrap().len(), 1);
        let found = conflicts::list(&workspace).unwrap();
        assert_eq!((found.len(), found[0].id.as_str()), (1, id.as_str()));
        conflicts::settle(&workspace, &found[0].name, None, Timestamp::now()).unwrap();
        assert_eq!(conflicts::count(&workspace).unwrap(), 0);
    }
}
