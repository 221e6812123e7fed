//! What a recommendation does (contract §7): announced once a pair, then a level that every cycle looks at.

use milescale_core::backend::Backend;
use milescale_core::config::Choice;
use milescale_core::decision::{Decision, Verdict};
use milescale_core::line::EventName;
use milescale_core::notification::{Notification, Saying};
use milescale_workspace::notification;
use serde_json::json;

use super::Engine;
use crate::sources::Moment;

impl Engine {
    /// What a cycle does beyond [`Engine::apply`]: a move that is milescale's to carry out becomes due.
    pub(super) fn act(&mut self, moment: Moment) -> bool {
        self.cycles = self.cycles.saturating_add(1);
        self.wanted = None;
        let notified = self.apply();
        let decision = self.decision.clone().filter(|it| !it.stale && it.verdict == Verdict::MigrationRecommended);
        if let Some((decision, pair)) = decision.and_then(|it| it.recommended_move().map(|pair| (it.clone(), pair)))
            && self.is_automatic(&decision, pair)
            && self.may_begin(pair, moment)
        {
            self.wanted = Some(pair);
        }
        notified
    }

    /// Does what the last decision asks for: announces and notifies, or withdraws. Whether the notification was written
    /// anew. On figures that are not of now, nothing.
    pub(super) fn apply(&mut self) -> bool {
        let Some(decision) = self.decision.clone().filter(|decision| !decision.stale) else { return false };
        match (decision.verdict, decision.recommended_move()) {
            (Verdict::MigrationRecommended, Some(pair)) => {
                self.announce(pair, &decision);
                self.warn_of_missing_consent(pair);
                // What milescale carries out by itself waits for nobody, unless something keeps it back.
                if self.is_automatic(&decision, pair) && self.kept_back(pair, Moment::now()).is_none() {
                    return false;
                }
                self.notify(&decision, pair)
            }
            (Verdict::Optimal | Verdict::Monitoring, _) => {
                self.withdraw(&decision);
                false
            }
            _ => false,
        }
    }

    fn announce(&mut self, pair: (Backend, Backend), decision: &Decision) {
        if self.state.announced != Some(pair) {
            let engine = self.config.config().database.engine;
            self.say(
                EventName::Recommended,
                json!({
                    "from": pair.0.store_word(engine), "to": pair.1.store_word(engine),
                    "confidence": decision.confidence, "reasons": decision.reasons, "causes": decision.causes,
                }),
            );
            self.state.announced = Some(pair);
        }
    }

    fn notify(&mut self, decision: &Decision, pair: (Backend, Backend)) -> bool {
        let now = Moment::now().timestamp();
        let why_not = self.kept_back(pair, Moment::now());
        let said = Saying { command: self.command(pair.1), why_not, estimate: self.estimate() };
        let wanted = Notification::of(now, self.config.config(), decision, &self.figures, said);
        let Some(wanted) = wanted else { return false };
        if notification::read(&self.workspace).is_some_and(|there| there.says_the_same(&wanted)) {
            return false;
        }
        let written = self
            .output
            .folder(&self.workspace.config_folder())
            .and_then(|()| notification::write(&self.workspace, &wanted));
        let done = written.is_ok();
        self.output.note("config/migration-notification.yaml", written);
        done
    }

    /// The recommendation does not stand, or no longer.
    fn withdraw(&mut self, decision: &Decision) {
        if decision.verdict == Verdict::Optimal {
            self.state.announced = None;
        }
        let withdrawn = notification::withdraw(&self.workspace).map(drop);
        self.output.note("config/migration-notification.yaml", withdrawn);
    }
}

impl Engine {
    /// The command that carries out a move.
    pub fn command(&self, to: Backend) -> String {
        let force = if matches!(self.config.config().backend, Choice::Pinned(pinned) if pinned != to) {
            " --force"
        } else {
            ""
        };
        self.workspace.command(&format!("migrate {to}{force} --yes"))
    }

    /// What keeps the move that is recommended from being carried out by itself, in words, where `auto_migrate` is on.
    pub fn waits_because(&self) -> Option<String> {
        let decision = self.decision.as_ref().filter(|it| it.verdict == Verdict::MigrationRecommended)?;
        self.kept_back(decision.recommended_move()?, Moment::now())
    }

    /// How long a migration may take: reading all milestones a few times.
    fn estimate(&self) -> String {
        let count = self.figures.milestone_count().unwrap_or_default();
        let seconds = 1 + count / MILESTONES_A_SECOND;
        format!("about {seconds} s for {count} milestones; `--dry-run` measures it")
    }
}

/// What a small machine moves, backup and comparison included.
const MILESTONES_A_SECOND: u64 = 1500;
