//! Which store is in use: the one that marker and configuration name, unless somebody changed that and it is not
//! followed (contract §4).

use std::time::{Duration, Instant, SystemTime};

use milescale_core::backend::{Backend, Engine, InUse};
use milescale_workspace::marker::{Marker, Word};

use crate::note::Note;

/// How long a changed marker must have stood.
const STANDS_AFTER: Duration = Duration::from_secs(2);

/// How long an empty marker may be one that is being written.
const EMPTY_FOR: Duration = Duration::from_millis(200);

/// The follower of the marker.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The store that was last read in full.
    followed: Option<InUse>,
    /// The store that is named and not followed, once that was said, and why it is not.
    refused: Option<(InUse, String)>,
    /// What is named since when.
    named: Option<(Word, Engine, Instant)>,
}

/// What the marker comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// This store is in use.
    Follows(InUse),
    /// Another store has been named for long enough: it is followed if it holds every milestone of the last one.
    Named(InUse),
    /// The marker says something else; the store in use, where one is known, and why that is.
    Stale { current: Option<InUse>, reason: String },
    /// The marker names no backend: nothing can be decided.
    Undecidable(String),
}

impl Follower {
    pub(crate) fn new(followed: Option<InUse>, refused: Option<(InUse, String)>) -> Self {
        Self { followed, refused, named: None }
    }

    pub(crate) fn followed(&self) -> Option<InUse> {
        self.followed
    }

    pub(crate) fn refused(&self) -> Option<&(InUse, String)> {
        self.refused.as_ref()
    }

    /// milescale itself has switched: what it has compared needs no other proof.
    pub(crate) fn switched(&mut self, in_use: InUse) {
        (self.followed, self.refused, self.named) = (Some(in_use), None, None);
    }

    /// Which store was in use last is not known any more.
    pub(crate) fn forget(&mut self) {
        (self.followed, self.refused, self.named) = (None, None, None);
    }

    /// This store has been read in full.
    pub(crate) fn read_in_full(&mut self, store: InUse) {
        self.followed = Some(store);
    }

    /// Judges the marker as it is now, with the engine that a database would have. Also when to look again, where that
    /// does not wait for a change.
    pub(crate) fn judge(
        &mut self,
        marker: &Marker,
        engine: Engine,
        instant: Instant,
        now: SystemTime,
        notes: &mut Vec<Note>,
    ) -> (Standing, Option<Duration>) {
        let since = match &self.named {
            Some((word, before, since)) if (word, *before) == (&marker.word, engine) => *since,
            _ => instant,
        };
        self.named = Some((marker.word.clone(), engine, since));
        // The age of the marker says nothing of a change of the engine.
        let is_engine = self.followed.is_some_and(|it| it.engine.is_some() && it.engine != Some(engine));
        let by_file = marker.modified.filter(|_| !is_engine).and_then(|modified| now.duration_since(modified).ok());
        let by_file = by_file.unwrap_or_default();
        let stood = instant.duration_since(since).max(by_file);
        match &marker.word {
            Word::Empty if stood < EMPTY_FOR => {
                let reason = "the marker is empty; perhaps it is being written".to_owned();
                (Standing::Stale { current: self.followed, reason }, Some(EMPTY_FOR.saturating_sub(stood)))
            }
            Word::Empty => {
                (Standing::Undecidable("the marker is empty; write file, hybrid or database into it".to_owned()), None)
            }
            Word::Unknown(unknown) => (Standing::Undecidable(unknown.to_string()), None),
            Word::Missing => self.named(InUse::new(Backend::File, engine), stood, notes),
            Word::Backend(backend) => self.named(InUse::new(*backend, engine), stood, notes),
        }
    }

    fn named(&mut self, named: InUse, stood: Duration, notes: &mut Vec<Note>) -> (Standing, Option<Duration>) {
        let Some(followed) = self.followed else { return (Standing::Follows(named), None) };
        if named == followed {
            if let Some((refused, _)) = self.refused.take() {
                // Nothing was ever moved to the store that was refused.
                let reason = format!("marker or configuration say {named} again; {refused} was never in use");
                notes.push(Note::BackendChanged { from: named, to: named, adopted: true, reason });
            }
            return (Standing::Follows(named), None);
        }
        // What was refused before, by an earlier process too, has stood since then.
        let was_refused = self.refused.as_ref().is_some_and(|(refused, _)| *refused == named);
        if stood < STANDS_AFTER && !was_refused {
            let reason = format!("the marker has just been changed to {named}");
            let again = STANDS_AFTER.saturating_sub(stood);
            return (Standing::Stale { current: Some(followed), reason }, Some(again));
        }
        (Standing::Named(named), None)
    }

    /// The named store holds every milestone of the last one: it is followed from now on.
    pub(crate) fn adopt(&mut self, named: InUse, notes: &mut Vec<Note>) -> Standing {
        if let Some(from) = self.followed.replace(named) {
            notes.push(Note::BackendChanged { from, to: named, adopted: true, reason: String::new() });
        }
        self.refused = None;
        Standing::Follows(named)
    }

