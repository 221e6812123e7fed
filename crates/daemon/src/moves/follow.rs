//! A store that somebody has named by hand, followed at a person's word: for the last one is gone, and proves nothing any more.

use std::collections::BTreeSet;

use milescale_core::backend::InUse;
use milescale_core::base::Side;
use milescale_core::line::EventName;
use milescale_migration::Said;
use milescale_migration::follow_unread;
use milescale_storage::open::Which;
use milescale_storage::presence::Presence;
use serde_json::json;

use super::{Mover, now};
use crate::access::{in_use, lost_files};
use crate::sources::opened::{LastIds, is_no_other_old_store};

/// A named store that nothing speaks for but a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// The store that was in use.
    pub last: InUse,
    /// Why it cannot be read.
    pub why: String,
    /// The store that marker and configuration name.
    pub named: InUse,
    /// Milestones that the named store holds.
    pub there: u64,
    /// Milestones that the last store held when it was read last and the named one does not hold; `None`: that is not known.
    pub missing: Option<Vec<String>>,
}

impl Mover {
    /// The store that is named and not followed because the last one cannot be read, be it one that has been put in its place;
    /// `None`: there is no such store.
    ///
    /// # Errors
    /// When the named store cannot be read either.
    pub fn unproven(&self) -> Result<Option<Unproven>, String> {
        let (last, named, _) = in_use(&self.workspace, &self.keeper)?;
        let open = |it: InUse| Which::of(it, self.config()).open(&self.workspace, 0);
        // A server's table has an identity, which is another question.
        if last == named
            && !(last.side() == Side::Sqlite
                && open(last).is_ok_and(|mut it| it.is_another().is_ok_and(|why| why.is_some())))
        {
            return Ok(None);
        }
        let open_named = || {
            let mut store = open(named)?;
            store.may_be_another();
            store.ids()
        };
        let asked = || lost_files(&self.workspace, last).map_or_else(|| open(last)?.ids(), Err);
        let Err(why) = asked() else { return Ok(None) };
        // Another user can read it: the one who asks is no measure of what is lost.
        if let Ok(Presence::Closed(why)) = open(last).map(|mut it| Presence::of(&mut *it, last.side())) {
            return Err(why);
        }
        let there = open_named().map_err(|error| error.to_string())?;
        let there: BTreeSet<String> = there.into_iter().collect();
        let missing = self.last_ids()?.map(|ids| ids.into_iter().filter(|id| !there.contains(id)).collect());
        Ok(Some(Unproven { last, why: why.to_string(), named, there: there.len() as u64, missing }))
    }

    /// The ids that the last store held when it was read last, where that is known.
    pub(super) fn last_ids(&self) -> Result<Option<Vec<String>>, String> {
        LastIds::written_down(&self.workspace)
            .map_err(|error| format!("{}: {error}", self.workspace.shown(&self.workspace.last_ids())))
    }

    /// Follows it from now on, as after a cutover; the daemon goes along at its next look.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn follow(&self, unproven: &Unproven) -> Result<(), String> {
        let Unproven { last, named, .. } = unproven;
        let begun = self.begin(Said::IsGone(last.side()), &mut |_| {})?;
        if begun.now.unproven()?.as_ref() != Some(unproven) {
            return Err("what is in use has changed meanwhile; look at it anew".to_owned());
        }
        // Where it was, nothing need say any more.
        let name = self.open(*last).map_or_else(|_| last.to_string(), |store| store.name());
        let mut store = self.open(*named)?;
        is_no_other_old_store(&self.workspace, *named, &mut *store)?;
        store.may_be_another();
        follow_unread(&self.workspace, (*named, &mut *store), (*last, name), now())
            .map_err(|error| error.to_string())?;
        self.say(
            EventName::BackendChanged,
            json!({ "from": last.backend, "to": named.backend, "from_engine": last.engine, "to_engine": named.engine,
                    "adopted": true, "reason": "a person said so; the last store cannot be read any more" }),
        );
        Ok(())
    }
}
