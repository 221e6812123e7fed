//! The decision of contract §5, policy `classic`: a pure function, with its reasons as data.

mod outlook;
mod rule;

pub use outlook::{Change, Lever, Outlook};
pub use rule::{Cause, Part, Reason, ReasonValue};

use std::fmt;

use serde::Serialize;

use crate::backend::Backend;
use crate::config::Config;
use crate::figures::{History, Observation};
use crate::trend::Trend;
use rule::Inputs;

/// The confidence from which a move is recommended.
pub const RECOMMENDED_FROM: u8 = 80;

/// What a decision comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The backend in use fits.
    Optimal,
    /// Another one fits better; the confidence is below 80.
    Monitoring,
    /// Another one fits better, with a confidence of 80 or more.
    MigrationRecommended,
    /// Nothing can be decided.
    Unavailable,
}

impl Verdict {
    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Optimal => "optimal",
            Self::Monitoring => "monitoring",
            Self::MigrationRecommended => "migration_recommended",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A decision, with everything that explains it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The backend in use.
    pub current: Option<Backend>,
    /// The backend that fits; `None` where nothing can be decided.
    pub optimal: Option<Backend>,
    /// What it comes to.
    pub verdict: Verdict,
    /// 0 to 100, also where current is optimal.
    pub confidence: Option<u8>,
    /// The trend that was used.
    pub trend: Trend,
    /// The parts that the confidence is the sum of.
    pub reasons: Vec<Reason>,
    /// The figures that make `optimal` the one that fits; empty for `file`.
    pub causes: Vec<Cause>,
    /// What would have to change for a recommendation.
    pub outlook: Option<Outlook>,
    /// Why nothing can be decided.
    pub unavailable_because: Vec<String>,
    /// Whether a figure behind it is not of now. Nothing is done for a decision on stale figures.
    pub stale: bool,
}

impl Decision {
    /// From and to, where a move is recommended.
    pub fn recommended_move(&self) -> Option<(Backend, Backend)> {
        match (self.verdict, self.current, self.optimal) {
            (Verdict::MigrationRecommended, Some(current), Some(optimal)) => Some((current, optimal)),
            _ => None,
        }
    }
}

/// Decides. The same configuration, observation and history always give the same decision.
pub fn decide(config: &Config, observation: &Observation, history: &History) -> Decision {
    let trend = Trend::of(&history.query_times);
    let stale = !observation.stale.is_empty();
    let inputs = match Inputs::of(observation, trend) {
        Ok(inputs) => inputs,
        Err(missing) => {
            return Decision {
                current: observation.current,
                optimal: None,
                verdict: Verdict::Unavailable,
                confidence: None,
                trend,
                reasons: Vec::new(),
                causes: Vec::new(),
                outlook: None,
                unavailable_because: missing,
                stale,
            };
        }
    };
    let judged = rule::judge(config, &inputs);
    Decision {
        current: Some(inputs.current),
        optimal: Some(judged.optimal),
        verdict: judged.verdict,
        confidence: Some(judged.confidence),
        trend,
        causes: judged.causes,
        reasons: judged.reasons,
        outlook: Some(outlook::look(config, &inputs)),
        unavailable_because: Vec::new(),
        stale,
    }
}

#[cfg(test)]
mod tests;
