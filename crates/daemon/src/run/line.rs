//! What a migration under way and the loop tell each other: the word to stop, and how far it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use milescale_core::migration::Phase;
use milescale_migration::Told;
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Line {
    stopped: AtomicBool,
    /// The line for the service manager that was not shown yet, and when something was told last.
    told: Mutex<(Option<String>, Option<Instant>)>,
    wake: Arc<Notify>,
}

impl Line {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self { stopped: AtomicBool::new(false), told: Mutex::default(), wake }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&self, told: &Told) {
        let status = match told {
            Told::Progress(from, to, it) => {
                let left =
                    if it.phase == Phase::Sweeping { String::new() } else { format!(", {} s left", it.seconds_left) };
                Some(format!("migrating {from} → {to}: {} {} of {}{left}", it.phase.as_str(), it.done, it.total))
            }
            Told::Started { from, to, .. } => Some(format!("migrating {from} → {to}")),
            _ => None,
        };
        let mut shared = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *shared = (status.or_else(|| shared.0.take()), Some(Instant::now()));
        drop(shared);
        self.wake.notify_one();
    }

    pub(super) fn take_status(&self) -> Option<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// Whether something was told within this time.
    pub(super) fn moved_within(&self, time: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).1;
        told.is_some_and(|told| told.elapsed() < time)
    }
}
