//! Signals as levels: how often each came, never a message that could be dropped.
//!
//! SIGHUP asks to read everything again, as service managers send it. Where it comes because the terminal of the daemon has
//! gone, it asks to stop: nobody would be left to stop it.

use std::io;
use std::time::Duration;

use milescale_workspace::folder::system;
use milescale_workspace::stop::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

/// How often the terminal is looked for after a SIGHUP, and the time between.
const TRIES: u32 = 4;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

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
    let ends_with_terminal = has_terminal() && !ignores_hangups();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (sender, receiver) = watch::channel(Received::default());
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let is_reload = signal == SIGHUP && !(ends_with_terminal && terminal_goes());
            sender.send_modify(|received| if is_reload { received.reloads += 1 } else { received.stops += 1 });
        }
    })?;
    Ok(receiver)
}

/// Whether the process has a controlling terminal.
fn has_terminal() -> bool {
    system::has_terminal()
}

/// Whether the terminal has gone, or goes within a moment: the signal comes before the kernel has let go of it.
fn terminal_goes() -> bool {
    (0..TRIES).any(|number| {
        if number > 0 {
            std::thread::sleep(BETWEEN_TRIES);
        }
        !has_terminal()
    })
}

/// Whether the process was started with SIGHUP ignored, as `nohup` does: it is to outlive its terminal.
fn ignores_hangups() -> bool {
    let status = system::text("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    ignored & (1 << (SIGHUP - 1)) != 0
}

/// Lets a write beyond the limit of a file's size (`ulimit -f`) fail like any other one: the signal would end the process without a word.
pub fn outlive_limits() {
    let is_noted = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, is_noted) {
        tracing::debug!(%error, "SIGXFSZ ends the process");
    }
}

/// Takes SIGTERM and SIGINT from now on as the word to stop: for commands that can be stopped in order. A second one ends the
/// process at once.
pub fn stop_on_signals(stop: &Stop) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let stop = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if stop.is_asked() {
                std::process::exit(128 + signal);
            }
            stop.ask();
        }
    })?;
    Ok(())
}
