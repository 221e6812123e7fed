//! The performance trend (contract §4).

use std::fmt;

use milescale_document::decimal::Decimal;
use serde::{Deserialize, Serialize};

/// How many metrics entries the trend looks at.
pub const ENTRIES: usize = 10;

/// How query times develop over the last metrics entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// The last five are slower than the first five by more than a fifth.
    Degrading,
    /// Over 500 ms.
    StableSlow,
    /// Neither slow nor fast.
    StableNormal,
    /// Under 100 ms.
    StableFast,
    /// No entries yet.
    Unknown,
}

impl Trend {
    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Degrading => "degrading",
            Self::StableSlow => "stable_slow",
            Self::StableNormal => "stable_normal",
            Self::StableFast => "stable_fast",
            Self::Unknown => "unknown",
        }
    }

    /// Judges the entries' `avg_query_time_ms`, oldest first; of more than ten the last ten. Exact arithmetic.
    pub fn of(query_times: &[Decimal]) -> Self {
        let last = &query_times[query_times.len().saturating_sub(ENTRIES)..];
        if last.is_empty() {
            return Self::Unknown;
        }
        let half = last.len().min(ENTRIES / 2);
        let sum = |part: &[Decimal]| part.iter().fold(Decimal::default(), |sum, &time| sum.plus(time));
        // Both halves have the same number of entries, so that sums compare as means do.
        let (first, second) = (sum(&last[..half]), sum(&last[last.len() - half..]));
        let limit = |milliseconds| Decimal::whole(milliseconds).times(u32::try_from(half).unwrap_or(u32::MAX));
        if second.times(10) > first.times(12) {
            Self::Degrading
        } else if second > limit(500) {
            Self::StableSlow
        } else if second < limit(100) {
            Self::StableFast
        } else {
            Self::StableNormal
        }
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Trend;
    use milescale_document::decimal::Decimal;

    fn trend(times: &[&str]) -> Trend {
        Trend::of(&times.iter().map(|time| Decimal::parse(time).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn a_fifth_more_is_not_degrading_but_the_smallest_bit_above_is() {
        assert_eq!(trend(&["3", "3", "3", "3", "3", "3.6", "3.6", "3.6", "3.6", "3.6"]), Trend::StableFast);
        assert_eq!(trend(&["3", "3", "3", "3", "3", "3.6", "3.6", "3.6", "3.6", "3.6001"]), Trend::Degrading);
    }

    #[test]
    fn below_ten_entries_the_halves_overlap() {
        assert_eq!(trend(&[]), Trend::Unknown);
        assert_eq!(trend(&["700"]), Trend::StableSlow);
        assert_eq!(trend(&["500", "500"]), Trend::StableNormal);
        assert_eq!(trend(&["100"]), Trend::StableNormal);
        assert_eq!(trend(&["99.9"]), Trend::StableFast);
        assert_eq!(trend(&["0", "0", "0", "0", "0", "1"]), Trend::Degrading);
    }

    #[test]
    fn only_the_last_ten_count() {
        assert_eq!(
            trend(&["0", "200", "200", "200", "200", "200", "200", "200", "200", "200", "200"]),
            Trend::StableNormal
        );
    }
}
