//! What figures need of the log: the last stamp of each user of a day, the last hundred durations of each operation.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use milescale_core::figures::{LogFigures, OperationTimes};

use super::event::{Event, Operation};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Durations kept of each operation.
const DURATIONS: usize = 100;

/// Those that the recent mean is made of.
const RECENT: usize = 10;

/// Adapters on several machines do not write in the order of their clocks: so many lines in a row must be older than
/// any window before the reading backwards trusts that all further ones are.
const OLD_LINES_IN_A_ROW: u32 = 1000;

#[derive(Debug, Default)]
pub(super) struct Window {
    /// The latest second of each user.
    users: HashMap<Box<str>, i64>,
    durations: [VecDeque<f64>; 3],
    old_in_a_row: u32,
    latest: Option<i64>,
    undated: Undated,
}

/// Events that count for nobody, because their stamps cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Undated {
    /// How many, in the part of the log that was read.
    pub count: u64,
    /// The stamp of the last of them, as it is written; empty where it has none.
    pub last: String,
}

impl Undated {
    /// Takes in an event; `is_last`: it was appended after the others.
    fn add(&mut self, event: &Event, is_last: bool) {
        let Some(shown) = &event.no_stamp else { return };
        if is_last || self.count == 0 {
            self.last = shown.to_string();
        }
        self.count += 1;
    }
}

impl Window {
    /// Takes in an event that was appended after all others.
    pub(super) fn newer(&mut self, event: &Event) {
        self.undated.add(event, true);
        self.user(event);
        if let Some(operation) = event.operation {
            let durations = &mut self.durations[operation as usize];
            if durations.len() == DURATIONS {
                durations.pop_front();
            }
            durations.push_back(event.duration_ms);
        }
    }

    /// Takes in an event that stands before all others.
    pub(super) fn older(&mut self, event: &Event, now: Timestamp) {
        self.undated.add(event, false);
        match event.second {
            Some(second) if second < now.as_second() - DAY - HOUR => self.old_in_a_row += 1,
            Some(_) => {
                self.old_in_a_row = 0;
                self.user(event);
            }
            None => {}
        }
        if let Some(operation) = event.operation {
            let durations = &mut self.durations[operation as usize];
            if durations.len() < DURATIONS {
                durations.push_front(event.duration_ms);
            }
        }
    }

    /// Whether older lines can no longer change any figure.
    pub(super) fn is_full(&self) -> bool {
        self.old_in_a_row >= OLD_LINES_IN_A_ROW && self.durations.iter().all(|durations| durations.len() == DURATIONS)
    }

    fn user(&mut self, event: &Event) {
        let Some(second) = event.second else { return };
        self.latest = self.latest.max(Some(second));
        let Some(user) = &event.user else { return };
        match self.users.get_mut(user) {
            Some(latest) => *latest = second.max(*latest),
            None => drop(self.users.insert(user.clone(), second)),
        }
    }

    /// Forgets users who have not been seen for a day.
    pub(super) fn prune(&mut self, now: Timestamp) {
        self.users.retain(|_, second| *second >= now.as_second() - DAY);
    }

    pub(super) fn latest(&self) -> Option<i64> {
        self.latest
    }

    pub(super) fn undated(&self) -> &Undated {
        &self.undated
    }

    /// The figures, with one more event after all others.
    pub(super) fn figures(&self, now: Timestamp, last: Option<&Event>) -> LogFigures {
        LogFigures {
            concurrent_users: self.users_since(now.as_second() - HOUR, last),
            team_size: self.users_since(now.as_second() - DAY, last),
            read: self.times(Operation::Read, last),
            write: self.times(Operation::Write, last),
            query: self.times(Operation::Query, last),
        }
    }

    fn users_since(&self, since: i64, last: Option<&Event>) -> u64 {
        let count = self.users.values().filter(|second| **second >= since).count() as u64;
        let one_more = last.is_some_and(|event| {
            event.second.is_some_and(|second| second >= since)
                && event.user.as_ref().is_some_and(|user| self.users.get(user).is_none_or(|second| *second < since))
        });
        count + u64::from(one_more)
    }

    fn times(&self, operation: Operation, last: Option<&Event>) -> OperationTimes {
        let last = last.filter(|event| event.operation == Some(operation)).map(|event| event.duration_ms);
        let durations = &self.durations[operation as usize];
        let mean = |count: usize| {
            let taken = last.into_iter().chain(durations.iter().rev().copied()).take(count);
            let (sum, number) = taken.fold((0.0, 0_u32), |(sum, number), duration| (sum + duration, number + 1));
            #[allow(clippy::cast_possible_truncation, reason = "the contract's mean is truncated")]
            if number == 0 { 0 } else { (sum / f64::from(number)) as i64 }
        };
        OperationTimes { average: mean(DURATIONS), recent: mean(RECENT) }
    }
}
