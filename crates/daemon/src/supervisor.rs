//! What the service manager is told, by the protocol of `sd_notify`; without one, nothing.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The service manager.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// How often it wants to hear that the loop goes round; half of its limit.
    ping_every: Option<Duration>,
    pinged: Option<Instant>,
    ready: bool,
    status: String,
}

/// A start may take this much longer each time that the loop goes round in it: a first look can be long.
const EXTENSION_MICROSECONDS: u32 = 60_000_000;

impl Supervisor {
    pub(crate) fn new() -> Self {
        Self {
            ping_every: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            pinged: None,
            ready: false,
            status: String::new(),
        }
    }

    pub(crate) fn ping_every(&self) -> Duration {
        self.ping_every.unwrap_or(Duration::from_secs(30))
    }

    /// The loop goes round.
    pub(crate) fn ping(&mut self) {
        if self.pinged.is_some_and(|pinged| pinged.elapsed() < self.ping_every() / 2) {
            return;
        }
        self.pinged = Some(Instant::now());
        if self.ready {
            if self.ping_every.is_some() {
                send(&[NotifyState::Watchdog]);
            }
        } else {
            send(&[NotifyState::ExtendTimeoutUsec(EXTENSION_MICROSECONDS)]);
        }
    }

    /// A complete cycle is done: the first time, the service is ready.
    pub(crate) fn ready(&mut self, status: String) {
        if self.ready {
            return self.status(status);
        }
        self.ready = true;
        send(&[NotifyState::Ready, NotifyState::Status(&status)]);
        self.status = status;
    }

    /// What is to be shown beside the service, once it is ready.
    pub(crate) fn status(&mut self, status: String) {
        if self.ready && self.status != status {
            send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    pub(crate) fn reloading() {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            send(&[NotifyState::Reloading, now]);
        }
    }

    pub(crate) fn reloaded(&self) {
        if self.ready {
            send(&[NotifyState::Ready]);
        }
    }

    /// Asks for more time to stop.
    pub(crate) fn extend(by: Duration) {
        let microseconds = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
        send(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
    }

    pub(crate) fn stopping() {
        send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
