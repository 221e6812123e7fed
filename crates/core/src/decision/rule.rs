//! The arithmetic of policy `classic`.

use std::fmt;

use serde::Serialize;

use super::{RECOMMENDED_FROM, Verdict};
use crate::backend::Backend;
use crate::config::Config;
use crate::figures::Observation;
use crate::trend::Trend;

/// What the rule needs, all of it known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inputs {
    pub(super) current: Backend,
    pub(super) milestones: u64,
    pub(super) users: u64,
    /// Mean of the last ten queries in milliseconds.
    pub(super) query_time: i64,
    pub(super) age_seconds: u64,
    pub(super) trend: Trend,
}

impl Inputs {
    /// # Errors
    /// What is not known, in words.
    pub(super) fn of(observation: &Observation, trend: Trend) -> Result<Self, Vec<String>> {
        let figures = &observation.figures;
        // Where a source says it too, it says where as well.
        let is_told = |why: &&String| observation.stale.iter().any(|stale| stale.reason == **why);
        let mut missing: Vec<String> = observation.undecidable.iter().filter(|why| !is_told(why)).cloned().collect();
        let is_undecidable = observation.undecidable.is_some();
        let mut need = |known: bool, what: &str| {
            if !known {
                missing.push(format!("{what} is not known"));
            }
        };
        need(observation.current.is_some(), "the backend in use");
        need(figures.store.is_some(), "the number of milestones");
        need(figures.log.is_some(), "what the log of storage events says");
        need(figures.backend_age_seconds.is_some(), "the age of the backend");
        if is_undecidable || !missing.is_empty() {
            missing.extend(observation.stale.iter().map(|stale| format!("{}: {}", stale.source, stale.reason)));
        }
        match (observation.current, figures.store, figures.log, figures.backend_age_seconds) {
            (Some(current), Some(store), Some(log), Some(age_seconds)) if missing.is_empty() => Ok(Self {
                current,
                milestones: store.milestone_count,
                users: log.concurrent_users,
                query_time: log.query.recent,
                age_seconds,
                trend,
            }),
            _ => Err(missing),
        }
    }

    pub(super) fn age_hours(&self) -> u64 {
        self.age_seconds / 3600
    }
}

/// A part of the confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Hours that the backend has been in use.
    Age,
    /// Milestones over the threshold of the optimal backend.
    Overage,
    /// How query times develop.
    Trend,
    /// What keeps the sum within 0 to 100.
    Clamp,
}

/// A value in a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ReasonValue {
    /// A number.
    Number(i64),
    /// A trend.
    Trend(Trend),
}

impl fmt::Display for ReasonValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Trend(trend) => write!(f, "{trend}"),
        }
    }
}

/// One summand of the confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Which.
    pub part: Part,
    /// The value it was judged by: hours, milestones over the threshold, the trend, or the unclamped sum.
    pub value: ReasonValue,
    /// The step that the value is over, or where it is over none the first one; `None` where there are no steps.
    pub threshold: Option<i64>,
    /// The points that it adds.
    pub points: i64,
}

/// A figure that makes a backend the one that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// `milestone_count`, `concurrent_users` or `recent_avg_query_time_ms`.
    pub figure: &'static str,
    /// Its value.
    pub value: i64,
    /// The threshold reached (milestones, users) or exceeded (milliseconds).
    pub threshold: i64,
}

impl Cause {
    /// In words, as `37 milestones (25 or more)`.
    pub fn words(&self) -> String {
        let Self { value, threshold, .. } = self;
        match self.figure {
            "milestone_count" => format!("{value} milestones (threshold {threshold})"),
            "concurrent_users" => format!("{value} users in the last hour (threshold {threshold})"),
            _ => format!("queries take {value} ms in the mean of the last ten (over {threshold} ms)"),
        }
    }
}

/// What the rule says of some inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) optimal: Backend,
    pub(super) verdict: Verdict,
    pub(super) confidence: u8,
    pub(super) reasons: Vec<Reason>,
    pub(super) causes: Vec<Cause>,
}

