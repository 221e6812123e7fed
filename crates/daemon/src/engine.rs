//! Look, decide, say, remember: what the daemon does on every change and every cycle, and `check` once.

mod act;
mod conflicts;
mod memory;
mod moving;
mod teller;

pub use teller::Stop;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use milescale_core::backend::Backend;
use milescale_core::decision::{Decision, Verdict, decide};
use milescale_core::figures::{Figures, History, Observation};
use milescale_core::line::{EventName, MetricsEntry, ScaleEvent};
use milescale_core::trend::ENTRIES;
use milescale_document::decimal::Decimal;
use milescale_sensing::machine::Machine;
use milescale_sensing::metrics::last_query_times;
use milescale_sensing::watch::Hints;
use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::record::Record;
use milescale_workspace::switches;
use milescale_workspace::trial;
use serde_json::{Value, json};

use crate::config::{ConfigKeeper, Environment};
use crate::note::Note;
use crate::output::Output;
use crate::sources::{Moment, Patience, Sources, earlier};
use crate::state::State;
use crate::sweeps::Sweeps;

/// What an engine may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Look and decide; nothing is written (`status`, `dashboard`, `doctor`).
    ReadOnly,
    /// Also write lines, notification and memory. Under the daemon's lock only.
    Writing,
}

/// What one cycle came to, for `check` to tell.
#[derive(Debug, Clone)]
pub struct Cycle {
    /// The decision.
    pub decision: Decision,
    /// Whether the notification was written anew.
    pub notified: bool,
}

/// One workspace, looked at.
#[derive(Debug)]
pub struct Engine {
    pub(crate) workspace: Workspace,
    mode: Mode,
    pub(crate) config: ConfigKeeper,
    pub(crate) sources: Sources,
    pub(crate) output: Output,
    state: State,
    saved: Option<State>,
    machine: Machine,
    figures: Figures,
    history: History,
    pub(crate) decision: Option<Decision>,
    pub(crate) observed: Option<Observation>,
    /// When the last complete cycle ended.
    pub(crate) last_cycle: Option<Timestamp>,
    pub(crate) sweeps: Sweeps,
    /// Since when old stores cannot be swept, by place.
    unswept_since: BTreeMap<String, Instant>,
    stop: Stop,
    /// Cycles since the start, and whether the first ones decide nothing that moves data.
    cycles: u32,
    waits: bool,
    has_recovered: bool,
    /// A move that is to be carried out.
    wanted: Option<(Backend, Backend)>,
    /// Why a recommended move waits for a person, as it was warned of last.
    warned: Option<String>,
}

impl Engine {
    /// Opens a workspace: reads memory and configuration, takes the machine's first sample. Figures come with a look.
    pub fn open(workspace: Workspace, environment: Environment, mode: Mode, patience: Patience) -> Self {
        let mut output = Output::new(workspace.clone());
        let config = ConfigKeeper::start(workspace.clone(), environment);
        if mode == Mode::Writing {
            let made = output.own_folder();
            output.note(".milescale", made);
            durable::remove_leftovers(&workspace, Moment::now().wall);
            trial::clear_leftovers(&workspace);
            output.fill_nuls();
        }
        let (state, notes) = memory::recall(&workspace, mode, &mut output);
        if mode == Mode::Writing {
            output.take_over(state.waiting.clone());
        }
        let mut engine = Self {
            sources: Sources::new(workspace.clone(), &state, patience, mode),
            machine: Machine::new(workspace.root()),
            figures: state.figures,
            saved: notes.is_empty().then(|| state.clone()),
            state,
            history: History::default(),
            decision: None,
            observed: None,
            last_cycle: None,
            sweeps: Sweeps::default(),
            unswept_since: BTreeMap::new(),
            stop: Stop::default(),
            cycles: 0,
            waits: patience == Patience::Wait,
            has_recovered: false,
            wanted: None,
            warned: None,
            workspace,
            mode,
            config,
            output,
        };
        engine.read_history();
        engine.say_all(&notes);
        engine.say_bad_config();
        engine
    }

