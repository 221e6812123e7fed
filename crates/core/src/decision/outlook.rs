//! The counterfactual: what would have to change for a recommendation, found by asking the rule itself.

use milescale_document::timestamp::rough_duration;
use serde::Serialize;

use super::rule::{AGE_STEPS, Inputs, judge, overage_steps, signed};
use super::{RECOMMENDED_FROM, Verdict};
use crate::backend::Backend;
use crate::config::Config;
use crate::trend::Trend;

/// What can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lever {
    /// The hours that the backend has been in use.
    BackendAgeHours,
    /// The number of milestones.
    MilestoneCount,
    /// The trend of query times.
    PerformanceTrend,
}

/// One change that, with the others of its alternative, would lead to a recommendation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What would change.
    pub lever: Lever,
    /// The value it would need: at least so many hours or milestones, or a trend.
    pub needed: super::ReasonValue,
    /// How far it is: seconds for the age, milestones for their number.
    pub missing: Option<u64>,
}

impl Change {
    fn words(&self) -> String {
        let missing = self.missing.unwrap_or_default();
        match self.lever {
            Lever::BackendAgeHours => {
                let over = if let super::ReasonValue::Number(hours) = self.needed { hours - 1 } else { 0 };
                format!("the backend were over {over} h old (in {})", rough_duration(missing.max(60)))
            }
            Lever::MilestoneCount if missing == 1 => "there were 1 more milestone".to_owned(),
            Lever::MilestoneCount => format!("there were {missing} more milestones"),
            Lever::PerformanceTrend => match self.needed {
                super::ReasonValue::Trend(Trend::Degrading) => {
                    "query times grew by more than a fifth over ten cycles".to_owned()
                }
                super::ReasonValue::Trend(Trend::StableSlow) => {
                    "queries took over 500 ms in the mean of five cycles".to_owned()
                }
                _ => "queries took 100 ms or more in the mean of five cycles".to_owned(),
            },
        }
    }
}

/// What would have to change for a recommendation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// The highest confidence that time alone can lead to, all other figures as they are.
    pub ceiling: u8,
    /// Whether waiting is enough.
    pub reachable_by_waiting: bool,
    /// Each is a set of changes that together are enough; the smallest ones, the likeliest first. Empty where the move
    /// is recommended already, where the backend fits, and where nothing would do.
    pub alternatives: Vec<Vec<Change>>,
    /// All of that in one sentence.
    pub words: String,
}

/// A value to try, and the change that it would be; `None` for what is so already.
type Try<T> = (T, Option<Change>);

pub(super) fn look(config: &Config, inputs: &Inputs) -> Outlook {
    let judged = judge(config, inputs);
    let oldest = Inputs { age_seconds: inputs.age_seconds.max(u64::from(u32::MAX)), ..*inputs };
    let ceiling = judge(config, &oldest).confidence;
    let alternatives = match judged.verdict {
        Verdict::Monitoring => smallest(alternatives(config, inputs, judged.optimal)),
        _ => Vec::new(),
    };
    let mut outlook =
        Outlook { ceiling, reachable_by_waiting: ceiling >= RECOMMENDED_FROM, alternatives, words: String::new() };
    outlook.words = words(config, inputs, judged.verdict, judged.optimal, &outlook);
    outlook
}

/// All combinations of changes that the rule answers with a recommendation of this move.
fn alternatives(config: &Config, inputs: &Inputs, optimal: Backend) -> Vec<Vec<Change>> {
    let mut found = Vec::new();
    for (age_seconds, older) in ages(inputs) {
        for (milestones, more) in counts(config, inputs) {
            for (trend, slower) in trends(inputs) {
                let tried = Inputs { milestones, age_seconds, trend, ..*inputs };
                let judged = judge(config, &tried);
                if judged.verdict == Verdict::MigrationRecommended && judged.optimal == optimal {
                    found.push([older.clone(), more.clone(), slower].into_iter().flatten().collect());
                }
            }
        }
    }
    found
}

