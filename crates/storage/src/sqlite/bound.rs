//! What bounds a statement: how long it may say nothing, a stop, and the death of the driver's thread.
//!
//! A view, a trigger or a recursive query of somebody else may never end. SQLite asks now and then whether to go on
//! ([`Bound::goes_on`]); rows that come in the meantime show that a statement is at work.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{self, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use milescale_workspace::stop::Stop;

/// How many steps of SQLite's machine lie between two questions whether to go on: some tenths of a millisecond.
pub(super) const STEPS: i32 = 10_000;

/// How often the driver's thread is looked at while nothing comes from it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// So much longer than a statement may say nothing the driver is waited for: what is in one step of SQLite's machine cannot be
/// interrupted, nor what waits for a disk. Nothing that was begun is committed after that.
const GRACE: Duration = Duration::from_secs(5);

/// How long a statement may say nothing once a stop was asked for: an undo has to be done.
const AFTER_STOP: Duration = Duration::from_millis(1500);

/// What a statement may take where nobody says otherwise.
pub(crate) const USUAL: Duration = Duration::from_secs(30);

/// The bound of one connection's statements.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    began: Instant,
    /// When something came last, in milliseconds since `began`.
    heard: Arc<AtomicU64>,
    silence: Duration,
    stop: Stop,
    /// The name of the driver's thread.
    pub(super) thread: String,
}

impl Bound {
    pub(super) fn new(silence: Duration, stop: Stop) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let thread = format!("{THREAD}{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { began: Instant::now(), heard: Arc::default(), silence, stop, thread }
    }

    fn hear(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn silent_for(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.heard.load(Ordering::Relaxed)))
    }

    /// Whether the statement that runs goes on. Called by SQLite in the driver's thread.
    pub(super) fn goes_on(&self) -> bool {
        let silent = self.silent_for();
        silent < self.silence && !(self.stop.is_asked() && silent >= AFTER_STOP)
    }

    /// Why it did not, in words.
    pub(super) fn why(&self) -> String {
        if self.stop.is_asked() {
            return "it was interrupted, because a stop was asked for".to_owned();
        }
        format!(
            "a statement said nothing for {} s and was interrupted; a trigger or a view of the table may never end, or raise \
             storage.performance.query_timeout",
            self.silence.as_secs()
        )
    }

    /// Does work with the driver, unless its thread dies.
    ///
    /// # Errors
    /// Why the driver is given up.
    pub(super) async fn within<R>(&self, work: impl Future<Output = R>) -> Result<R, String> {
        self.hear();
        let wakes = Arc::new(Wakes { is_woken: AtomicBool::new(true), outer: Mutex::new(None) });
        let work = Heard { work: Box::pin(work), bound: self, wakes };
        tokio::select! {
            biased;
            // Where its thread has died, what came before that may look like all there is.
            done = work => death_of(&self.thread).map_or(Ok(done), |why| Err(failed(&why))),
            why = self.given_up() => Err(why),
        }
    }

    async fn given_up(&self) -> String {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some(why) = death_of(&self.thread) {
                return failed(&why);
            }
            let silent = self.silent_for();
            if silent > self.silence + GRACE || self.stop.is_asked() && silent > AFTER_STOP + LOOK_EVERY {
                return format!("the driver of SQLite has not answered for {} s; {}", silent.as_secs(), self.why());
            }
        }
    }
}

/// Work that something is heard of each time it is woken itself, not with what is beside it.
struct Heard<'a, F> {
    work: Pin<Box<F>>,
    bound: &'a Bound,
    wakes: Arc<Wakes>,
}

/// Whether the work was woken since it was looked at, and who looks at it.
struct Wakes {
    is_woken: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        if let Some(outer) = &*self.outer.lock().unwrap_or_else(PoisonError::into_inner) {
            outer.wake_by_ref();
        }
    }
}

impl<F: Future> Future for Heard<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<F::Output> {
        *self.wakes.outer.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if !self.wakes.is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.bound.hear();
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.work.as_mut().poll(&mut task::Context::from_waker(&waker))
    }
}

fn failed(why: &str) -> String {
    format!("the driver of SQLite failed: {why}")
}

/// How the names of the driver's threads begin.
const THREAD: &str = "sqlite-";

/// The threads of drivers that have panicked, and what they said.
static DEATHS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Deaths that are remembered: each is asked for within a moment.
const REMEMBERED: usize = 64;

fn death_of(thread: &str) -> Option<String> {
    let mut deaths = DEATHS.lock().unwrap_or_else(PoisonError::into_inner);
    let number = deaths.iter().position(|(name, _)| name == thread)?;
    Some(deaths.swap_remove(number).1)
}

/// Sees to it that the death of a driver's thread is noticed: its caller would wait for ever.
pub(super) fn watch_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let Some(name) = thread.name().filter(|name| name.starts_with(THREAD)) else { return before(panic) };
            let said = panic.payload_as_str().unwrap_or("it gave no reason").to_owned();
            let mut deaths = DEATHS.lock().unwrap_or_else(PoisonError::into_inner);
            if deaths.len() >= REMEMBERED {
                deaths.remove(0);
            }
            deaths.push((name.to_owned(), said));
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::{Bound, Stop};
    use std::time::Duration;

    fn within<R>(bound: &Bound, work: impl Future<Output = R>) -> Result<R, String> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(bound.within(work))
    }

    #[test]
    fn silence_ends_a_statement_and_rows_let_it_go_on() {
        let bound = Bound::new(Duration::from_millis(40), Stop::default());
        let rows = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                assert!(bound.goes_on());
            }
            std::thread::sleep(Duration::from_millis(60));
            bound.goes_on()
        };
        assert_eq!(within(&bound, rows), Ok(false));
        assert!(bound.why().contains("query_timeout"));
    }

    #[test]
    fn to_look_whether_the_driver_lives_is_no_word_from_it() {
        let bound = Bound::new(Duration::from_secs(1), Stop::default());
        let asked = bound.clone();
        // As the driver's thread asks, while nothing comes from it.
        let thread = std::thread::spawn(move || {
            let began = std::time::Instant::now();
            while asked.goes_on() && began.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(20));
            }
            began.elapsed()
        });
        let silent = async { tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap() };
        assert!(within(&bound, silent).unwrap() < Duration::from_secs(8));
    }

    #[test]
    fn a_stop_ends_a_statement_after_a_moment() {
        let stop = Stop::default();
        let bound = Bound::new(Duration::from_hours(1), stop.clone());
        let work = async {
            assert!(bound.goes_on());
            stop.ask();
            std::thread::sleep(Duration::from_secs(2));
            bound.goes_on()
        };
        assert_eq!(within(&bound, work), Ok(false));
    }

    #[test]
    fn the_death_of_a_drivers_thread_is_an_error() {
        super::watch_threads();
        let bound = Bound::new(Duration::from_hours(1), Stop::default());
        let dies = std::thread::Builder::new().name(bound.thread.clone()).spawn(|| panic!("a bad type")).unwrap();
        assert!(dies.join().is_err());
        let error = within(&bound, std::future::pending::<()>()).unwrap_err();
        assert_eq!(error, "the driver of SQLite failed: a bad type");
    }
}
