//! What was measured: medians, shares, growth.

use std::time::{Duration, Instant};

/// How long something took.
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> Duration {
    let started = Instant::now();
    let _ = work();
    started.elapsed()
}

/// The middle of some durations.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The duration below which this part of all is.
pub(crate) fn quantile(times: &[Duration], part: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = ((times.len() as f64 * part).ceil() as usize).clamp(1, times.len());
    times[at - 1]
}

/// Two things in turn, so that what else the machine does falls on both: their medians.
pub(crate) fn side_by_side(
    runs: usize,
    mut one: impl FnMut() -> Duration,
    mut other: impl FnMut() -> Duration,
) -> (Duration, Duration) {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ones.push(one());
        others.push(other());
    }
    (median(ones), median(others))
}

/// How often one is in the other.
pub(crate) fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

/// The exponent with which a cost grows with a size: the slope through the logarithms.
pub(crate) fn exponent(points: &[(usize, f64)]) -> f64 {
    let points: Vec<(f64, f64)> = points.iter().map(|(size, cost)| ((*size as f64).ln(), cost.ln())).collect();
    let count = points.len() as f64;
    let (x, y) = (points.iter().map(|it| it.0).sum::<f64>() / count, points.iter().map(|it| it.1).sum::<f64>() / count);
    let above: f64 = points.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
    above / points.iter().map(|it| (it.0 - x).powi(2)).sum::<f64>()
}

/// As people read it.
pub(crate) fn shown(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        0.1.. => format!("{seconds:.2} s"),
        0.000_1.. => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.1} µs", seconds * 1e6),
    }
}

/// Bytes as people read them.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
