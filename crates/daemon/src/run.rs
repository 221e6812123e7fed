//! The event loop of the daemon.
//!
//! One loop, one worker at a time: the [`Engine`] is handed to a blocking thread for each look or cycle and comes back
//! with it, so that nothing is shared and the loop always goes round. A change wakes the loop by a hint; a hint makes a
//! look due; what is due is done when the engine is there. A stop is a level that every turn sees.

mod eyes;
mod job;
mod line;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use milescale_sensing::watch::{Hints, Inbox};
use milescale_workspace::Workspace;
use milescale_workspace::lock::{self, Attempt, Busy, Held};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Environment;
use crate::engine::{Engine, Mode, Stop};
use crate::signals::{self, Received};
use crate::sources::Patience;
use crate::supervisor::Supervisor;
use eyes::Eyes;
use job::{Done, Job, Work, Worker};
use line::Line;

/// How long hints gather before they are looked at: one save of an editor is several events.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// How often everything is looked at where changes cannot be watched.
const POLL: Duration = Duration::from_millis(700);

/// A look that takes longer than this hangs: the service manager hears nothing more.
const HANGS_AFTER: Duration = Duration::from_mins(10);

/// How long a look under way may take to end once a stop came.
const DRAIN: Duration = Duration::from_secs(20);

/// Panics of the worker after each of which it is started again; with one more the daemon ends.
const PANICS: u32 = 3;

/// What the command line adds to the configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Time between two cycles; wins over the configuration.
    pub interval: Option<Duration>,
    /// What the environment says of databases.
    pub environment: Environment,
}

/// Why the daemon could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no `.milestones/`.
    #[error("{0}: there is no folder .milestones here; make one with `milescale init`")]
    NoWorkspace(PathBuf),
    /// The one daemon of the workspace runs already.
    #[error(
        "{path}: another milescale{by} looks after this workspace; stop it first (see that the process is one: whoever may write that file says its number), or leave it to it"
    )]
    AlreadyRuns {
        /// The lock's file.
        path: PathBuf,
        /// Its process id, in words.
        by: String,
    },
    /// The lock, signals or the runtime cannot be had.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// The worker panicked too often.
    #[error("the worker panicked {0} times; the last message is in the log above")]
    Panics(u32),
}

/// Takes the daemon's lock. Whoever only looks at the lock holds it for an instant: it is tried for a second.
pub fn take_lock(workspace: &Workspace) -> Result<Held, RunError> {
    match try_lock(workspace, &|_| false)? {
        Attempt::Taken(held) => Ok(held),
        Attempt::Busy(busy) => Err(already_runs(workspace, &busy)),
    }
}

/// Tries to take it for a second, or until it meets a lock that is not worth waiting for.
fn try_lock(workspace: &Workspace, is_enough: &dyn Fn(&Busy) -> bool) -> Result<Attempt, RunError> {
    let path = workspace.daemon_lock();
    let system = |cause| RunError::System { what: format!("{} cannot be locked", path.path().display()), cause };
    if !workspace.is_there() {
        return Err(RunError::NoWorkspace(workspace.root().to_owned()));
    }
    milescale_workspace::durable::create_folder(&workspace.own()).map_err(system)?;
    let mut tries = 0;
    loop {
        match lock::try_take(&path).map_err(system)? {
            Attempt::Busy(busy) if tries < 20 && !is_enough(&busy) => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            attempt => return Ok(attempt),
        }
    }
}

fn already_runs(workspace: &Workspace, busy: &Busy) -> RunError {
    let by = busy.by().map(|pid| format!(" (process {pid})")).unwrap_or_default();
    RunError::AlreadyRuns { path: workspace.daemon_lock().path(), by }
}

