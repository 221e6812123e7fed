//! The log of storage events: the start depends on the window, and what is appended is read fast.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use milescale_sensing::log::EventLog;
use milescale_workspace::Place;

use crate::figures::{median, ratio, shown, side_by_side, timed};
use crate::run::Run;
use crate::table::Judged;

/// A storage event.
pub(crate) fn line(number: usize, at: Timestamp) -> String {
    let operation = ["read", "write", "query"][number % 3];
    format!(
        "{{\"timestamp\":\"{}\",\"event\":\"performance_metric\",\"milestone_id\":\"milestone-{:07}\",\"user\":\"user-{}\",\"backend\":\
         \"file\",\"details\":{{\"operation\":\"{operation}\",\"duration_ms\":{},\"success\":true}}}}\n",
        milescale_document::timestamp::to_text(at),
        number % 100_000,
        number % 17,
        number % 250,
    )
}

/// A log of so many bytes, whose last hour has as many lines as that of every other one.
fn write(path: &Path, bytes: u64, now: Timestamp) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let old = now - SignedDuration::from_hours(24 * 30);
    let block: String = (0..4000).map(|number| line(number, old)).collect();
    for _ in 0..bytes / block.len() as u64 {
        file.write_all(block.as_bytes()).unwrap();
    }
    for number in 0..20_000_i64 {
        let at = now - SignedDuration::from_millis((20_000 - number) * 150);
        file.write_all(line(usize::try_from(number).unwrap(), at).as_bytes()).unwrap();
    }
    file.flush().unwrap();
}

pub(crate) fn measure(run: &mut Run) {
    if !run.wants("log") {
        return;
    }
    let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
    let (short, long) = (folder.path().join("short"), folder.path().join("long"));
    let scale: u32 = if run.quick { 1000 } else { 1 };
    write(&short, (50 << 20) / u64::from(scale), now);
    write(&long, (5 << 30) / u64::from(scale), now);
    let start = |path: &Path| {
        let mut log = EventLog::new(Place::named(path), None);
        timed(|| log.look(now).unwrap())
    };
    let (of_long, of_short) = side_by_side(run.times(9), || start(&long), || start(&short));
    run.table.times(
        "event log: start with 5 GB",
        (ratio(of_long, of_short), 1.2),
        "one with 50 MB and the same window",
        format!("{} and {}; the window has 20,000 lines", shown(of_long), shown(of_short)),
    );
    let mut log = EventLog::new(Place::named(&long), None);
    log.look(now).unwrap();
    let mut log_of_short = EventLog::new(Place::named(&short), None);
    log_of_short.look(now).unwrap();
    let (of_long, of_short) =
        side_by_side(run.times(9), || timed(|| log.look(now).unwrap()), || timed(|| log_of_short.look(now).unwrap()));
    run.table.row(
        "event log: a look at one that has not grown, 5 GB",
        shown(of_long),
        "depends on the window only",
        Judged::of(of_long <= of_short * 2 + Duration::from_micros(20)),
        format!("50 MB: {}", shown(of_short)),
    );
    let lines = 1_000_000 / scale as usize;
    let more: String = (0..lines).map(|number| line(number, now)).collect();
    let appended: Vec<Duration> = (0..run.times(5))
        .map(|_| {
            File::options().append(true).open(&short).unwrap().write_all(more.as_bytes()).unwrap();
            timed(|| log_of_short.look(now).unwrap())
        })
        .collect();
    let took = median(appended).as_secs_f64();
    let (a_second, megabytes) = (lines as f64 / took, more.len() as f64 / took / 1e6);
    run.table.row(
        "event log: appended lines, one core",
        format!("{:.1} million lines a second", a_second / 1e6),
        "1 GB/s or 2 million lines a second",
        Judged::of(a_second >= 2e6 || megabytes >= 1000.0),
        format!("{megabytes:.0} MB/s, lines of {} bytes", more.len() / lines),
    );
}
