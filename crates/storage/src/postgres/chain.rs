//! Writing through the chain of tokens ([`milescale_core::chain`]): every writing transaction locks the row of
//! `milescale_meta`, finds a token there that this workspace has drawn, and replaces it by a new one. By that token a
//! COMMIT that got no answer is found again.

use std::thread::sleep;
use std::time::{Duration, Instant};

use milescale_core::chain::{Confirming, Link, Token, contradicts};
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::identity::Identity;
use milescale_workspace::known::Known;
use milescale_workspace::tokens::{self, Tokens};
use tokio_postgres::Client;

use super::PostgresStore;
use super::begin::IDLE_AT_MOST;
use super::connection::{Access, Failed, Hurry, Outcome};
use super::documents::Table;
use super::owner::{KEPT_LINKS, belongs};
use super::shape;

/// How often a server that does not answer is asked what became of a COMMIT.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What this store knows of its table since it has seen that it is this workspace's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    /// The table's epoch: the number of the move that filled it.
    pub(super) epoch: i64,
    /// The name of its chain.
    pub(super) chain: String,
}

/// A link that a transaction has made.
#[derive(Debug, Clone, Copy)]
struct Linked {
    link: Link,
    before: Option<Link>,
    /// The confirmed link that the server was seen to have then.
    checked: Option<Link>,
}

/// Why a table is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is in use, or an old store.
    AsFound,
    /// It is to be filled.
    ToFill,
    /// A person says so, whatever is there.
    ByWord,
}

impl PostgresStore {
    /// What people call the table.
    pub(super) fn place(&self) -> String {
        format!("{}, table {}", self.connection.shown(), self.table.named("milestones"))
    }

    /// The workspace's identity, where it may write on servers.
    pub(super) fn may_write(&self) -> Result<Identity, StoreError> {
        let identity = self.identity()?;
        match &identity.doubt {
            None => Ok(identity),
            Some(doubt) => Err(refused(
                &self.place(),
                format!(
                    "this workspace, {}, may be a copy: {doubt}. Nothing was written; `milescale doctor --fix identity` asks \
                     whether this one goes on or is a separate one",
                    identity.path
                ),
            )),
        }
    }

    /// Whether the table is another workspace's, by its number.
    pub(super) fn is_anothers(&mut self) -> Result<bool, StoreError> {
        self.open()?;
        if !self.table.has_meta() {
            return Ok(false);
        }
        let identity = self.identity()?;
        let owner = self.read(async |client, table| Ok(table.owner(client).await?))?;
        Ok(owner.is_some_and(|(number, _)| number != identity.number))
    }

    /// Finds that the table is this workspace's to write, without a lock; makes it so where it is nobody's, or of an older
    /// milescale of this workspace.
    pub(super) fn ensure(&mut self, claim: Claim) -> Result<(), StoreError> {
        self.open()?;
        let identity = self.may_write()?;
        // A server that was failed over and came back is told as such.
        self.compare_timeline()?;
        if !self.find(&identity)? {
            let statements = self.table.own();
            self.claim(&identity, &statements, claim)?;
            // Another process may have been first.
            if self.owned.is_none() && !self.find(&identity)? {
                let cause = "milescale_meta says nothing of it; try again";
                return Err(StoreError::new(Problem::Busy, self.place(), cause));
            }
        }
        Ok(())
    }

    /// Looks whose the table is. `false`: nobody's, or an older milescale's.
    pub(super) fn find(&mut self, identity: &Identity) -> Result<bool, StoreError> {
        self.open()?;
        let (place, tokens) = (self.place(), self.tokens.clone());
        let ours = self.read(async |client, table| {
            if table.has_own() {
                return table.judge(client, (identity, &tokens), (None, ""), &place).await;
            }
            if table.has_meta()
                && let Some((number, path)) = table.owner(client).await?
            {
                belongs(identity, &number, &path).map_err(|cause| refused(&place, cause))?;
            }
            Ok(None)
        })?;
        self.owned = ours.map(|ours| ours.owned);
        Ok(self.owned.is_some())
    }

