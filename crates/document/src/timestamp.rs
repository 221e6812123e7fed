//! Instants as the lines write and read them.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::Offset;
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

/// Digits of a fraction that make a difference.
const NANOSECONDS: usize = 9;

/// Reads RFC 3339 with any offset and any number of digits of a fraction. A stamp without a zone is UTC. `None` for
/// everything else, a date alone included.
pub fn from_text(text: &str) -> Option<Timestamp> {
    let text = in_nanoseconds(text.trim());
    text.parse().ok().or_else(|| without_zone(&text))
}

/// Cuts the digits off that a fraction has beyond nanoseconds.
fn in_nanoseconds(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find(['.', ',']).map(|point| point + 1) else { return Cow::Borrowed(text) };
    let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
    if digits <= NANOSECONDS {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{}", &text[..start + NANOSECONDS], &text[start + digits..]))
}

fn without_zone(text: &str) -> Option<Timestamp> {
    let is_of_a_stamp = |byte: u8| byte.is_ascii_digit() || b"-:.,Tt ".contains(&byte);
    let has_a_time = text.contains(':');
    if !has_a_time || !text.bytes().all(is_of_a_stamp) {
        return None;
    }
    Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()
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

#[cfg(test)]
mod tests {
    use super::{from_text, to_text};

    #[test]
    fn every_spelling_of_a_stamp_is_read() {
        for text in [
            "2026-11-28T04:05:06Z",
            "2026-11-28T04:05:06z",
            "2026-11-28t04:05:06.7Z",
            "2026-11-28 04:05:06Z",
            "2026-11-28T06:05:06+02:00",
            "2026-11-28T04:05:06",
            "2026-11-28 04:05:06",
            " 2026-11-28T04:05:06.123456 ",
            "2026-11-28T04:05:06.123456789012Z",
            "2026-11-28T04:05:06.123456789012345678901234567890",
            "2026-11-28T06:05:06.999999999999+02:00",
        ] {
            assert_eq!(from_text(text).map(to_text).as_deref(), Some("2026-11-28T04:05:06Z"), "{text}");
        }
        let texts =
            ["", "soon", "2026-11-28", "04:05:06", "1795838706", "2026-11-28T04:05:06[Europe/Berlin]", "..", "1.é"];
        for text in texts {
            assert_eq!(from_text(text), None, "{text}");
        }
    }
}
