//! A server that went back: it was restored, or failed over, and lacks what this workspace knows to have been written there.

use milescale_core::chain::{Conclusion, Link};
use milescale_workspace::error::StoreError;

use super::PostgresStore;
use super::chain::{Claim, refused};
use super::owner::Meta;

impl PostgresStore {
    /// Takes the table as it is, at a person's word. Whether it had gone back.
    pub(super) fn go_on_with_it(&mut self) -> Result<bool, StoreError> {
        self.may_be_another = true;
        self.open()?;
        let identity = self.may_write()?;
        // At no word: another server has taken over from it.
        self.compare_timeline()?;
        let statements = self.table.own();
        let went_back = self.went_back()?;
        self.claim(&identity, &statements, Claim::ByWord)?;
        self.note_used()?;
        Ok(went_back)
    }

    /// Refuses a table that is nobody's, where this workspace has written before.
    pub(super) fn is_not_emptied(&self) -> Result<(), StoreError> {
        let place = self.place();
        match self.tokens.read()?.confirmed_at(&place) {
            None => Ok(()),
            Some(Link { number, .. }) => Err(refused(
                &place,
                format!(
                    "the server went back: this workspace has made {number} writes here, and there is no trace of them. \
                     Nothing was written; look at what it holds, then `milescale doctor --fix identity` goes on from that"
                ),
            )),
        }
    }

    /// Refuses a table of this workspace's that went back, or that a copy of it has written, since it was looked at last: what it
    /// tells is nobody's edit.
    pub(super) fn is_still_ours(&mut self) -> Result<(), StoreError> {
        if self.owned.is_none() || self.connection.is_held() {
            return Ok(());
        }
        let identity = self.identity()?;
        self.find(&identity).map(drop)
    }

    /// Whether a write that this workspace knows of is not there any more, in a table that may be anybody's.
    fn went_back(&mut self) -> Result<bool, StoreError> {
        let tokens = self.tokens.read()?;
        let has_written = tokens.confirmed_at(&self.place()).is_some();
        if !self.table.has_own() {
            return Ok(has_written);
        }
        self.read(async |client, table| {
            let Some(Meta { chain: Some(chain), last: Some(last), .. }) = table.meta(client, "").await? else {
                return Ok(has_written);
            };
            Ok(table.conclusion(client, &tokens.of_chain(&chain), last).await? == Conclusion::WentBack)
        })
    }
}