    /// It does not, or that cannot be told.
    pub(crate) fn refuse(&mut self, named: InUse, why: &str, notes: &mut Vec<Note>) -> Standing {
        let Some(followed) = self.followed else { return Standing::Follows(named) };
        let reason = format!(
            "marker or configuration were changed to {named}, and {why}; {followed} stays in use. `{}` moves the \
             milestones there, `{}` writes back what stood there before",
            named.command(),
            followed.command()
        );
        if self.refused.as_ref().is_none_or(|(refused, _)| *refused != named) {
            notes.push(Note::BackendChanged { from: followed, to: named, adopted: false, reason: reason.clone() });
        }
        self.refused = Some((named, reason.clone()));
        Standing::Stale { current: Some(followed), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::{Follower, Standing};
    use milescale_core::backend::{Backend, Engine, InUse};
    use milescale_workspace::marker::{Marker, Word};
    use std::time::{Duration, Instant, SystemTime};

    const FILE: InUse = InUse { backend: Backend::File, engine: None };
    const HYBRID: InUse = InUse { backend: Backend::Hybrid, engine: None };

    struct Bench(Follower, Instant);

    impl Bench {
        fn see(&mut self, word: Word, milliseconds: u64) -> (Standing, Option<Duration>, usize) {
            self.see_with(word, Engine::Sqlite, milliseconds)
        }

        fn see_with(&mut self, word: Word, engine: Engine, milliseconds: u64) -> (Standing, Option<Duration>, usize) {
            let (now, mut notes) = (SystemTime::now(), Vec::new());
            let marker = Marker { word, modified: Some(now) };
            let instant = self.1 + Duration::from_millis(milliseconds);
            let (standing, again) = self.0.judge(&marker, engine, instant, now, &mut notes);
            (standing, again, notes.len())
        }
    }

    #[test]
    fn a_changed_marker_is_followed_only_once_it_has_stood_and_is_proven() {
        let (mut bench, mut notes) = (Bench(Follower::new(Some(FILE), None), Instant::now()), Vec::new());
        assert_eq!(bench.see(Word::Missing, 0).0, Standing::Follows(FILE));
        let (standing, again, said) = bench.see(Word::Backend(Backend::Hybrid), 10);
        assert!(matches!(standing, Standing::Stale { current: Some(FILE), .. }));
        assert_eq!((again, said), (Some(Duration::from_secs(2)), 0));
        assert_eq!(bench.see(Word::Backend(Backend::Hybrid), 2010).0, Standing::Named(HYBRID));
        for _ in 0..2 {
            let standing = bench.0.refuse(HYBRID, "two are missing there", &mut notes);
            assert!(matches!(standing, Standing::Stale { current: Some(FILE), .. }));
        }
        assert_eq!(notes.len(), 1, "said once");
        assert_eq!(bench.see(Word::Backend(Backend::File), 9001), (Standing::Follows(FILE), None, 1));
        assert_eq!(bench.see(Word::Backend(Backend::Hybrid), 9100).1, Some(Duration::from_secs(2)));
        assert_eq!(bench.0.adopt(HYBRID, &mut notes), Standing::Follows(HYBRID));
        assert_eq!(bench.see(Word::Backend(Backend::Hybrid), 9200).0, Standing::Follows(HYBRID));
    }

    #[test]
    fn another_engine_is_another_store() {
        let sqlite = InUse::new(Backend::Database, Engine::Sqlite);
        let mut bench = Bench(Follower::new(Some(sqlite), None), Instant::now());
        assert_eq!(bench.see(Word::Backend(Backend::Database), 0).0, Standing::Follows(sqlite));
        let postgresql = InUse::new(Backend::Database, Engine::Postgresql);
        let word = || Word::Backend(Backend::Database);
        assert!(matches!(bench.see_with(word(), Engine::Postgresql, 10).0, Standing::Stale { .. }));
        assert_eq!(bench.see_with(word(), Engine::Postgresql, 2010).0, Standing::Named(postgresql));
    }

    #[test]
    fn the_age_of_the_marker_is_not_that_of_a_changed_engine() {
        let sqlite = InUse::new(Backend::Database, Engine::Sqlite);
        let mut follower = Follower::new(None, None);
        follower.switched(InUse::new(Backend::Database, Engine::Postgresql));
        let (now, instant) = (SystemTime::now(), Instant::now());
        let marker =
            Marker { word: Word::Backend(Backend::Database), modified: now.checked_sub(Duration::from_hours(1)) };
        let mut see = |milliseconds| {
            let instant = instant + Duration::from_millis(milliseconds);
            follower.judge(&marker, Engine::Sqlite, instant, now, &mut Vec::new()).0
        };
        assert!(matches!(see(0), Standing::Stale { .. }), "a configuration that is not read again yet");
        assert_eq!(see(2000), Standing::Named(sqlite));
    }

    /// A process that has just begun knows of an earlier one what was refused: it is judged again, and not said to be new.
    #[test]
    fn what_was_refused_before_has_stood() {
        let [sqlite, postgresql] =
            [Engine::Sqlite, Engine::Postgresql].map(|engine| InUse::new(Backend::Database, engine));
        let refused = Some((postgresql, "two are missing there".to_owned()));
        let mut bench = Bench(Follower::new(Some(sqlite), refused), Instant::now());
        let word = || Word::Backend(Backend::Database);
        assert_eq!(bench.see_with(word(), Engine::Postgresql, 0).0, Standing::Named(postgresql));
        assert!(matches!(
            bench.see_with(Word::Backend(Backend::File), Engine::Postgresql, 10).0,
            Standing::Stale { .. }
        ));
    }

    #[test]
    fn an_empty_marker_is_read_again_and_then_decides_nothing() {
        let mut bench = Bench(Follower::new(Some(FILE), None), Instant::now());
        let (standing, again, _) = bench.see(Word::Empty, 0);
        assert!(matches!(standing, Standing::Stale { .. }) && again == Some(Duration::from_millis(200)));
        assert!(matches!(bench.see(Word::Empty, 200).0, Standing::Undecidable(_)));
    }

    #[test]
    fn before_any_store_was_read_the_marker_is_believed() {
        let mut bench = Bench(Follower::new(None, None), Instant::now());
        assert_eq!(bench.see(Word::Backend(Backend::Hybrid), 0).0, Standing::Follows(HYBRID));
        assert_eq!(bench.see(Word::Backend(Backend::File), 1).0, Standing::Follows(FILE));
    }
}