pub(super) fn judge(config: &Config, inputs: &Inputs) -> Judged {
    let (optimal, causes) = optimal(config, inputs);
    let mut reasons = vec![age(inputs), overage(config, inputs, optimal), trend(inputs.trend)];
    let sum: i64 = reasons.iter().map(|reason| reason.points).sum();
    let kept = sum.clamp(0, 100);
    if kept != sum {
        reasons.push(Reason {
            part: Part::Clamp,
            value: ReasonValue::Number(sum),
            threshold: Some(kept),
            points: kept - sum,
        });
    }
    let confidence = u8::try_from(kept).unwrap_or(100);
    let verdict = if inputs.current == optimal {
        Verdict::Optimal
    } else if confidence >= RECOMMENDED_FROM {
        Verdict::MigrationRecommended
    } else {
        Verdict::Monitoring
    };
    Judged { optimal, verdict, confidence, reasons, causes }
}

/// The backend that fits, and which figures say so.
fn optimal(config: &Config, inputs: &Inputs) -> (Backend, Vec<Cause>) {
    let (by_size, mut causes) = optimal_by_size(config, inputs);
    let (forced, threshold) = match inputs.current {
        Backend::File | Backend::Hybrid if inputs.query_time > 1000 => (Backend::Database, 1000),
        Backend::File if inputs.query_time > 500 => (Backend::Hybrid, 500),
        _ => return (by_size, causes),
    };
    if forced != by_size {
        causes.clear();
    }
    causes.push(Cause { figure: "recent_avg_query_time_ms", value: inputs.query_time, threshold });
    (forced, causes)
}

fn optimal_by_size(config: &Config, inputs: &Inputs) -> (Backend, Vec<Cause>) {
    for backend in [Backend::Database, Backend::Hybrid] {
        let reached = |figure, value: u64, threshold: Option<u64>| {
            threshold.filter(|&threshold| value >= threshold).map(|threshold| Cause {
                figure,
                value: signed(value),
                threshold: signed(threshold),
            })
        };
        let causes: Vec<Cause> = [
            reached("milestone_count", inputs.milestones, config.milestone_count.of(backend)),
            reached("concurrent_users", inputs.users, config.concurrent_users.of(backend)),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !causes.is_empty() {
            return (backend, causes);
        }
    }
    (Backend::File, Vec::new())
}

/// Steps of hours and their points, the highest first.
pub(super) const AGE_STEPS: [(i64, i64); 2] = [(24, 30), (2, 15)];

/// Steps of milestones over the threshold of `optimal` and their points, the highest first.
pub(super) const fn overage_steps(optimal: Backend) -> &'static [(i64, i64)] {
    match optimal {
        Backend::File => &[],
        Backend::Hybrid => &[(10, 40), (5, 25), (0, 15)],
        Backend::Database => &[(25, 40), (10, 25), (0, 15)],
    }
}

/// The highest step that `value` is over, else the lowest step and no points.
fn points(value: i64, steps: &[(i64, i64)]) -> (Option<i64>, i64) {
    match steps.iter().find(|(step, _)| value > *step) {
        Some(&(step, points)) => (Some(step), points),
        None => (steps.last().map(|&(step, _)| step), 0),
    }
}

fn age(inputs: &Inputs) -> Reason {
    let hours = signed(inputs.age_hours());
    let (threshold, points) = points(hours, &AGE_STEPS);
    Reason { part: Part::Age, value: ReasonValue::Number(hours), threshold, points }
}

fn overage(config: &Config, inputs: &Inputs, optimal: Backend) -> Reason {
    let over = config.milestone_count.of(optimal).map_or(0, |step| signed(inputs.milestones) - signed(step));
    let (threshold, points) = points(over, overage_steps(optimal));
    Reason { part: Part::Overage, value: ReasonValue::Number(over), threshold, points }
}

fn trend(trend: Trend) -> Reason {
    let points = match trend {
        Trend::Degrading => 30,
        Trend::StableSlow => 20,
        Trend::StableFast => -10,
        Trend::StableNormal | Trend::Unknown => 0,
    };
    Reason { part: Part::Trend, value: ReasonValue::Trend(trend), threshold: None, points }
}

pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