    /// Ends long work between any two milestones once this asks for it.
    pub fn stop_when(&mut self, stop: Stop) {
        self.stop = stop;
    }

    /// The workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The configuration in force, and what is wrong with its file.
    pub fn config(&self) -> &ConfigKeeper {
        &self.config
    }

    /// Whether `init` was run here before.
    pub fn is_initialized(&self) -> bool {
        self.state.initialized
    }

    /// The first lines of a workspace: a metrics entry and `scale_detection_initialized`. Only once.
    pub fn initialize(&mut self) {
        self.look(&Hints::everything());
        let moment = Moment::now();
        self.measure(moment);
        self.tend(moment);
        let current = self.current();
        self.output.metrics(&MetricsEntry::new(moment.timestamp(), current, &self.figures), self.config.config());
        self.say(EventName::Initialized, json!({}));
        self.state.initialized = true;
        self.save();
    }

    /// Looks at everything until no marker is being written any more: for who looks only once.
    pub fn settle(&mut self) {
        for _ in 0..3 {
            let again = self.see(&Hints::everything());
            match again.filter(|_| self.sources.marker_is_changing()) {
                Some(again) => std::thread::sleep(again),
                None => return,
            }
        }
    }

    /// Measures the load of the machine, for who shows it without a cycle.
    pub fn measure_machine(&mut self) {
        let moment = Moment::now();
        self.measure(moment);
        self.decide(moment);
    }

    /// Looks at what the hints name, decides, and announces. When to look again without a hint.
    pub fn look(&mut self, hints: &Hints) -> Option<Duration> {
        let again = self.see(hints);
        if self.mode == Mode::Writing {
            self.apply();
            self.save_if_changed();
        }
        again
    }

    /// One cycle that looks at everything.
    pub fn full_cycle(&mut self) -> (Cycle, Option<Duration>) {
        self.cycle(Hints::everything())
    }

    /// One cycle of contract §6: metrics entry, decision, event or action, `scale_status`. Looked at is what the hints name,
    /// and everything where the last such look is an hour ago.
    pub fn cycle(&mut self, mut hints: Hints) -> (Cycle, Option<Duration>) {
        (hints.cycle, hints.everything) = (true, hints.everything || !self.sources.have_seen_everything());
        let again = self.see(&hints);
        let moment = Moment::now();
        self.measure(moment);
        self.tend(moment);
        let current = self.current();
        let entry = MetricsEntry::new(moment.timestamp(), current, &self.figures);
        if self.output.metrics(&entry, self.config.config()) {
            self.read_history();
        } else if let Some(log) = self.figures.log {
            // The disk does not take the entry; the trend goes on all the same.
            self.history.query_times.push(Decimal::whole(log.query.average));
            let surplus = self.history.query_times.len().saturating_sub(ENTRIES);
            self.history.query_times.drain(..surplus);
        }
        let decision = self.decide(moment);
        if decision.verdict == Verdict::Monitoring {
            self.say(EventName::Monitoring, json!({}));
        }
        let notified = self.act(moment);
        self.say(EventName::ScaleStatus, self.status_details(&decision));
        self.save();
        tracing::info!(
            verdict = %decision.verdict,
            confidence = decision.confidence,
            milestones = self.figures.milestone_count(),
            users = self.figures.concurrent_users(),
            "cycle"
        );
        (Cycle { decision, notified }, again)
    }

    /// Whether what an interrupted migration left could not be recovered: the problems of migrations say why.
    pub fn is_unrecovered(&self) -> bool {
        self.sweeps.is_unrecovered()
    }

    /// Whether the marker says nothing by which a decision could be made.
    pub fn is_undecidable(&self) -> bool {
        self.sources.current().1.is_some()
    }

    /// Whether a move is to be carried out.
    pub fn wants_to_migrate(&self) -> bool {
        self.wanted.is_some()
    }

