//! A content that is kept as a conflict, and what is told of it.

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::digest::Digest;
use milescale_storage::archive::Archive;
use milescale_workspace::Place;
use milescale_workspace::conflicts::{Conflict, Keeper};
use std::io;

use crate::context::{Context, Error};
use crate::told::Told;

/// How a content is kept: its path, and whether it was not kept before.
type Keep = fn(&mut Keeper, &Conflict, &[u8], Timestamp) -> io::Result<(Place, bool)>;

/// A content in conflict with another one.
#[derive(Debug)]
pub(crate) struct InConflict<'a> {
    /// The milestone.
    pub(crate) id: &'a str,
    /// The content's text.
    pub(crate) text: &'a [u8],
    /// The side that it is of.
    pub(crate) side: Side,
    /// Where it stands.
    pub(crate) place: &'a str,
    /// Why it is not taken over.
    pub(crate) reason: String,
    /// The digest of what it is in conflict with, where there is such a content.
    pub(crate) current: Option<Digest>,
    /// Where that stands.
    pub(crate) current_place: String,
    /// The backup of the migration that left its side.
    pub(crate) backup: Option<String>,
}

impl InConflict<'_> {
    /// Keeps it durably. What is to be told of it, and whether it was not kept before. `keeper` is opened once for many.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn keep(self, keeper: &mut Option<Keeper>, context: &Context<'_>) -> Result<(Told, bool), Error> {
        self.keep_by(Keeper::keep, keeper, context)
    }

    /// The same, also where the content is kept for another reason already.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn keep_for_its_reason(
        self,
        keeper: &mut Option<Keeper>,
        context: &Context<'_>,
    ) -> Result<(Told, bool), Error> {
        self.keep_by(Keeper::keep_for_its_reason, keeper, context)
    }

    fn keep_by(self, by: Keep, keeper: &mut Option<Keeper>, context: &Context<'_>) -> Result<(Told, bool), Error> {
        let failed = |error: std::io::Error| Error::own(".milescale/conflicts", &error);
        let opened = match keeper.take() {
            Some(opened) => opened,
            None => Keeper::open(context.workspace, Box::new(Archive::new(context.workspace))).map_err(failed)?,
        };
        let Self { id, text, side, place, reason, current, current_place, backup } = self;
        let (id, place) = (id.to_owned(), place.to_owned());
        let conflict = Conflict {
            name: String::new(),
            id: id.clone(),
            at: context.stamp(),
            side: Some(side),
            place: place.clone(),
            reason: reason.clone(),
            current,
            backup,
            others: None,
        };
        let (path, is_new) = by(keeper.insert(opened), &conflict, text, context.now()).map_err(failed)?;
        let kept_as = context.workspace.shown(&path);
        Ok((Told::Conflict { id, kept_as, place, current: current_place, reason }, is_new))
    }
}
