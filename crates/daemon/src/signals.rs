//! Signals as levels: how often each came, never a message that could be dropped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

/// How often signals came since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Received {
    /// SIGTERM and SIGINT.
    pub(crate) stops: u32,
    /// SIGHUP.
    pub(crate) reloads: u32,
}

/// Starts to listen. The thread that listens lives as long as the process.
pub(crate) fn listen() -> io::Result<watch::Receiver<Received>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (sender, receiver) = watch::channel(Received::default());
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            sender.send_modify(|received| match signal {
                SIGHUP => received.reloads += 1,
                _ => received.stops += 1,
            });
        }
    })?;
    Ok(receiver)
}

/// Counts SIGTERM and SIGINT from now on: for commands that can be stopped in order. A second one ends the process at once.
pub fn count_stops(stops: &Arc<AtomicUsize>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let stops = Arc::clone(stops);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if stops.fetch_add(1, Ordering::Relaxed) > 0 {
                std::process::exit(128 + signal);
            }
        }
    })?;
    Ok(())
}
