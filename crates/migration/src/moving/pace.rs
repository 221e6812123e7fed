//! How fast a migration goes: told about once a second, and at the end of each phase.

use std::time::{Duration, Instant};

use milescale_core::backend::InUse;
use milescale_core::migration::Phase;

use crate::told::{Progress, Told, whole};

/// How often it is told.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Pace {
    from: InUse,
    to: InUse,
    total: u64,
    phase: Option<(Phase, Instant)>,
    told: Instant,
}

impl Pace {
    pub(super) fn new(from: InUse, to: InUse, total: u64) -> Self {
        Self { from, to, total, phase: None, told: Instant::now() }
    }

    /// What is to be told once so many milestones of a phase are done.
    pub(super) fn told(&mut self, phase: Phase, done: u64) -> Option<Told> {
        let now = Instant::now();
        let since = match self.phase {
            Some((before, since)) if before == phase => since,
            _ => {
                self.phase = Some((phase, now));
                // The first word of a phase comes at once: what takes long then is known by name.
                self.told = now.checked_sub(EVERY).unwrap_or(now);
                now
            }
        };
        if now.duration_since(self.told) < EVERY {
            return None;
        }
        self.told = now;
        #[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
        let per_second = done as f64 / now.duration_since(since).as_secs_f64().max(1e-3);
        #[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
        let left = self.total.saturating_sub(done) as f64 / per_second.max(1e-3);
        let progress = Progress { phase, done, total: self.total, per_second, seconds_left: whole(left) };
        Some(Told::Progress(self.from, self.to, progress))
    }
}
