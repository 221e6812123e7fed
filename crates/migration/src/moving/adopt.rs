//! A target that another program has filled, taken over: every base counts as lost. What is equal stays, what is missing is
//! inserted, and where they differ one of the two is kept as a conflict.
//!
//! Where the target wins, nothing of it is touched before the cutover: the first sweep after it finds each difference, and keeps
//! what the source holds.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use milescale_core::migration::Adopt;
use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone};
use milescale_storage::scan::scan_as;
use milescale_storage::store::{Seen, Store};
use milescale_workspace::conflicts;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::record::{Adopting, Intent, taken_over_by};
use serde::Serialize;

use super::Moving;
use crate::compare::hash;
use crate::context::{Context, Error};
use crate::keeping::InConflict;
use crate::level::{Pair, there};
use crate::plan::Obstacle;

/// Obstacles in milestones of the target that are named.
const NAMED: usize = 50;

/// How the milestones of source and target compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Comparison {
    /// The same on both sides; comments that the target lacks are brought over.
    pub equal: u64,
    /// In the source only: they are inserted.
    pub missing: u64,
    /// On both sides with different contents: one of the two is kept as a conflict.
    pub different: u64,
    /// In the target only: they stay, and are milestones from then on.
    pub only_in_target: u64,
}

/// Compares source and target by content, and finds what keeps the target from being taken over. `strange` are the milestones of
/// the target that a move that failed has not left there: the others go.
pub(crate) fn compare(
    source: &mut dyn Store,
    target: &mut dyn Store,
    strange: &[String],
    context: &Context<'_>,
) -> Result<(Comparison, Vec<Obstacle>), Error> {
    let (mut there, mut against, mut stopped) = (HashMap::new(), Vec::new(), Ok(()));
    let mut obstacle = |place: String, line: Option<u32>, reason: String, do_this: &str| {
        if against.len() < NAMED {
            against.push(Obstacle { place, line, reason, do_this: do_this.to_owned() });
        }
    };
    let strange: HashSet<&str> = strange.iter().map(String::as_str).collect();
    let of = |it: Milestone| (it.said(), it.value.err(), it.id, it.place);
    scan_as(target, of, &mut |(said, flaw, id, place)| {
        if !strange.contains(id.as_str()) {
            return ControlFlow::Continue(());
        }
        if let Some(Flaw { position, reason }) = flaw {
            obstacle(place.clone(), position.map(|it| it.line), reason, "mend it, or take it out");
        }
        if let Err(bad) = id.parse::<Id>() {
            obstacle(place.clone(), None, bad.to_string(), "give it another id");
        }
        if there.insert(hash(&id), said).is_some() {
            obstacle(place, None, "its id stands a second time".to_owned(), "rename or remove one of the two");
        }
        stopped = context.go_on();
        if stopped.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    stopped?;
    let (mut comparison, mut stopped) = (Comparison::default(), Ok(()));
    scan_as(source, |it: Milestone| (hash(&it.id), it.said()), &mut |(id, said)| {
        let count = match there.remove(&id) {
            Some(there) if there.differs(&said) => &mut comparison.different,
            Some(_) => &mut comparison.equal,
            None => &mut comparison.missing,
        };
        *count += 1;
        stopped = context.go_on();
        if stopped.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    stopped?;
    comparison.only_in_target = there.len() as u64;
    Ok((comparison, against))
}

/// What becomes of a milestone of the target that the move has not brought.
pub(crate) enum Foreign {
    /// It is in the way: the target is not taken over.
    InTheWay,
    /// It stays as it is.
    Stays,
    /// The source's is written over it; what it holds is kept.
    Replaced,
}

/// How a move takes over its target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TakeOver {
    how: Adopt,
    epoch: u64,
}

impl TakeOver {
    /// Why a content of the target was kept: by this an undo knows it.
    fn reason(self) -> String {
        taken_over_by(self.epoch)
    }
}

impl Pair<'_> {
    /// Judges a milestone of the target that this move has not brought; `wanted` is the source's, where it has one.
    pub(crate) fn foreign(
        &mut self,
        wanted: Option<&Draft>,
        there: &Milestone,
        context: &Context<'_>,
    ) -> Result<Foreign, Error> {
        let Some(take_over) = self.take_over else { return Ok(Foreign::InTheWay) };
        let Some(wanted) = wanted.filter(|wanted| wanted.said().differs(&there.said())) else {
            return Ok(Foreign::Stays);
        };
        if take_over.how == Adopt::TargetWins {
            return Ok(Foreign::Stays);
        }
        let in_conflict = InConflict {
            id: &there.id,
            text: &there.text,
            side: self.to,
            place: &there.place,
            reason: take_over.reason(),
            current: Some(wanted.content().text),
            current_place: there.place.clone(),
            backup: None,
        };
        let (told, is_new) = in_conflict.keep_for_its_reason(&mut self.keeper, context)?;
        if is_new {
            self.kept.push(told);
        }
        Ok(Foreign::Replaced)
    }
}

impl Moving<'_, '_> {
    /// How the target is taken over, where it is.
    pub(super) fn take_over(&self) -> Option<TakeOver> {
        let intent = self.intent()?;
        intent.adopt.map(|adopting| TakeOver { how: adopting.how, epoch: intent.epoch })
    }

    /// Begins: what the target's ledger says of the source from now on is of this move.
    pub(super) fn begin_to_take_over(&mut self, target: &mut dyn Store) -> Result<(), Error> {
        // What a move that failed has left there for a person to look at is no other program's.
        let is_begun = self.intent().and_then(|intent| intent.adopt).is_some_and(|adopting| adopting.begun);
        if !is_begun && self.record.has_failed_last(self.to) && target.is_another()?.is_none() {
            target.clear(self.from.side(), self.context.now())?;
        }
        target.ledger()?.forget(self.from.side())?;
        if let Some(adopt) = self.record.intent.as_mut().and_then(|intent| intent.adopt.as_mut()) {
            adopt.begun = true;
        }
        self.context.save(&self.record)
    }

    /// Undoes it: what was written over comes back, what was inserted goes, each where it is still what this move wrote.
    pub(super) fn give_back(&mut self, intent: &Intent, adopting: Adopting) -> Result<(), Error> {
        if !adopting.begun {
            return Ok(());
        }
        let from = self.from.side();
        let mut target = self.context.open(self.to)?;
        let mut keeper = None;
        self.keep_what_is_nowhere_else(&mut *target, intent, &mut keeper)?;
        let unreadable = conflicts::unreadable(self.context.workspace);
        if let Some((name, error)) = unreadable.map_err(|error| Error::own(".milescale/conflicts", &error))? {
            // It may be what is to be given back.
            let place = format!("{}/{name}", self.context.workspace.shown(&self.context.workspace.conflicts()));
            let cause =
                format!("{error}; whoever it belongs to can undo the move (`milescale check`), and nobody else");
            return Err(StoreError::new(Problem::Unavailable, place, cause).into());
        }
        let kept = conflicts::names(self.context.workspace)
            .map_err(|error| Error::own(".milescale/conflicts", &error))?
            .into_iter()
            .map(|name| conflicts::one(self.context.workspace, name))
            .filter(|it| intent.gives_back(it))
            .collect::<Vec<_>>();
        for it in kept {
            let Ok(id) = it.id.parse::<Id>() else { continue };
            let now = there(target.get(&id))?;
            // What this move wrote last, which may be later than what it kept the target's content for.
            let known = target.ledger()?.bases(from, std::slice::from_ref(&it.id))?;
            let written = known.get(&it.id).map(|known| known.content.text);
            let is_ours = |now: &Milestone| written == Some(now.digest()) || it.current == Some(now.digest());
            let Some(now) = now.filter(is_ours) else {
                // Somebody has changed the row since: its content of before is nowhere else, and stays a conflict.
                target.ledger()?.unset(from, id.as_str())?;
                continue;
            };
            let text = conflicts::text(self.context.workspace, &it.name)
                .map_err(|error| Error::own(&format!(".milescale/conflicts/{}", it.name), &error))?;
            let seen = Digest::of(&text);
            let draft = Draft::kept(id.clone(), text, self.context.now())
                .map_err(|flaw| Error::Refused(format!("{}: {flaw}", now.place)))?;
            target.put(&draft, Seen::Text(now.digest()))?;
            target.ledger()?.unset(from, id.as_str())?;
            conflicts::settle(self.context.workspace, &it.name, Some(seen), self.context.now())
                .map_err(|error| Error::own(".milescale/conflicts", &error))?;
        }
        for id in target.clear(from, self.context.now())? {
            let Ok(named) = id.parse::<Id>() else { continue };
            if let Some(there) = there(target.get(&named))? {
                let reason = "it was written into the target of a move that was undone, and stands there";
                self.keep_left(&there, reason, intent, &mut keeper)?;
            }
        }
        Ok(())
    }
}
