//! Whose a table is, and whether what is written there continues what this workspace knows.

use milescale_core::chain::{Chain, Conclusion, Link, Token};
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::identity::Identity;
use milescale_workspace::tokens::{self, Tokens};
use tokio_postgres::{Client, Error};

use super::chain::{Owned, refused};
use super::connection::Failed;
use super::documents::Table;
use super::owner::Meta;

/// A table that was found to be this workspace's to write.
pub(super) struct Ours {
    pub(super) owned: Owned,
    pub(super) last: Link,
    pub(super) confirmed: Option<Link>,
    /// Others may push a token out of the list that is as old as this one.
    pub(super) is_old: bool,
}

impl Table {
    /// Whose it is and whether somebody else has written; `None`: nobody's.
    pub(super) async fn judge(
        &self,
        client: &Client,
        (identity, tokens): (&Identity, &Tokens),
        (token, lock): (Option<Token>, &str),
        place: &str,
    ) -> Result<Option<Ours>, Failed> {
        let refused = |cause: String| Failed::Store(refused(place, cause));
        let Some(meta) = self.meta(client, lock).await? else { return Ok(None) };
        if meta.table.is_some() && !self.is_found_as(meta.table) {
            let cause = "another table has taken its name since it was looked at; try again";
            return Err(StoreError::new(Problem::Corrupt, place, cause).into());
        }
        meta.is_of(identity).map_err(refused)?;
        let Meta { epoch, chain: Some(chain), last: Some(last), written, path, .. } = meta else { return Ok(None) };
        // Read once the row cannot change any more: what is on the server was drawn before.
        let known = tokens.read()?.of_chain(&chain);
        let confirmed = known.confirmed();
        let concluded = match self.conclusion(client, &known, last).await? {
            // Without a lock other processes write meanwhile: what they have confirmed by now is not to be looked for in a row read before.
            Conclusion::WentBack if lock.is_empty() && !self.went_back(client, &chain, &known).await? => {
                Conclusion::Continues
            }
            concluded => concluded,
        };
        match concluded {
            Conclusion::Continues => {}
            Conclusion::Copied => {
                return Err(refused(format!(
                    "another copy of this workspace wrote here at {written} (its path is {path}), or the folder of this one \
                     was restored from a backup; nothing was written. `milescale doctor --fix identity` asks which of them \
                     goes on"
                )));
            }
            Conclusion::WentBack => {
                return Err(refused(format!(
                    "the server went back: its last write of milescale's is number {} of {written}, and number {} is known \
                     to have been there. It was restored, or failed over and lost writes; nothing was written. Look at what \
                     it holds, then `milescale doctor --fix identity` goes on from that",
                    last.number,
                    confirmed.map_or(0, |link| link.number)
                )));
            }
        }
        let is_old = token.is_some_and(|token| known.is_old(token, tokens::KEPT));
        Ok(Some(Ours { owned: Owned { epoch, chain }, last, confirmed, is_old }))
    }

    /// Whether the row, as it is by now, lacks what was known before it was read.
    async fn went_back(&self, client: &Client, chain: &str, known: &Chain) -> Result<bool, Error> {
        match self.meta(client, "").await? {
            Some(Meta { chain: Some(now), last: Some(last), .. }) if now == chain => {
                Ok(self.conclusion(client, known, last).await? == Conclusion::WentBack)
            }
            _ => Ok(true),
        }
    }

    /// What the last link on the server says beside what is known of its chain.
    pub(super) async fn conclusion(&self, client: &Client, known: &Chain, last: Link) -> Result<Conclusion, Error> {
        let since = self.links(client, known.confirmed().map_or(last.number, |link| link.number)).await?;
        Ok(known.conclude(last, &since))
    }
}
