//! Days that milescale has counted itself, so that a clock that jumps ends nothing that is kept for so many days.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How much time makes a day. A little less than one, so that a command that runs once a day counts each.
const ENOUGH: Duration = Duration::from_hours(20);

/// A number of a day, from 0 when counting began.
pub type Day = u64;

/// How many days were counted, and when the last one was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    counted: Day,
    /// By the clock, in seconds since 1970, when the last day was counted; `None` before the first look.
    at: Option<i64>,
}

impl Days {
    /// Counts a day where enough time has passed. `now` is the clock; `measured` is the time since the last count on a clock
    /// that nobody sets, for a process that was there then. Whether anything has changed: also the first look, and a clock
    /// that was set back, are written down.
    pub fn pass(&mut self, now: Timestamp, measured: Option<Duration>) -> bool {
        let now = now.as_second();
        let Some(at) = self.at else {
            self.at = Some(now);
            return true;
        };
        let passed = measured.or_else(|| u64::try_from(now.saturating_sub(at)).ok().map(Duration::from_secs));
        match passed {
            Some(passed) if passed >= ENOUGH => self.counted = self.counted.saturating_add(1),
            Some(_) => return false,
            None => {}
        }
        self.at = Some(now);
        true
    }

    /// The day that it is.
    pub fn today(&self) -> Day {
        self.counted
    }

    /// Whether something that was first seen on day `first` has been kept for so many days, both by this count and by the
    /// clock since the time in its own record.
    pub fn have_passed(&self, days: u32, first: Day, recorded: Timestamp, now: Timestamp) -> bool {
        let counted = self.counted.saturating_sub(first) >= u64::from(days);
        let wanted = Duration::from_hours(24) * days;
        counted && Duration::try_from(now.duration_since(recorded)).is_ok_and(|passed| passed >= wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::Days;
    use jiff::{SignedDuration, Timestamp};
    use std::time::Duration;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(400_000 + hours)
    }

    #[test]
    fn a_day_is_twenty_hours_of_the_clock() {
        let mut days = Days::default();
        assert!(days.pass(at(0), None), "the first look is written down");
        assert!(!days.pass(at(19), None));
        assert!(days.pass(at(20), None) && days.today() == 1);
        assert!(days.pass(at(60), None) && days.today() == 2, "one at most, however long it was");
    }

    #[test]
    fn a_clock_that_jumps_counts_one_day_and_stops_nothing() {
        let mut days = Days::default();
        days.pass(at(0), None);
        assert!(days.pass(at(40 * 24), None) && days.today() == 1);
        assert!(days.pass(at(1), None) && days.today() == 1, "set back: counting goes on from there");
        assert!(days.pass(at(21), None) && days.today() == 2);
    }

    #[test]
    fn what_a_process_measured_counts_and_no_clock() {
        let mut days = Days::default();
        days.pass(at(0), None);
        assert!(!days.pass(at(1000), Some(Duration::from_hours(19))));
        assert!(days.pass(at(-1000), Some(Duration::from_hours(20))) && days.today() == 1);
    }

    #[test]
    fn both_the_count_and_the_clock_have_to_say_so() {
        let mut days = Days::default();
        days.pass(at(0), None);
        assert!(!days.have_passed(30, 0, at(-1000), at(0)), "not counted");
        for day in 1..=30 {
            days.pass(at(day * 24), None);
        }
        assert!(days.have_passed(30, 0, at(0), at(30 * 24)));
        assert!(!days.have_passed(30, 1, at(0), at(30 * 24)), "first seen a day later");
        assert!(!days.have_passed(30, 0, at(1), at(30 * 24)), "recorded an hour later");
    }
}
