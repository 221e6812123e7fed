//! The id of a milestone: its file's name without `.yaml`, the key of its row.

use std::fmt;
use std::str::FromStr;

/// The longest id in bytes: with `.yaml` and what keeps temporary files apart it still is a file's name everywhere.
pub const LIMIT: usize = 200;

/// An id that may become a file's name. What other programs wrote into a database need not be one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Box<str>);

impl Id {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadId {
    shown: String,
    why: &'static str,
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no id: {}", self.shown, self.why)
    }
}

impl std::error::Error for BadId {}

impl FromStr for Id {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > LIMIT {
            "it is longer than 200 bytes"
        } else if text.starts_with('.') {
            "it begins with a dot, and such files do not count"
        } else if text.contains('/') {
            "it has a / in it, and an id becomes a file's name"
        } else if text.chars().any(char::is_control) {
            "it has a control character in it"
        } else {
            return Ok(Self(text.into()));
        };
        Err(BadId { shown: text.chars().take(60).collect(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn what_could_leave_the_folder_or_a_terminal_is_no_id() {
        for bad in
            ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", "a\nb", "\u{1b}[2J", &"x".repeat(201)]
        {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
        for good in ["a", "A", "2026-11-22", "ünïcode 🔄", "it's \"quoted\"", "'; DROP TABLE", &"x".repeat(200)] {
            assert_eq!(good.parse::<Id>().unwrap().as_str(), good);
        }
    }
}
