//! One piece of work of the engine, on a thread of its own, which may block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use milescale_core::decision::Verdict;
use milescale_document::timestamp;
use milescale_sensing::watch::Hints;
use milescale_workspace::lock::{Attempt, Held};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::eyes::Eyes;
use super::line::Line;
use super::{RunError, already_runs, try_lock};
use crate::engine::Engine;
use crate::status::{DaemonStatus, Status};

/// What the engine is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// Look at what changed, or at everything, and write what a cycle writes.
    Cycle(Hints),
    /// Look at what changed.
    Look(Hints),
    /// Carry out the move that is due, and look at everything.
    Migrate,
}

impl Work {
    fn takes_in_everything(&self) -> bool {
        match self {
            Self::Cycle(_) | Self::Migrate => true,
            Self::Look(hints) => hints.everything,
        }
    }
}

/// Who does it: what is handed to the thread and comes back from it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) eyes: Eyes,
    /// The one daemon's lock: whoever works holds it.
    pub(super) lock: Held,
}

impl Worker {
    /// A lock on a file that is gone (a checkout removed `.milestones/`) keeps nobody out: it is taken anew. Names may be exchanged
    /// meanwhile by whoever may write there, so that it is the file that is compared: a lock that is met is this one, or another's.
    ///
    /// # Errors
    /// When another daemon has taken it meanwhile.
    fn keep_lock(&mut self) -> Result<(), RunError> {
        let workspace = &self.engine.workspace;
        if !workspace.is_there() || self.lock.is_at(&workspace.daemon_lock()) {
            return Ok(());
        }
        match try_lock(workspace, &|busy| self.lock.is_what_is_in_the_way(busy)) {
            Ok(Attempt::Taken(held)) => self.lock = held,
            Ok(Attempt::Busy(busy)) if self.lock.is_what_is_in_the_way(&busy) => {}
            Ok(Attempt::Busy(busy)) => return Err(already_runs(workspace, &busy)),
            Err(RunError::System { what, cause }) => tracing::warn!(%cause, "{what}"),
            Err(RunError::NoWorkspace(at)) => tracing::debug!(at = %at.display(), "no workspace in this moment"),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Work under way.
pub(super) struct Job {
    pub(super) started: Instant,
    work: Waiting,
    handle: Option<Receiving>,
}

/// Work done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) worker: Worker,
    /// Whether the lock is still ours; where it is not, nothing was done or published.
    pub(super) lock: Result<(), RunError>,
    pub(super) was_cycle: bool,
    pub(super) took: Duration,
    /// When to look again without a hint, and at what.
    pub(super) again: Option<Duration>,
    pub(super) again_at: Hints,
    /// One line for the service manager.
    pub(super) summary: String,
}

impl Job {
    /// Starts it. The watch is armed before a look at everything; the status is published at the end.
    pub(super) fn start(mut worker: Worker, work: Work, interval: Duration, line: &Arc<Line>) -> Self {
        let line = Arc::clone(line);
        let started = Instant::now();
        let work: Waiting = Arc::new(Mutex::new(Some(Box::new(move || {
            let was_cycle = matches!(work, Work::Cycle(_));
            let (mut again, mut told) = (None, String::new());
            let mut lock = worker.keep_lock();
            if lock.is_ok() {
                if work.takes_in_everything() {
                    worker.eyes.arm();
                }
                again = match work {
                    Work::Cycle(told) => {
                        let hints = if worker.eyes.are_trusted() { told } else { Hints::everything() };
                        worker.engine.cycle(hints).1
                    }
                    Work::Look(hints) => worker.engine.look(&hints),
                    Work::Migrate => {
                        worker.engine.migrate(&|| line.is_stopped(), &mut |told| line.tell(told));
                        worker.engine.look(&Hints::everything())
                    }
                };
                // The folder may have been put back while it was looked at.
                lock = worker.keep_lock();
            }
            if lock.is_ok() {
                told = summary(&publish(&mut worker, was_cycle, interval));
            }
            Done {
                took: started.elapsed(),
                again_at: again_at(&worker.engine),
                summary: told,
                worker,
                lock,
                was_cycle,
                again,
            }
        }))));
        let handle = on_a_thread(&work);
        Self { started, work, handle }
    }

    /// Waits for it; without a job, for ever. An error is the message of a panic.
    pub(super) async fn finished(job: &mut Option<Self>) -> Result<Done, String> {
        let Some(job) = job else { return std::future::pending().await };
        let handle = loop {
            match &mut job.handle {
                Some(handle) => break handle,
                None => {
                    sleep(AGAIN).await;
                    job.handle = on_a_thread(&job.work);
                }
            }
        };
        let done = handle.await.map_err(|error| error.to_string())?;
        done.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
        })
    }
}