fn ages(inputs: &Inputs) -> Vec<Try<u64>> {
    let mut tries = vec![(inputs.age_seconds, None)];
    for (step, _) in AGE_STEPS.into_iter().rev() {
        let hours = step + 1;
        let seconds = u64::try_from(hours).unwrap_or_default() * 3600;
        if seconds > inputs.age_seconds {
            tries.push((
                seconds,
                Some(Change {
                    lever: Lever::BackendAgeHours,
                    needed: super::ReasonValue::Number(hours),
                    missing: Some(seconds - inputs.age_seconds),
                }),
            ));
        }
    }
    tries
}

fn counts(config: &Config, inputs: &Inputs) -> Vec<Try<u64>> {
    let mut tries = vec![(inputs.milestones, None)];
    for backend in [Backend::Hybrid, Backend::Database] {
        let Some(threshold) = config.milestone_count.of(backend) else { continue };
        for (step, _) in overage_steps(backend).iter().rev() {
            let milestones = threshold.saturating_add(u64::try_from(step + 1).unwrap_or_default());
            if milestones > inputs.milestones {
                let missing = milestones - inputs.milestones;
                tries.push((
                    milestones,
                    Some(Change {
                        lever: Lever::MilestoneCount,
                        needed: super::ReasonValue::Number(signed(milestones)),
                        missing: Some(missing),
                    }),
                ));
            }
        }
    }
    tries
}

fn trends(inputs: &Inputs) -> Vec<Try<Trend>> {
    let mut tries = vec![(inputs.trend, None)];
    for trend in [Trend::StableNormal, Trend::StableSlow, Trend::Degrading] {
        if trend != inputs.trend {
            let needed = super::ReasonValue::Trend(trend);
            tries.push((trend, Some(Change { lever: Lever::PerformanceTrend, needed, missing: None })));
        }
    }
    tries
}

/// Leaves out what asks for more than another alternative does, and puts the likeliest first: time passes by itself.
fn smallest(mut found: Vec<Vec<Change>>) -> Vec<Vec<Change>> {
    let all = found.clone();
    found.retain(|one| !all.iter().any(|other| other != one && asks_no_more(other, one)));
    found.sort_by_key(|changes| (changes.iter().map(|change| change.lever as u8).max(), changes.len()));
    found
}

/// Whether every change of `less` is also in `more`, there at least as far.
fn asks_no_more(less: &[Change], more: &[Change]) -> bool {
    less.iter().all(|change| {
        more.iter().any(|other| {
            change.lever == other.lever
                && match (change.missing, other.missing) {
                    (Some(a), Some(b)) => a <= b,
                    _ => change.needed == other.needed,
                }
        })
    })
}

fn words(config: &Config, inputs: &Inputs, verdict: Verdict, optimal: Backend, outlook: &Outlook) -> String {
    let ceiling = outlook.ceiling;
    match verdict {
        Verdict::Unavailable => "nothing can be decided".to_owned(),
        Verdict::MigrationRecommended => format!("recommended: {} → {optimal}", inputs.current),
        Verdict::Optimal => fits(config, inputs),
        Verdict::Monitoring if outlook.alternatives.is_empty() => format!(
            "80 cannot be reached: a move to {optimal} gets {ceiling} at most with these figures, whatever else changes; \
             if you want it, move by hand"
        ),
        Verdict::Monitoring => {
            let ways: Vec<String> = outlook
                .alternatives
                .iter()
                .map(|changes| changes.iter().map(Change::words).collect::<Vec<_>>().join(" and "))
                .collect();
            let limit = if outlook.reachable_by_waiting {
                String::new()
            } else {
                format!("waiting alone stops at {ceiling}; ")
            };
            format!("{limit}recommended if {}", ways.join("; or if "))
        }
    }
}

/// How far it is to the next larger backend.
fn fits(config: &Config, inputs: &Inputs) -> String {
    let next = match inputs.current {
        Backend::File => Backend::Hybrid,
        Backend::Hybrid => Backend::Database,
        Backend::Database => return "database is the largest backend".to_owned(),
    };
    match (config.milestone_count.of(next), config.concurrent_users.of(next)) {
        (Some(milestones), Some(users)) => format!(
            "{next} would fit better from {milestones} milestones on (now {}) or {users} users in an hour (now {})",
            inputs.milestones, inputs.users
        ),
        _ => String::new(),
    }
}
