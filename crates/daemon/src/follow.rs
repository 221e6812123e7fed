//! Which backend is in use: the marker's word, unless somebody changed it and it is not followed (contract §4).

use std::time::{Duration, Instant, SystemTime};

use milescale_core::backend::Backend;
use milescale_storage::marker::{Marker, Word};

use crate::note::Note;

/// How long a changed marker must have stood.
const STANDS_AFTER: Duration = Duration::from_secs(2);

/// How long an empty marker may be one that is being written.
const EMPTY_FOR: Duration = Duration::from_millis(200);

/// The follower of the marker.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The backend whose store was last read in full.
    followed: Option<Backend>,
    /// The backend that the marker names and that is not followed, once that was said.
    refused: Option<Backend>,
    /// What the marker says since when.
    word: Option<(Word, Instant)>,
}

/// What the marker comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// This backend is in use.
    Follows(Backend),
    /// The marker says something else; the backend in use, where one is known, and why that is.
    Stale { current: Option<Backend>, reason: String },
    /// The marker names no backend: nothing can be decided.
    Undecidable(String),
}

impl Follower {
    pub(crate) fn new(followed: Option<Backend>, refused: Option<Backend>) -> Self {
        Self { followed, refused, word: None }
    }

    pub(crate) fn followed(&self) -> Option<Backend> {
        self.followed
    }

    pub(crate) fn refused(&self) -> Option<Backend> {
        self.refused
    }

    /// The store of this backend has been read in full.
    pub(crate) fn read_in_full(&mut self, backend: Backend) {
        self.followed = Some(backend);
    }

    /// Judges the marker as it is now. Also when to look again, where that does not wait for a change.
    pub(crate) fn judge(
        &mut self,
        marker: &Marker,
        instant: Instant,
        now: SystemTime,
        notes: &mut Vec<Note>,
    ) -> (Standing, Option<Duration>) {
        let since = match &self.word {
            Some((word, since)) if *word == marker.word => *since,
            _ => instant,
        };
        self.word = Some((marker.word.clone(), since));
        let by_file = marker.modified.and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
        let stood = instant.duration_since(since).max(by_file);
        match &marker.word {
            Word::Empty if stood < EMPTY_FOR => {
                let reason = "the marker is empty; perhaps it is being written".to_owned();
                (Standing::Stale { current: self.followed, reason }, Some(EMPTY_FOR.saturating_sub(stood)))
            }
            Word::Empty => {
                (Standing::Undecidable("the marker is empty; write file, hybrid or database into it".to_owned()), None)
            }
            Word::Unknown(unknown) => (Standing::Undecidable(format!("the marker says {unknown}")), None),
            Word::Missing => self.named(Backend::File, stood, notes),
            Word::Backend(backend) => self.named(*backend, stood, notes),
        }
    }

    fn named(&mut self, named: Backend, stood: Duration, notes: &mut Vec<Note>) -> (Standing, Option<Duration>) {
        let Some(followed) = self.followed else { return (Standing::Follows(named), None) };
        if named == followed {
            if let Some(refused) = self.refused.take() {
                notes.push(Note::BackendChanged { from: refused, to: named, adopted: true, reason: String::new() });
            }
            return (Standing::Follows(named), None);
        }
        let stale = |reason| Standing::Stale { current: Some(followed), reason };
        if stood < STANDS_AFTER {
            let reason = format!("the marker has just been changed to {named}");
            return (stale(reason), Some(STANDS_AFTER.saturating_sub(stood)));
        }
        let reason = format!(
            "the marker was changed to {named}, which this version of milescale cannot read, so nobody knows whether the \
             milestones are there; {followed} stays in use. If they were not moved, write {followed} into it again"
        );
        if self.refused != Some(named) {
            self.refused = Some(named);
            notes.push(Note::BackendChanged { from: followed, to: named, adopted: false, reason: reason.clone() });
        }
        (stale(reason), None)
    }
}

#[cfg(test)]
mod tests {
    use super::{Follower, Standing};
    use milescale_core::backend::Backend;
    use milescale_storage::marker::{Marker, Word};
    use std::time::{Duration, Instant, SystemTime};

    struct Bench(Follower, Instant);

    impl Bench {
        fn see(&mut self, word: Word, milliseconds: u64) -> (Standing, Option<Duration>, usize) {
            let (now, mut notes) = (SystemTime::now(), Vec::new());
            let marker = Marker { word, modified: Some(now) };
            let instant = self.1 + Duration::from_millis(milliseconds);
            let (standing, again) = self.0.judge(&marker, instant, now, &mut notes);
            (standing, again, notes.len())
        }
    }

    #[test]
    fn a_changed_marker_is_not_followed_but_said_once() {
        let mut bench = Bench(Follower::new(Some(Backend::File), None), Instant::now());
        assert_eq!(bench.see(Word::Missing, 0).0, Standing::Follows(Backend::File));
        let (standing, again, said) = bench.see(Word::Backend(Backend::Hybrid), 10);
        assert!(matches!(standing, Standing::Stale { current: Some(Backend::File), .. }));
        assert_eq!((again, said), (Some(Duration::from_secs(2)), 0));
        assert_eq!(bench.see(Word::Backend(Backend::Hybrid), 2010).2, 1);
        assert_eq!(bench.see(Word::Backend(Backend::Hybrid), 9000).2, 0);
        assert_eq!(bench.see(Word::Backend(Backend::File), 9001), (Standing::Follows(Backend::File), None, 1));
        assert_eq!(bench.see(Word::Backend(Backend::File), 9002).2, 0);
    }

    #[test]
    fn an_empty_marker_is_read_again_and_then_decides_nothing() {
        let mut bench = Bench(Follower::new(Some(Backend::File), None), Instant::now());
        let (standing, again, _) = bench.see(Word::Empty, 0);
        assert!(matches!(standing, Standing::Stale { .. }) && again == Some(Duration::from_millis(200)));
        assert!(matches!(bench.see(Word::Empty, 200).0, Standing::Undecidable(_)));
    }

    #[test]
    fn before_any_store_was_read_the_marker_is_believed() {
        let mut bench = Bench(Follower::new(None, None), Instant::now());
        assert_eq!(bench.see(Word::Backend(Backend::Database), 0).0, Standing::Follows(Backend::Database));
        assert_eq!(bench.see(Word::Backend(Backend::File), 1).0, Standing::Follows(Backend::File));
    }
}