/// Work of which nobody has begun the thread yet.
type Waiting = Arc<Mutex<Option<Box<dyn FnOnce() -> Done + Send>>>>;

/// Where it arrives what work came to, or its panic.
type Receiving = oneshot::Receiver<thread::Result<Done>>;

/// How long to wait where no thread can be begun.
const AGAIN: Duration = Duration::from_secs(1);

/// Begins work on a thread of its own. What it comes to, or its panic; `None`: there is no thread for it now, and it waits still.
fn on_a_thread(work: &Waiting) -> Option<Receiving> {
    let (sender, receiver) = oneshot::channel();
    let slot = Arc::clone(work);
    let act = move || {
        let work = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        }
    };
    match thread::Builder::new().name("work".to_owned()).spawn(act) {
        Ok(_) => Some(receiver),
        Err(error) => {
            tracing::warn!(%error, "no thread can be begun for the work: it waits; raise the limit of processes (TasksMax, ulimit -u)");
            None
        }
    }
}

/// Only files that were just written are looked at again by path; for all else a look at everything is due.
fn again_at(engine: &Engine) -> Hints {
    if engine.sources.is_settled() && engine.sweeps.is_settled() {
        Hints { milestones: engine.sources.fresh(), ..Hints::default() }
    } else {
        Hints::everything()
    }
}

fn publish(worker: &mut Worker, was_cycle: bool, interval: Duration) -> Status {
    let Worker { engine, eyes, .. } = worker;
    let mut status = Status::of(engine);
    if was_cycle {
        engine.last_cycle = Timestamp::try_from(std::time::SystemTime::now()).ok();
    }
    status.daemon = DaemonStatus {
        running: true,
        pid: Some(std::process::id()),
        last_cycle: engine.last_cycle.map(timestamp::to_text),
        interval: Some(interval.as_secs_f64()),
        not_watching: eyes.not_watching.as_ref().map(ToString::to_string),
    };
    let published = if engine.workspace.own().is_folder() { status.publish(&engine.workspace) } else { Ok(()) };
    engine.output.note(".milescale/status.json", published);
    status
}

fn summary(status: &Status) -> String {
    let count = status.milestone_count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let (current, optimal) = (&status.current_backend, &status.optimal_backend);
    let confidence = status.migration_confidence.unwrap_or_default();
    let stale = if status.stale { ", figures stale" } else { "" };
    match status.status {
        Verdict::Optimal => format!("optimal: {current}, {count} milestones{stale}"),
        Verdict::Monitoring => {
            format!("monitoring: {current} → {optimal}, confidence {confidence}, {count} milestones{stale}")
        }
        Verdict::MigrationRecommended => {
            format!("recommended: {current} → {optimal}, confidence {confidence}, {count} milestones{stale}")
        }
        Verdict::Unavailable => {
            format!("unavailable: {}", status.unavailable_because.first().map_or("nothing is known", String::as_str))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::Job;
    use tokio::time::Instant;

    #[test]
    fn a_panic_is_an_error_with_its_message_and_never_an_end_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let message = runtime.block_on(async {
            let falls = || -> super::Done { panic!("the worker fell over a {}", "stone") };
            let work: super::Waiting = Arc::new(Mutex::new(Some(Box::new(falls))));
            // The first attempt to begin a thread has failed.
            Job::finished(&mut Some(Job { started: Instant::now(), work, handle: None })).await.unwrap_err()
        });
        assert_eq!(message, "the worker fell over a stone");
    }
}
