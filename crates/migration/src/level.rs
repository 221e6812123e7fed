//! One milestone of the source made the same in the target: what catching up, comparing and moving back come down to.

use std::collections::HashMap;

use milescale_core::base::{Content, Side};
use milescale_core::id::Id;
use milescale_storage::error::{Problem, StoreError};
use milescale_storage::store::{Draft, Milestone, Seen, Store};

use crate::context::{Context, Error};

/// When a file that was gone is looked for again.
const SECOND_LOOK_AFTER: std::time::Duration = std::time::Duration::from_millis(30);

/// What became of a milestone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leveled {
    /// Both sides were the same.
    Same,
    /// The target says now what the source says.
    Done,
    /// It cannot be done now: why.
    NotYet(String),
}

/// Two stores, one of which is to say what the other says.
pub(crate) struct Pair<'a> {
    /// The store in use.
    pub(crate) source: &'a mut dyn Store,
    /// Its side.
    pub(crate) from: Side,
    /// The store that is to be.
    pub(crate) target: &'a mut dyn Store,
    /// Its side.
    pub(crate) to: Side,
    /// Whether the target is an old store of the workspace's: then what stands there is judged against its base.
    pub(crate) target_was_old: bool,
    /// Whether other writers are kept out of the source: then nothing is written to it.
    pub(crate) is_held: bool,
    /// What an old target holds by now and the source's ledger does not say yet.
    unnoted: Vec<(String, Option<Content>)>,
    /// What was read ahead, while those milestones are leveled.
    ahead: Ahead,
}

/// What was read of many milestones at once: each reading of a database may refuse somebody's write.
#[derive(Default)]
struct Ahead {
    /// The source's. What is changed after it was read is told as changed, and leveled again.
    source: HashMap<String, Milestone>,
    /// Bases of an old target.
    bases: HashMap<String, Option<Content>>,
}

/// Bases that are noted at once: a commit of so many takes no longer than that of one.
const NOTED_AT_ONCE: usize = 100;

