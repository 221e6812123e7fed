//! The word to stop, as every wait hears it.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest sleep between two looks at whether a stop was asked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a wait goes on once a stop was asked for: who is well answers within it, and an undo has to be done.
const AFTER_STOP: Duration = Duration::from_millis(600);

/// The same, once such a wait has been in vain: a stop is heard within two seconds however many waits there are.
const AFTER_ANOTHER: Duration = Duration::from_millis(200);

/// How long work goes on that is short, and better done than left.
const AFTER_IT: Duration = Duration::from_secs(1);

/// Whether somebody has asked this process to stop: a level, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_asked: AtomicBool,
    /// A wait has ended because of it.
    ended_a_wait: AtomicBool,
}

impl Stop {
    /// Asks to stop.
    pub fn ask(&self) {
        self.state.is_asked.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn is_asked(&self) -> bool {
        self.state.is_asked.load(Ordering::Relaxed)
    }

    /// Whether a wait that has lasted so long since a stop was asked for is to end.
    pub fn ends(&self, waited: Duration) -> bool {
        let ended_a_wait = self.state.ended_a_wait.load(Ordering::Relaxed);
        let ends = self.is_asked() && waited >= if ended_a_wait { AFTER_ANOTHER } else { AFTER_STOP };
        if ends {
            self.state.ended_a_wait.store(true, Ordering::Relaxed);
        }
        ends
    }

    /// Whether work that can be left for later goes on: for so long from now on, and while no stop is asked for.
    pub fn goes_on_for(&self, most: Duration) -> impl Fn() -> bool {
        let began = Instant::now();
        move || began.elapsed() < most && !self.is_asked()
    }

    /// Whether work goes on that is short, and better done than left, also where a stop is asked for: a second longer then.
    pub fn goes_on_after_it(&self) -> impl Fn() -> bool {
        let asked = OnceCell::new();
        move || !self.is_asked() || asked.get_or_init(Instant::now).elapsed() < AFTER_IT
    }

    /// Sleeps, but not on when a stop is asked for.
    pub fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_asked() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }
}

/// Whether a process should stop is no part of what a workspace is: all are equal.
impl PartialEq for Stop {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Stop {}
