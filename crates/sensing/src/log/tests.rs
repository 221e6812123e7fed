use milescale_workspace::Place;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use milescale_core::figures::LogFigures;
use milescale_document::timestamp;

use super::EventLog;

struct Bench {
    folder: tempfile::TempDir,
    log: EventLog,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = EventLog::new(Place::named(&folder.path().join("log")), None);
        Self { folder, log, now: Timestamp::from_second(1_790_000_000).unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn append(&self, text: &str) {
        fs::File::options().append(true).create(true).open(self.path()).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn event(&self, minutes_ago: i64, user: &str, operation: &str, duration: u32) -> String {
        let stamp = timestamp::to_text(self.now - SignedDuration::from_mins(minutes_ago));
        format!(
            "{{\"timestamp\":\"{stamp}\",\"user\":\"{user}\",\"details\":{{\"operation\":\"{operation}\",\"duration_ms\":{duration}}}}}\n"
        )
    }

    fn look(&mut self) -> LogFigures {
        self.log.look(self.now).unwrap();
        self.log.figures(self.now)
    }

    fn users(&mut self) -> (u64, u64) {
        let figures = self.look();
        (figures.concurrent_users, figures.team_size)
    }
}

#[test]
fn no_log_is_one_user_and_a_log_without_users_is_none() {
    let mut bench = Bench::new();
    assert_eq!(bench.users(), (1, 1));
    bench.append("{}\n");
    assert_eq!(bench.users(), (0, 0));
    fs::remove_file(bench.path()).unwrap();
    assert_eq!(bench.users(), (1, 1));
}

#[test]
fn windows_are_inclusive_and_open_to_the_future() {
    let mut bench = Bench::new();
    let events: String = [(60, "a"), (61, "b"), (1440, "c"), (1441, "d"), (-600, "e")]
        .map(|(minutes, user)| bench.event(minutes, user, "read", 1))
        .concat();
    bench.append(&events);
    assert_eq!(bench.users(), (2, 4));
    assert!(bench.log.latest_stamp().unwrap() > bench.now);
    bench.now += SignedDuration::from_secs(1);
    assert_eq!(bench.users(), (1, 3));
}

#[test]
fn means_of_the_last_hundred_and_the_last_ten() {
    let mut bench = Bench::new();
    let lines: String = (0..150).map(|number| bench.event(90_000, "a", "query", number)).collect();
    bench.append(&lines);
    let query = bench.look().query;
    assert_eq!((query.average, query.recent), ((50..150).sum::<i64>() / 100, (140..150).sum::<i64>() / 10));
    // What is appended pushes the oldest out, exactly as a fresh look would have it.
    let more: String = (0..5).map(|_| bench.event(0, "a", "query", 1000)).collect();
    bench.append(&more);
    let followed = bench.look();
    let mut fresh = EventLog::new(Place::named(&bench.path()), None);
    fresh.look(bench.now).unwrap();
    assert_eq!(followed, fresh.figures(bench.now));
    assert_eq!(followed.query.recent, (5 * 1000 + (145..150).sum::<i64>()) / 10);
}

#[test]
fn a_last_line_counts_when_it_is_whole_with_or_without_newline() {
    let mut bench = Bench::new();
    let line = bench.event(0, "a", "write", 7);
    bench.append(&line[..20]);
    assert_eq!(bench.users(), (0, 0));
    bench.append(line[20..].trim_end());
    assert_eq!((bench.users(), bench.look().write.average), ((1, 1), 7));
    assert_eq!(bench.log.bad_lines(), 0);
    bench.append("\n");
    bench.append(&line);
    assert_eq!((bench.users(), bench.look().write.average), ((1, 1), 7));
    // Two objects on one line are none.
    bench.append(line.trim_end());
    bench.append(&bench.event(0, "b", "write", 7));
    assert_eq!(bench.users(), (1, 1));
    assert_eq!(bench.log.bad_lines(), 1);
}

#[test]
fn bad_lines_are_reported_once_with_their_numbers_across_restarts() {
    let mut bench = Bench::new();
    let good = bench.event(0, "a", "read", 1);
    bench.append(&format!("{good}nonsense\n{good}\n{good}{{\"cut\":\n{good}"));
    bench.look();
    let bad = bench.log.take_new_bad_lines().unwrap();
    assert_eq!((bad.count, bad.lines), (2, vec![2, 6]));
    assert_eq!(bench.log.take_new_bad_lines(), None);
    let reported = bench.log.reported();
    bench.append("[1]\n");
    bench.log = EventLog::new(Place::named(&bench.path()), reported);
    bench.look();
    let bad = bench.log.take_new_bad_lines().unwrap();
    assert_eq!((bad.count, bad.lines), (1, vec![8]));
    assert_eq!(bench.log.bad_lines(), 3);
    bench.append("{{\n");
    bench.look();
    assert_eq!(bench.log.take_new_bad_lines().unwrap().lines, [9]);
}

#[test]
fn truncated_replaced_and_rotated_logs_are_read_anew() {
    let mut bench = Bench::new();
    let event = |bench: &Bench, user: &str| bench.event(10, user, "read", 1);
    bench.append(&[event(&bench, "a"), event(&bench, "b")].concat());
    assert_eq!(bench.users(), (2, 2));
    fs::write(bench.path(), event(&bench, "c")).unwrap();
    assert_eq!(bench.users(), (1, 1), "cut shorter");
    fs::write(bench.path(), [event(&bench, "d"), event(&bench, "e"), event(&bench, "f")].concat()).unwrap();
    assert_eq!(bench.users(), (3, 3), "cut, and longer than before");
    let rotated = bench.folder.path().join("log.1");
    fs::rename(bench.path(), &rotated).unwrap();
    assert_eq!(bench.users(), (3, 3), "only the rotated file is left");
    bench.append(&event(&bench, "g"));
    assert_eq!(bench.users(), (4, 4), "the window reaches back into the rotated file");
    let other = bench.folder.path().join("other");
    fs::write(&other, event(&bench, "h")).unwrap();
    fs::rename(&other, bench.path()).unwrap();
    assert_eq!(bench.users(), (4, 4), "replaced by another file");
    fs::remove_file(&rotated).unwrap();
    assert_eq!(bench.users(), (4, 4));
    fs::write(bench.path(), "").unwrap();
    assert_eq!(bench.users(), (0, 0));
}

#[test]
fn a_log_that_is_no_file_is_an_error_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.append(&bench.event(0, "a", "read", 1));
    assert_eq!(bench.users(), (1, 1));
    fs::remove_file(bench.path()).unwrap();
    fs::create_dir(bench.path()).unwrap();
    assert!(bench.log.look(bench.now).is_err());
    assert_eq!(bench.log.figures(bench.now).concurrent_users, 1);
    fs::remove_dir(bench.path()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, bench.path(), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    assert!(bench.log.look(bench.now).is_err(), "a FIFO never hangs the look");
    fs::remove_file(bench.path()).unwrap();
    assert_eq!(bench.users(), (1, 1));
}

#[test]
fn a_whole_line_of_ten_megabytes_counts_and_a_longer_one_is_named() {
    let mut bench = Bench::new();
    let long = |length: usize| {
        format!(
            "{{\"user\":\"x\",\"note\":\"{}\",\"details\":{{\"operation\":\"read\",\"duration_ms\":9}}}}\n",
            "y".repeat(length)
        )
    };
    bench.append("{}\n");
    bench.look();
    bench.append(&long(10 << 20));
    assert_eq!(bench.look().read.average, 9);
    bench.append(&long(20 << 20));
    bench.append(&bench.event(0, "a", "read", 11));
    assert_eq!(bench.look().read.average, 10);
    assert_eq!(bench.log.take_new_bad_lines().unwrap().lines, [3]);
    let mut fresh = EventLog::new(Place::named(&bench.path()), None);
    fresh.look(bench.now).unwrap();
    assert_eq!(fresh.figures(bench.now).read.average, 10);
    assert_eq!(fresh.bad_lines(), 1);
}

#[test]
fn only_as_much_is_read_as_the_windows_reach() {
    let mut bench = Bench::new();
    let old: String =
        (0..2000).map(|number| bench.event(200_000, "old", ["read", "write", "query"][number % 3], 5)).collect();
    bench.append("not json, but too far back to be seen\n");
    bench.append(&old);
    bench.append(&bench.event(1, "a", "read", 1));
    assert_eq!(bench.users(), (1, 1));
    assert_eq!(bench.log.bad_lines(), 0);
    assert_eq!(bench.log.figures(bench.now).write.average, 5);
}