    /// Begins a chain, in one transaction with `statements`, which make what is missing.
    pub(super) fn claim(&mut self, identity: &Identity, statements: &str, claim: Claim) -> Result<(), StoreError> {
        let place = self.place();
        if claim == Claim::AsFound {
            self.is_not_emptied()?;
        }
        let failed = |error| StoreError::io(&place, "no number can be drawn", &error);
        let chain = tokens::new_chain().map_err(failed)?;
        let link = Link { number: 1, token: self.tokens.draw(&chain)? };
        let (table, shown) = (self.table.clone(), self.connection.shown().to_owned());
        let mut epoch = None;
        let done = self.connection.transaction(Access::Write, Hurry::Yes, async |client| {
            shape::make(client, &table, statements, &shown).await?;
            let there = table.meta(client, "FOR UPDATE").await?;
            if let Some(meta) = there.as_ref().filter(|_| claim != Claim::ByWord) {
                meta.is_of(identity).map_err(|cause| refused(&place, cause))?;
                if meta.chain.is_some() {
                    return Ok(());
                }
            }
            if table.begin_chain(client, identity, (&chain, link), there.is_some()).await? {
                epoch = Some(there.map_or(0, |meta| meta.epoch));
            }
            Ok(())
        });
        self.ended(done, link)?;
        self.owned = epoch.map(|epoch| Owned { epoch, chain: chain.clone() });
        self.table.forget();
        self.open()?;
        match epoch {
            Some(_) => {
                self.confirm(&chain, Linked { link, before: None, checked: None })?;
                // Another table of this name with a chain of before is not the one that goes on.
                self.tokens.let_go(&place, &chain)?;
                if self.known()? == Known::Not { Ok(()) } else { self.note_used() }
            }
            None => Ok(()),
        }
    }

    /// Runs a transaction that writes, if the table is this workspace's and nobody else has written in its name.
    ///
    /// # Errors
    /// Those of `work`, and of a table that may not be written: then nothing was written. [`Problem::Unknown`] where the
    /// COMMIT got no answer and the server could not be asked what became of it.
    pub(super) fn write<R>(
        &mut self,
        hurry: Hurry,
        work: impl AsyncFnOnce(&Client, &Table) -> Result<R, Failed>,
    ) -> Result<R, StoreError> {
        self.adopted()?;
        let (identity, place) = (self.may_write()?, self.place());
        let Some(owned) = self.owned.clone() else {
            return Err(StoreError::new(Problem::Busy, place, "whose it is changes just now; try again"));
        };
        let token = self.tokens.draw(&owned.chain)?;
        let (table, tokens, mut linked, mut result) = (&self.table, &self.tokens, None, None);
        let done = self.connection.transaction(Access::Write, hurry, async |client| {
            let made = link(client, table, (&identity, tokens), (&owned, token), &place).await?;
            linked = Some(made);
            result = Some(work(client, table).await?);
            Ok(())
        });
        let done = done.map_err(Outcome::saying_what_became);
        match &done {
            Err(Outcome::NotDone(error)) if error.problem == Problem::Refused => self.owned = None,
            // It is looked at anew by whoever comes next.
            Err(Outcome::NotDone(error)) if error.problem == Problem::Corrupt => self.table.forget(),
            _ => {}
        }
        let Some(linked) = linked else { return Err(done.map_or_else(Outcome::error, |()| no_result(&place))) };
        self.ended(done, linked.link)?;
        self.confirm(&owned.chain, linked)?;
        result.ok_or_else(|| no_result(&place))
    }

    /// What became of a transaction. Where its COMMIT got no answer, its token tells.
    fn ended(&mut self, done: Result<(), Outcome>, link: Link) -> Result<(), StoreError> {
        let error = match done {
            Ok(()) => return Ok(()),
            Err(Outcome::NotDone(error)) => return Err(error),
            Err(Outcome::Unknown(error)) => error,
        };
        // The server ends a transaction whose program is silent: after that it is known.
        let patience = self.statement_timeout.max(IDLE_AT_MOST + ASK_EVERY);
        let end = Instant::now() + patience;
        let why = loop {
            match self.has_happened(link) {
                Ok(Some(true)) => return Ok(()),
                Ok(Some(false)) => {
                    let cause = format!("{}; the COMMIT did not happen: nothing was written. Try again", error.cause);
                    return Err(StoreError { problem: Problem::Unavailable, cause, ..error });
                }
                Ok(None) => break "too many writes came after it".to_owned(),
                Err(error) if Instant::now() >= end => break error.cause,
                Err(_) => sleep(ASK_EVERY),
            }
        };
        let cause = format!(
            "{}; whether it was written is not known, for the server could not be asked for {} s ({why}). Look at it once the \
             server answers (`milescale milestone show`), before you write it again",
            error.cause,
            patience.as_secs()
        );
        Err(StoreError { problem: Problem::Unknown, cause, ..error })
    }

