//! What a recommendation does (contract §7): announced once a pair, then a level that every cycle looks at.

use milescale_core::backend::Backend;
use milescale_core::decision::{Decision, Verdict};
use milescale_core::line::EventName;
use milescale_core::notification::Notification;
use milescale_storage::notification;
use milescale_storage::workspace::Workspace;
use serde_json::json;

use super::Engine;
use crate::sources::Moment;

impl Engine {
    /// Does what the last decision asks for: announces and notifies, or withdraws. Whether the notification was written
    /// anew. On figures that are not of now, nothing.
    pub(super) fn apply(&mut self) -> bool {
        let Some(decision) = self.decision.clone().filter(|decision| !decision.stale) else { return false };
        match (decision.verdict, decision.recommended_move()) {
            (Verdict::MigrationRecommended, Some(pair)) => {
                self.announce(pair, &decision);
                self.notify(&decision)
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

    fn notify(&mut self, decision: &Decision) -> bool {
        let command = command(&self.workspace, "status");
        let now = Moment::now().timestamp();
        let wanted = Notification::of(now, self.config.config(), decision, &self.figures, command);
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

/// A command line for this workspace that works as it stands, from any folder.
pub fn command(workspace: &Workspace, verb: &str) -> String {
    let root = workspace.root().to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@%:,".contains(&byte);
    if root.bytes().all(plain) {
        format!("milescale {verb} --workspace {root}")
    } else {
        format!("milescale {verb} --workspace '{}'", root.replace('\'', r"'\''"))
    }
}
