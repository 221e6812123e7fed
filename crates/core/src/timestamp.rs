//! Instants as the lines write and read them.

use jiff::{SignedDuration, Timestamp};

/// The spelling of every line and file: `YYYY-MM-DDTHH:MM:SSZ`, the fraction cut off.
pub fn to_text(instant: Timestamp) -> String {
    format!("{:.0}", cut_to_second(instant))
}

/// The start of the second that `instant` lies in.
pub fn cut_to_second(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_nanosecond().div_euclid(1_000_000_000).try_into().unwrap_or_default())
        .unwrap_or(instant)
}

/// Reads RFC 3339 with any offset and fraction; `None` for everything else.
pub fn from_text(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok()
}

/// Whole seconds from `earlier` to `later`, 0 where `earlier` lies ahead.
pub fn seconds_between(earlier: Timestamp, later: Timestamp) -> u64 {
    let elapsed: SignedDuration = later.duration_since(earlier);
    u64::try_from(elapsed.as_secs()).unwrap_or(0)
}

/// A duration for people, in its largest whole unit: `45 s`, `12 min`, `3 h`, `2 days`.
pub fn rough_duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