    fn see(&mut self, hints: &Hints) -> Option<Duration> {
        // Before anything is looked at, what a crash has left is dealt with.
        if !std::mem::replace(&mut self.has_recovered, true) {
            self.recover();
        }
        let moment = Moment::now();
        let mut notes = Vec::new();
        if self.mode == Mode::Writing && hints.everything {
            let made = self.output.own_folder();
            self.output.note(".milescale", made);
        }
        let folder_is_there = self.workspace.is_there();
        let record = Record::load(&self.workspace);
        if folder_is_there && record.as_ref().is_ok_and(|record| record.epoch > self.sources.epoch()) {
            self.config.read_again(&mut notes);
        }
        // Without the folder, a missing configuration says nothing.
        let mut again = if folder_is_there { self.config.look(&mut notes) } else { None };
        if !notes.is_empty() {
            self.state.config_rejected = self.config.wrong();
        }
        again = earlier(again, self.sources.look(hints, moment, &record, self.config.config(), &mut notes));
        self.figures = Figures { machine: self.figures.machine, ..self.sources.figures(moment) };
        self.decide(moment);
        // What cannot be said now is not overwritten.
        let can_say = self.mode == Mode::Writing && self.output.waiting().is_empty();
        if can_say {
            again = earlier(again, self.sources.tend(moment, &mut notes));
        }
        self.say_all(&notes);
        let overwrites = notes.iter().any(|note| matches!(note, Note::IndexMended(_)));
        if can_say && (!overwrites || self.output.sync(self.config.config())) {
            self.sources.mend();
        }
        again = earlier(again, self.look_after_old_stores(hints, &record));
        self.output.retry(self.config.config());
        again
    }

    fn tend(&mut self, moment: Moment) {
        let [tables, days, ids] = self.sources.tend_each_cycle(moment);
        self.output.note("milescale's own in the store", tables);
        self.output.note(".milescale/days.json", days);
        self.output.note(".milescale/last-ids.json", ids);
        self.output.note(".milescale/switches", switches::note(&self.workspace, self.sources.epoch()));
        self.announce_conflicts();
    }

    fn decide(&mut self, moment: Moment) -> Decision {
        let (current, undecidable) = self.sources.current();
        let observation = Observation {
            now: moment.timestamp(),
            current: current.map(|in_use| in_use.backend),
            undecidable,
            figures: self.figures,
            stale: self.sources.stale(),
        };
        let decision = decide(self.config.config(), &observation, &self.history);
        self.observed = Some(observation);
        self.decision = Some(decision.clone());
        decision
    }

    fn current(&self) -> Option<Backend> {
        self.sources.current().0.map(|in_use| in_use.backend)
    }

    fn measure(&mut self, moment: Moment) {
        self.figures = Figures { machine: self.machine.sample(), ..self.sources.figures(moment) };
    }

    fn read_history(&mut self) {
        match last_query_times(&self.workspace.metrics()) {
            Ok(query_times) => self.history = History { query_times },
            Err(error) => tracing::warn!(%error, "the metrics entries cannot be read; the trend stays as it was"),
        }
    }

    fn status_details(&self, decision: &Decision) -> Value {
        json!({
            "milestone_count": self.figures.milestone_count(),
            "concurrent_users": self.figures.concurrent_users(),
            "complexity_score": self.figures.complexity_score(),
            "avg_query_time_ms": self.figures.recent_query_time(),
            "migration_confidence": decision.confidence,
        })
    }

    fn say_bad_config(&mut self) {
        let wrong = self.config.wrong();
        if wrong.is_some() && self.state.config_rejected != wrong {
            let problems = self.config.problems().to_vec();
            self.say_all(&[Note::ConfigRejected { file: self.config.shown(), problems }]);
        }
        self.state.config_rejected = wrong;
    }

    fn say_all(&mut self, notes: &[Note]) {
        for note in notes {
            if self.mode == Mode::Writing {
                note.log();
            }
            self.say(note.event(), note.details());
        }
    }

    fn say(&mut self, event: EventName, details: Value) {
        if self.mode == Mode::ReadOnly {
            return;
        }
        let current = self.current();
        // The first event of a workspace stands before any decision.
        let optimal =
            self.decision.as_ref().and_then(|decision| decision.optimal).filter(|_| event != EventName::Initialized);
        let line = ScaleEvent::new(Moment::now().timestamp(), event, current, optimal, details);
        self.output.event(&line, self.config.config());
    }
}
