//! Processes of this machine: whether one that is named by its number can be the one that was meant. Numbers are given
//! out again, after a restart of the machine all of them.

use std::time::{Duration, SystemTime};

use rustix::process::{Pid, test_kill_process};

use crate::folder::system;

/// Clock ticks of a second in /proc, the same on every architecture.
const TICKS: u64 = 100;

/// Both times are cut to the second, or come from clocks that were set in between.
const SLACK: Duration = Duration::from_secs(5);

/// Whether a process with this number lives here, and may have been there at `then`.
pub(crate) fn lives_since(number: u32, then: SystemTime) -> bool {
    let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { return false };
    // One of another user lives as well.
    let lives = test_kill_process(pid).is_ok() || test_kill_process(pid) == Err(rustix::io::Errno::PERM);
    lives && started(number).is_none_or(|started| started <= then + SLACK)
}

/// Whether `then` lies before the machine was started. `false` where that is not known.
pub(crate) fn is_before_boot(then: SystemTime) -> bool {
    boot().is_some_and(|boot| then + SLACK < boot)
}

/// When the machine was started, by the clock as it is set now.
fn boot() -> Option<SystemTime> {
    let text = system::text("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn started(number: u32) -> Option<SystemTime> {
    let text = system::text(format!("/proc/{number}/stat")).ok()?;
    // The name before the bracket may hold anything.
    let ticks: u64 = text.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(boot()? + Duration::from_millis(ticks.saturating_mul(1000 / TICKS)))
}

#[cfg(test)]
mod tests {
    use super::{boot, is_before_boot, lives_since, started};
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_number_means_only_a_process_that_was_there_then() {
        let now = SystemTime::now();
        assert!(lives_since(std::process::id(), now));
        if boot().is_some() {
            let started = started(std::process::id()).unwrap();
            assert!(started <= now + Duration::from_secs(1) && started > now - Duration::from_hours(1));
            assert!(!lives_since(std::process::id(), now - Duration::from_hours(1)), "started later");
            assert!(is_before_boot(SystemTime::UNIX_EPOCH) && !is_before_boot(now));
        }
        assert!(!lives_since(0, now) && !lives_since(u32::MAX, now));
    }
}
