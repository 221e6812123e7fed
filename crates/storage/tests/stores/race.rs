//! Writers at once: milescale's own and shells, on every store.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use milescale_document::id::Id;
use milescale_storage::store::Seen;
use milescale_testkit::until;
use milescale_workspace::error::Problem;

use super::bench::{Bench, Kind, draft};

/// How often two writers put at once.
const ROUNDS: usize = 1000;

/// The shell writes once in so many of them.
const ROUNDS_A_WRITE: usize = 5;

/// What one successful put replaced and wrote.
struct Put {
    seen: String,
    wrote: String,
}

/// A thousand times two puts at once, with a shell that writes in between. No put overwrites what it was not shown, and
/// every content that was ever current and that milescale replaced can be found.
pub(crate) fn a_thousand_times_two_puts_with_a_shell_among_them(bench: &Bench) {
    let id: Id = "a".parse().unwrap();
    bench.store().put(&draft("a", "by: start\n"), Seen::Nothing).unwrap();
    let (barrier, done, rounds) = (Barrier::new(2), AtomicBool::new(false), AtomicUsize::new(0));
    let (puts, shell) = std::thread::scope(|scope| {
        let writer = |number: usize| {
            let (id, barrier, rounds) = (&id, &barrier, &rounds);
            move || {
                let (mut store, mut puts) = (bench.store(), Vec::new());
                for round in 0..ROUNDS {
                    barrier.wait();
                    rounds.store(round, Ordering::Relaxed);
                    // A shell that writes in place leaves half a text for an instant.
                    let seen = until("a whole text", || store.get(id).ok().filter(|seen| seen.value.is_ok()));
                    let wrote = format!("by: put-{number}-{round}\n");
                    match store.put(&draft("a", &wrote), Seen::Text(seen.digest())) {
                        Ok(()) => puts.push(Put { seen: String::from_utf8(seen.text).unwrap(), wrote }),
                        Err(error) => assert!(matches!(error.problem, Problem::Changed | Problem::Busy), "{error}"),
                    }
                }
                puts
            }
        };
        let writers = [scope.spawn(writer(0)), scope.spawn(writer(1))];
        let shell = scope.spawn(|| shell_writes(bench, &done, &rounds));
        let puts: Vec<Put> = writers.map(|writer| writer.join().unwrap()).into_iter().flatten().collect();
        done.store(true, Ordering::Relaxed);
        (puts, shell.join().unwrap())
    });
    let last = String::from_utf8(bench.store().get(&id).unwrap().text).unwrap();
    let kept = bench.displaced();
    let mut lost = String::new();
    for Put { seen, wrote } in &puts {
        // What a put replaced is what it had seen, and is kept; unless a shell that had the file open since before wrote
        // into it afterwards, which its name tells.
        if !kept.contains(seen) && !bench.was_displaced(seen) {
            writeln!(lost, "{wrote:?} replaced {seen:?}, which is nowhere").unwrap();
        }
    }
    assert_eq!(lost, "");
    // What nobody replaced with milescale is current, or another shell write came over it.
    let replaced: BTreeSet<&str> = puts.iter().map(|put| put.seen.as_str()).collect();
    let ends: Vec<&str> =
        puts.iter().map(|put| put.wrote.as_str()).filter(|wrote| !replaced.contains(wrote) && *wrote != last).collect();
    let over: usize = shell.written.iter().filter(|text| !replaced.contains(text.as_str())).count();
    assert!(ends.len() <= shell.written.len(), "{} puts vanished, {} shell writes", ends.len(), shell.written.len());
    assert!(puts.len() > ROUNDS / 2, "{} puts", puts.len());
    println!(
        "{:?}: {ROUNDS} times two puts: {} written, {} refused; shell: {} written, {} refused, {over} of them under \
         later shell writes; puts under shell writes: {}; kept: {}",
        bench.kind,
        puts.len(),
        2 * ROUNDS - puts.len(),
        shell.written.len(),
        shell.refused,
        ends.len(),
        kept.len()
    );
}

struct Shell {
    written: Vec<String>,
    refused: usize,
}

/// Writes as adapters do: whole documents, in place or renamed over, or by a statement; never told what milescale does.
fn shell_writes(bench: &Bench, done: &AtomicBool, rounds: &AtomicUsize) -> Shell {
    let mut shell = Shell { written: Vec::new(), refused: 0 };
    for number in 0.. {
        while rounds.load(Ordering::Relaxed) < number * ROUNDS_A_WRITE && !done.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        if done.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("by: shell-{number}\n");
        let mut command = match bench.kind {
            Kind::Files | Kind::Hybrid => {
                let path = bench.path("active/a.yaml");
                let script = if number % 2 == 0 {
                    "printf '%s' \"$1\" > \"$2\""
                } else {
                    "printf '%s' \"$1\" > \"$2~\" && mv \"$2~\" \"$2\""
                };
                let mut command = Command::new("sh");
                command.args(["-c", script, "sh", &text]).arg(path);
                command
            }
            Kind::Sqlite => {
                let mut command = Command::new("sqlite3");
                let sql = format!("UPDATE milestones SET data = '{{\"by\":\"shell-{number}\"}}' WHERE id = 'a'");
                command.arg(bench.path("enterprise.db")).arg(sql);
                command
            }
            Kind::Postgres => {
                let mut command = bench.postgres.as_ref().unwrap().client("plans");
                command.args([
                    "-c",
                    &format!("UPDATE milestones SET data = '{{\"by\":\"shell-{number}\"}}' WHERE id = 'a'"),
                ]);
                command
            }
        };
        if command.output().unwrap().status.success() {
            shell.written.push(text);
        } else {
            shell.refused += 1;
        }
    }
    shell
}