/// Runs the daemon until a signal stops it.
pub fn run(workspace: Workspace, options: Options) -> Result<(), RunError> {
    workspace.follow_its_name();
    let lock = take_lock(&workspace)?;
    let system = |what: &str| {
        let what = what.to_owned();
        move |cause| RunError::System { what, cause }
    };
    let received = signals::listen().map_err(system("signals cannot be received"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(system("the runtime cannot be started"))?;
    let result = runtime.block_on(Daemon::new(workspace, options, received).run(lock));
    // A look that hangs in the kernel must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

struct Daemon {
    workspace: Workspace,
    options: Options,
    received: watch::Receiver<Received>,
    supervisor: Supervisor,
    wake: Arc<Notify>,
    inbox: Arc<Inbox>,
    /// What the watch has told, and when it is looked at.
    hints: Hints,
    look_due: Option<Instant>,
    /// What the last look wants to see again, and when: kept apart, so that a change somewhere else does not bring it
    /// forward.
    again: Option<(Instant, Hints)>,
    last_cycle: Option<Instant>,
    interval: Duration,
    /// Reloads that the cycle under way takes in, and those that are done.
    reloads_begun: u32,
    reloads_done: u32,
    panics: u32,
    /// What a migration under way and the loop tell each other.
    line: Arc<Line>,
}

impl Daemon {
    fn new(workspace: Workspace, options: Options, received: watch::Receiver<Received>) -> Self {
        let wake = Arc::new(Notify::new());
        let (waker, wake_line) = (Arc::clone(&wake), Arc::clone(&wake));
        Self {
            workspace,
            options,
            received,
            supervisor: Supervisor::new(),
            wake,
            inbox: Arc::new(Inbox::new(move || waker.notify_one())),
            hints: Hints::default(),
            look_due: None,
            again: None,
            last_cycle: None,
            interval: Duration::ZERO,
            reloads_begun: 0,
            reloads_done: 0,
            panics: 0,
            line: Arc::new(Line::new(wake_line)),
        }
    }

    async fn run(mut self, lock: Held) -> Result<(), RunError> {
        tracing::info!(workspace = %self.workspace.root().display(), pid = std::process::id(), "milescale starts");
        let mut idle = Some(self.opened(lock));
        let mut job: Option<Job> = None;
        loop {
            if self.received.borrow().stops > 0 {
                return self.stop(idle, job).await;
            }
            if let Some(worker) = idle.take() {
                match self.due(&worker.engine) {
                    Some(work) => job = Some(Job::start(worker, work, self.interval, &self.line)),
                    None => idle = Some(worker),
                }
            }
            let next = self.next_turn();
            tokio::select! {
                biased;
                _ = self.received.changed() => self.reload_if_asked(),
                done = Job::finished(&mut job) => {
                    job = None;
                    idle = Some(self.finish(done)?);
                }
                () = self.wake.notified() => {
                    self.gather();
                    if let Some(status) = self.line.take_status() {
                        self.supervisor.status(status);
                    }
                }
                () = sleep_until(next), if idle.is_some() => {}
                () = sleep(self.supervisor.ping_every()) => {}
            }
            if job.as_ref().is_none_or(|job| job.started.elapsed() < HANGS_AFTER || self.line.moved_within(HANGS_AFTER))
            {
                self.supervisor.ping();
            }
        }
    }

    fn opened(&self, lock: Held) -> Worker {
        let environment = self.options.environment.clone();
        let mut engine = Engine::open(self.workspace.clone(), environment, Mode::Writing, Patience::Wait);
        let line = Arc::clone(&self.line);
        engine.stop_when(Stop::new(move || line.is_stopped()));
        Worker { engine, eyes: Eyes::new(&self.workspace, Arc::clone(&self.inbox)), lock }
    }

    /// What the engine has to do now.
    fn due(&mut self, engine: &Engine) -> Option<Work> {
        let configured = Duration::from_secs(engine.config().config().monitoring.interval);
        self.interval = self.options.interval.unwrap_or(configured);
        let now = Instant::now();
        if engine.wants_to_migrate() {
            return Some(Work::Migrate);
        }
        if self.last_cycle.is_none_or(|last| last + self.interval <= now) {
            self.last_cycle = Some(now);
            self.reloads_begun = self.received.borrow().reloads;
            // A cycle takes in all that was told.
            let mut hints = std::mem::take(&mut self.hints);
            hints.cycle = true;
            hints.everything |= self.received.borrow().reloads > self.reloads_done;
            if let Some((_, again)) = self.again.take() {
                hints.merge(again);
            }
            self.look_due = None;
            return Some(Work::Cycle(hints));
        }
        let told = self.look_due.take_if(|due| *due <= now).map(|_| std::mem::take(&mut self.hints));
        let again = self.again.take_if(|(due, _)| *due <= now).map(|(_, hints)| hints);
        let mut work = told.into_iter().chain(again);
        let mut hints = work.next()?;
        work.for_each(|more| hints.merge(more));
        Some(Work::Look(hints))
    }

    fn next_turn(&self) -> Instant {
        let cycle = self.last_cycle.map_or_else(Instant::now, |last| last + self.interval);
        let again = self.again.as_ref().map(|(due, _)| *due);
        [self.look_due, again].into_iter().flatten().fold(cycle, Instant::min)
    }

    /// Takes back the worker; one that panicked is replaced by one that starts from what was remembered.
    fn finish(&mut self, done: Result<Done, String>) -> Result<Worker, RunError> {
        let done = match done {
            Ok(done) => done,
            Err(panic) => {
                self.panics += 1;
                tracing::error!(panic, count = self.panics, "the worker panicked; it is started again");
                if self.panics > PANICS {
                    return Err(RunError::Panics(self.panics));
                }
                self.look_again(Hints::everything(), Duration::from_secs(1));
                // The lock went with the worker.
                return Ok(self.opened(take_lock(&self.workspace)?));
            }
        };
        done.lock?;
        if done.was_cycle {
            self.supervisor.ready(done.summary);
            if self.reloads_begun > self.reloads_done {
                self.reloads_done = self.reloads_begun;
                self.supervisor.reloaded();
            }
        } else {
            self.supervisor.status(done.summary);
        }
        // Every look tells all that is to be seen again: what an earlier one told is in it.
        self.again = done.again.map(|again| (Instant::now() + again, done.again_at));
        if done.worker.eyes.not_watching.is_some() {
            // Never more than a tenth of the time: a look may be long.
            self.look_again(Hints::everything(), POLL.max(done.took * 9));
        }
        Ok(done.worker)
    }

    /// Looks again after a while without a hint.
    fn look_again(&mut self, hints: Hints, after: Duration) {
        let due = Instant::now() + after;
        let (due, mut all) = self.again.take().map_or((due, Hints::default()), |(before, all)| (before.min(due), all));
        all.merge(hints);
        self.again = Some((due, all));
    }

    fn gather(&mut self) {
        let hints = self.inbox.take();
        if !hints.is_empty() {
            self.hints.merge(hints);
            self.look_due.get_or_insert_with(|| Instant::now() + DEBOUNCE);
        }
    }

    /// SIGHUP: everything is read again, in a cycle of its own.
    fn reload_if_asked(&mut self) {
        if self.received.borrow().reloads > self.reloads_done {
            tracing::info!("asked to read everything again");
            Supervisor::reloading();
            self.last_cycle = None;
        }
    }

    /// Ends in order: a look under way may end, the memory is written. A second signal, and it ends at once.
    async fn stop(mut self, idle: Option<Worker>, mut job: Option<Job>) -> Result<(), RunError> {
        tracing::info!("asked to stop");
        Supervisor::stopping();
        // Before its switch a migration is undone, which takes a moment; after it, it is finished.
        self.line.stop();
        self.workspace.stop().ask();
        let line = Arc::clone(&self.line);
        let mut worker = idle;
        if worker.is_none() {
            tokio::select! {
                done = drained(&line, &mut job) => match done {
                    Ok(Ok(done)) => worker = Some(done.worker),
                    Ok(Err(panic)) => tracing::error!(panic, "the worker panicked while stopping"),
                    Err(_) => tracing::error!("the look under way does not end; stopping without it"),
                },
                () = second_stop(&mut self.received) => tracing::warn!("asked again to stop; stopping at once"),
            }
        }
        if let Some(mut worker) = worker {
            worker.engine.close();
        }
        tracing::info!("milescale has stopped");
        Ok(())
    }
}

/// Waits for the work under way. A migration that goes on being undone or finished gets more time, and says so.
async fn drained(line: &Line, job: &mut Option<Job>) -> Result<Result<Done, String>, tokio::time::error::Elapsed> {
    loop {
        match timeout(DRAIN, Job::finished(job)).await {
            Err(_) if line.moved_within(DRAIN) => Supervisor::extend(DRAIN * 2),
            other => return other,
        }
    }
}

async fn second_stop(received: &mut watch::Receiver<Received>) {
    while received.borrow().stops < 2 {
        if received.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