impl<'a> Pair<'a> {
    pub(crate) fn new(
        (source, from): (&'a mut dyn Store, Side),
        (target, to): (&'a mut dyn Store, Side),
        target_was_old: bool,
    ) -> Self {
        Self { source, from, target, to, target_was_old, is_held: false, unnoted: Vec::new(), ahead: Ahead::default() }
    }

    /// Makes one milestone the same.
    pub(crate) fn level(&mut self, id: &str, context: &Context<'_>) -> Result<Leveled, Error> {
        let Ok(id) = id.parse::<Id>() else {
            return Ok(Leveled::NotYet(format!("{id:?} is no id that every store can keep")));
        };
        let source = match self.source_of(&id) {
            Err(error) if error.problem == Problem::Refused => return Ok(Leveled::NotYet(error.to_string())),
            other => other?,
        };
        let target = match self.target.held(&id) {
            Err(error) if error.problem == Problem::Refused => return Ok(Leveled::NotYet(error.to_string())),
            other => other?,
        };
        let Some(source) = source else {
            // A file that is being renamed is for a moment under no name: what is gone is gone at a second look too.
            if target.is_some() && self.from == Side::Files {
                std::thread::sleep(SECOND_LOOK_AFTER);
                if there(self.source.get(&id))?.is_some() {
                    return Ok(Leveled::NotYet(format!("{id}: it has just been moved")));
                }
            }
            return self.take_out(&id, target, context);
        };
        let place = source.place.clone();
        let draft = match Draft::of(source, context.now()) {
            Ok(draft) => draft,
            Err(flaw) => return Ok(Leveled::NotYet(format!("{place}: {flaw}"))),
        };
        let (wanted, seen) = match &target {
            None => (draft.content(), Seen::Nothing),
            Some(there) => {
                let (wanted, found) = (draft.content(), there.content());
                // An archived milestone is the same only where it counts no more.
                let in_place = !(draft.is_archived() && self.is_active_file(there));
                if in_place && self.is_level(&id, wanted, found)? {
                    return Ok(Leveled::Same);
                }
                if let Some(unswept) = self.unswept(&id, found)? {
                    return Ok(unswept);
                }
                (wanted, Seen::Text(there.digest()))
            }
        };
        match self.target.bring(&draft, seen, self.from) {
            Ok(()) => self.note_base(&id, Some(wanted)).map(|()| Leveled::Done),
            Err(error) if matches!(error.problem, Problem::Changed | Problem::Busy) => {
                Ok(Leveled::NotYet(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it stands in a milestone file that counts.
    fn is_active_file(&self, there: &Milestone) -> bool {
        self.to == Side::Files && there.place.contains("/active/")
    }

    /// Whether two contents need nothing done. Where only comments or layout differ, those of an old store's file stay,
    /// unless the store in use was given other ones since.
    fn is_level(&mut self, id: &Id, wanted: Content, found: Content) -> Result<bool, StoreError> {
        if wanted.value != found.value {
            return Ok(false);
        }
        if wanted.text == found.text || !self.target_was_old {
            return Ok(wanted.text == found.text);
        }
        let base = self.base(id)?;
        Ok(base.is_none_or(|base| base.text == wanted.text))
    }

    /// Reads what is leveled next, at once.
    pub(crate) fn read_ahead(&mut self, ids: &[String]) -> Result<(), Error> {
        self.forget_ahead();
        if !self.is_held {
            let source = self.source.get_some(ids)?.into_iter();
            self.ahead.source = source.map(|milestone| (milestone.id.clone(), milestone)).collect();
        }
        if self.target_was_old {
            let known = self.source.ledger()?.bases(self.to, ids)?;
            self.ahead.bases = ids.iter().map(|id| (id.clone(), known.get(id).map(|known| known.content))).collect();
        }
        Ok(())
    }

    /// Forgets it: once its milestone was leveled, a base is another one.
    pub(crate) fn forget_ahead(&mut self) {
        self.ahead = Ahead::default();
    }

    /// The source's milestone. One that is gone is gone now, not when many were read.
    fn source_of(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        match self.ahead.source.remove(id.as_str()) {
            Some(milestone) => Ok(Some(milestone)),
            None => there(self.source.get(id)),
        }
    }

    fn base(&mut self, id: &Id) -> Result<Option<Content>, StoreError> {
        if let Some(base) = self.ahead.bases.get(id.as_str()) {
            return Ok(*base);
        }
        let mut known = self.source.ledger()?.bases(self.to, &[id.to_string()])?;
        Ok(known.remove(id.as_str()).map(|known| known.content))
    }

    /// What stands in an old store and is not its base was written there since it was swept: it is not overwritten.
    fn unswept(&mut self, id: &Id, found: Content) -> Result<Option<Leveled>, StoreError> {
        if !self.target_was_old {
            // Only we write there; whatever else stands there is told by the comparison.
            let known = self.target.ledger()?.bases(self.from, &[id.to_string()])?.remove(id.as_str());
            let is_ours = known.is_some_and(|known| known.content.value == found.value);
            return Ok(
                (!is_ours).then(|| Leveled::NotYet(format!("{id}: another program has written it into the target")))
            );
        }
        let base = self.base(id)?;
        let is_swept = base.is_some_and(|base| base.value == found.value);
        Ok((!is_swept).then(|| Leveled::NotYet(format!("{id}: it was changed in the target and is not swept yet"))))
    }

    /// The source has none: the target's goes, if it is what was brought there.
    fn take_out(&mut self, id: &Id, there: Option<Milestone>, context: &Context<'_>) -> Result<Leveled, Error> {
        let Some(there) = there else { return Ok(Leveled::Same) };
        // One among the finished ones is another program's matter, unless it was brought there just now.
        if self.to == Side::Files && !self.is_active_file(&there) && self.target_was_old {
            return Ok(Leveled::Same);
        }
        if let Some(unswept) = self.unswept(id, there.content())? {
            return Ok(unswept);
        }
        match self.target.remove(id, there.digest(), context.now()) {
            Ok(()) => {}
            Err(error) if matches!(error.problem, Problem::Changed | Problem::Busy) => {
                return Ok(Leveled::NotYet(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        self.target.ledger()?.unset(self.from, id.as_str())?;
        self.note_base(id, None)?;
        Ok(Leveled::Done)
    }

    /// Where the migration fails, the target is an old store as before: its base is what it holds by then.
    fn note_base(&mut self, id: &Id, content: Option<Content>) -> Result<(), Error> {
        if self.target_was_old && !self.is_held {
            self.unnoted.push((id.to_string(), content));
        }
        if self.unnoted.len() >= NOTED_AT_ONCE { self.note_bases() } else { Ok(()) }
    }

    /// Notes them, many in a commit: each keeps other writers out of the source for a moment.
    pub(crate) fn note_bases(&mut self) -> Result<(), Error> {
        if self.unnoted.is_empty() || self.is_held {
            return Ok(());
        }
        let (to, ledger) = (self.to, self.source.ledger()?);
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        for (id, content) in self.unnoted.drain(..) {
            match content {
                Some(content) => there.push((id, content)),
                None => gone.push(id),
            }
        }
        if !there.is_empty() {
            ledger.set(to, &there)?;
        }
        for id in gone {
            ledger.unset(to, &id)?;
        }
        Ok(())
    }
}

/// A milestone, or that there is none.
pub(crate) fn there(got: Result<Milestone, StoreError>) -> Result<Option<Milestone>, StoreError> {
    match got {
        Ok(milestone) => Ok(Some(milestone)),
        Err(error) if error.problem == Problem::NotThere => Ok(None),
        Err(error) => Err(error),
    }
}