    /// Whether the transaction of a link was committed. Asked behind the lock of the row, for which its COMMIT, where it is
    /// still under way, is waited for. `None`: so many came after it that nobody knows.
    fn has_happened(&mut self, link: Link) -> Result<Option<bool>, StoreError> {
        self.connect()?;
        let (table, mut answer) = (&self.table, None);
        let asked = self.connection.transaction(Access::Write, Hurry::Yes, async |client| {
            client.batch_execute("SET LOCAL lock_timeout = 0").await?;
            // Where even the table is missing, what made it was not committed.
            if !table.has_links(client).await? {
                answer = Some(Some(false));
                return Ok(());
            }
            let last = table.meta(client, "FOR UPDATE").await?.and_then(|meta| meta.last);
            let is_there = table.links(client, link.number).await?.contains(&link);
            let is_gone = last.is_some_and(|last| last.number >= link.number.saturating_add(KEPT_LINKS));
            answer = Some(if is_there || !is_gone { Some(is_there) } else { None });
            Ok(())
        });
        // Nothing is written here: what was seen under the lock is seen, however the transaction ends.
        answer.map_or_else(|| asked.map(|()| None).map_err(Outcome::error), Ok)
    }

    /// Notes that a link is on the server, before anybody is told. What other processes have confirmed meanwhile is
    /// compared with the server first, so that one that went back is noticed.
    fn confirm(&mut self, chain: &str, Linked { link, before, mut checked }: Linked) -> Result<(), StoreError> {
        let place = self.place();
        loop {
            match self.tokens.confirm((chain, &place), link, before, checked) {
                Ok(Confirming::Note | Confirming::Done) => return Ok(()),
                Ok(Confirming::Ask(other)) => match self.has_all(&[link, other]) {
                    Ok(true) => checked = Some(other),
                    Ok(false) => return Err(gone_again(&place)),
                    // It was answered: it is written, as far as anybody can know now.
                    Err(error) => {
                        tracing::debug!(%error, "a write cannot be compared with others of this moment");
                        return Ok(());
                    }
                },
                Ok(Confirming::WentBack) => return Err(gone_again(&place)),
                Err(error) => {
                    tracing::warn!(%error, "a write on the server cannot be noted here");
                    return Ok(());
                }
            }
        }
    }

    fn has_all(&mut self, links: &[Link]) -> Result<bool, StoreError> {
        let from = links.iter().map(|link| link.number).min().unwrap_or_default();
        self.read(async |client, table| {
            let Some(last) = table.meta(client, "").await?.and_then(|meta| meta.last) else { return Ok(false) };
            let kept = table.links(client, from).await?;
            let of = |number: u64| kept.iter().find(|link| link.number == number).map(|link| link.token);
            Ok(links.iter().all(|link| !contradicts(last, of(link.number), *link)))
        })
    }
}

/// Locks the row, judges what is there, and replaces it.
async fn link(
    client: &Client,
    table: &Table,
    (identity, tokens): (&Identity, &Tokens),
    (owned, token): (&Owned, Token),
    place: &str,
) -> Result<Linked, Failed> {
    let judged = table.judge(client, (identity, tokens), (Some(token), "FOR UPDATE"), place).await?;
    let Some(ours) = judged else {
        return Err(refused(place, "it belongs to no workspace any more: milescale_meta is empty".to_owned()).into());
    };
    if ours.owned.epoch != owned.epoch {
        let cause = format!(
            "it is of epoch {}, and not of {} any more: it was moved or restored",
            ours.owned.epoch, owned.epoch
        );
        return Err(StoreError::new(Problem::Unavailable, place, cause).into());
    }
    if ours.owned.chain != owned.chain {
        return Err(refused(place, "its chain was begun anew in this moment; try again".to_owned()).into());
    }
    if ours.is_old {
        tokens.add(&owned.chain, token)?;
    }
    let link = Link { number: ours.last.number + 1, token };
    table.set_link(client, identity, link).await?;
    Ok(Linked { link, before: Some(ours.last), checked: ours.confirmed })
}

pub(super) fn refused(place: &str, cause: String) -> StoreError {
    StoreError::new(Problem::Refused, place, cause)
}

fn no_result(place: &str) -> StoreError {
    StoreError::new(Problem::Unavailable, place, "the transaction ended without a result; try again")
}

fn gone_again(place: &str) -> StoreError {
    let cause = "it was written, and the server went back in this moment: it was restored, or failed over and lost writes. Look \
                 at what it holds; `milescale doctor --fix identity` goes on from that";
    StoreError::new(Problem::Unknown, place, cause)
}
