//! Why a store did not do what it was asked, by what the caller does next.

use std::fmt;
use std::io;

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// There is no such milestone.
    NotThere,
    /// The content is not the one that the caller has seen: read again, decide again.
    Changed,
    /// Another program has it just now: try again.
    Busy,
    /// The store cannot be reached or read now: try later; until then nothing is known.
    Unavailable,
    /// What is there is damaged or of an unknown shape: a person has to look.
    Corrupt,
    /// The process was asked to stop while it waited: nothing is known.
    Stopped,
    /// It is done, and may be undone by a power cut: look at the disk, and do it again.
    Unsynced,
    /// It is not done, now or later, unless something else changes first.
    Refused,
    /// It may be done or not: look at what is there before it is done again.
    Unknown,
    /// It is done, and something in the store has made something else of it.
    Altered,
}

/// A failed call: what was tried where, why it failed, and, where it is not plain, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// What the caller does next.
    pub problem: Problem,
    /// The path or table, as people read it.
    pub place: String,
    /// Why, and what to do.
    pub cause: String,
}

impl StoreError {
    /// Whether another program has it, or has changed it, just now: tried again, it may be done.
    pub fn is_passing(&self) -> bool {
        matches!(self.problem, Problem::Changed | Problem::Busy)
    }

    /// An error at a place.
    pub fn new(problem: Problem, place: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { problem, place: place.into(), cause: cause.into() }
    }

    /// A wait that ended because the process was asked to stop.
    pub fn stopped(place: impl Into<String>) -> Self {
        Self::new(Problem::Stopped, place, "it was asked to stop")
    }

    /// A file could not be read or written.
    pub fn io(place: impl Into<String>, action: &str, error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        let problem = match error.kind() {
            Kind::NotFound => Problem::NotThere,
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::InvalidInput | Kind::FileTooLarge => {
                Problem::Refused
            }
            _ => Problem::Unavailable,
        };
        Self::new(problem, place, format!("{action}: {error}"))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)
    }
}

impl std::error::Error for StoreError {}
