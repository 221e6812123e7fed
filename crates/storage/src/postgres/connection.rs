//! The connection to a server of PostgreSQL: made when it is needed, given up when it fails.
//!
//! Nothing outlives a transaction on the server (no session setting, no prepared statement), so that pgbouncer may hand
//! each transaction to another server process. Every transaction has a time-out on the server, and every wait one here,
//! for a server that is stopped answers nothing.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milescale_document::text::as_told;
use milescale_workspace::Workspace;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::stop::Stop;
use tokio_postgres::Client;
use tokio_postgres::error::Severity;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, Host};
use super::begin::SearchPath;
use super::dial::{Dialer, Link};
pub(super) use super::failure::{Failed, Outcome, saying_what_became};
use super::failure::{advice_unreachable, advice_without_code, grant, judge};
use super::shape::Guard;
use super::tls;
use super::waits::{Meter, Patience, WAITS, within};
use super::{begin, consent, silent};
use crate::runtime::OwnRuntime;

/// Time between two attempts to reach a server that is just starting.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);

/// How long the other hosts of an address are waited for, once one has answered that was used before.
const OTHERS_AT_MOST: Duration = Duration::from_secs(1);

/// What a server that is alive needs beyond its own time-out to say so.
const GRACE: Duration = Duration::from_secs(2);

/// What a statement without a time-out may take.
const UNLIMITED: Duration = Duration::from_hours(24);

/// How long a server is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// What a statement may take.
    pub statement: Duration,
    /// How long a server is tried again that is just starting, before anything was sent to it.
    pub reconnect: Duration,
}

/// A server, and the connection to it while there is one.
pub(super) struct Connection {
    /// Who consents to it.
    workspace: Workspace,
    runtime: OwnRuntime,
    address: Arc<Address>,
    timeouts: Timeouts,
    stop: Stop,
    /// What each transaction looks at first, once the table is known.
    guard: Option<Guard>,
    link: Option<Link>,
    /// A transaction is open that keeps other writers out; what reads meanwhile reads in it.
    is_held: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.address.shown).finish_non_exhaustive()
    }
}

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Whether a transaction as a whole has a time-out; each of its statements has one on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hurry {
    /// It has: some statements on a few rows.
    Yes,
    /// It has not: it writes a whole table. The server may not be silent for longer than a statement takes.
    No,
    /// Its statements have no time-out either. The kernel still notices a host that is gone.
    Unlimited,
}

impl Connection {
    pub(super) fn new(workspace: &Workspace, address: Address, timeouts: Timeouts) -> Result<Self, StoreError> {
        let runtime =
            OwnRuntime::new().map_err(|error| StoreError::io(&address.shown, "a runtime cannot be started", &error))?;
        let (workspace, stop) = (workspace.clone(), workspace.stop().clone());
        Ok(Self {
            workspace,
            runtime,
            address: Arc::new(address),
            timeouts,
            stop,
            guard: None,
            link: None,
            is_held: false,
        })
    }

    /// Lets each transaction look whether the tables are those that were looked at.
    pub(super) fn guard(&mut self, guard: Option<Guard>) {
        self.guard = guard;
    }

    pub(super) fn shown(&self) -> &str {
        &self.address.shown
    }

    /// Whether there is a connection, as far as is known.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// The schemas in which the session looks for names, while there is one.
    pub(super) fn path(&self) -> SearchPath {
        self.link.as_ref().map(|link| link.path.clone()).unwrap_or_default()
    }

    /// Whether other writers are kept out now.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Connects where there is no connection; whether it is a new one. Of several hosts all are heard, unless the server
    /// is `known`: then those that are silent are waited for a moment only.
    pub(super) fn connect(&mut self, known: bool) -> Result<bool, StoreError> {
        // Consent may have been taken back since; a transaction that keeps others out goes on to its end.
        let consent = if self.is_held { Ok(()) } else { consent::check(&self.workspace, &self.address) };
        if consent.is_ok() && self.link.as_ref().is_some_and(|link| !link.client.is_closed()) {
            return Ok(false);
        }
        self.link = None;
        if std::mem::take(&mut self.is_held) {
            // What is read on a new one is not held still.
            let why = "the connection that kept other writers out is lost";
            return Err(StoreError::new(Problem::Busy, self.shown(), why));
        }
        consent?;
        if let Some(error) = silent::known(self.shown()) {
            return Err(error);
        }
        let tls = MakeRustlsConnect::new(tls::config(&self.address)?);
        let dialer = Dialer { address: Arc::clone(&self.address), tls };
        let others = if known { OTHERS_AT_MOST } else { self.address.connect_timeout };
        let patience = self.patience(Meter::default());
        let end = Instant::now() + self.timeouts.reconnect;
        loop {
            // Each host has its own time; all together need no more than the grace beyond it.
            let most = self.address.connect_timeout + GRACE;
            let dialed = patience.wait(most, async { Ok::<_, Failed>(dialer.dial(others).await) });
            match self.runtime.block_on(dialed).map_err(|failed| self.failed(failed))? {
                Ok(link) => {
                    self.link = Some(link);
                    return Ok(true);
                }
                Err(failed) => {
                    let may_pass = failed.iter().any(|(_, failed)| failed.may_pass());
                    if !may_pass || self.stop.is_asked() || Instant::now() + BETWEEN_ATTEMPTS > end {
                        return Err(self.unreachable(failed));
                    }
                    self.stop.sleep(BETWEEN_ATTEMPTS);
                }
            }
        }
    }

    /// An error that says what became of each host.
    fn unreachable(&mut self, failed: Vec<(Host, Failed)>) -> StoreError {
        let is_one = failed.len() == 1;
        let is_silent = failed.iter().all(|(_, failed)| matches!(failed, Failed::Silent(_)));
        let errors: Vec<(Host, StoreError)> =
            failed.into_iter().map(|(host, failed)| (host, self.failed(failed))).collect();
        let causes = errors.iter().map(
            |(host, error)| {
                if is_one { error.cause.clone() } else { format!("{host}: {}", error.cause) }
            },
        );
        let causes: Vec<String> = causes.collect();
        let problem = errors.first().map_or(Problem::Unavailable, |(_, error)| error.problem);
        let error = StoreError::new(problem, self.shown(), causes.join("; "));
        if is_silent {
            silent::note(&error);
        }
        error
    }

    fn patience(&self, meter: Meter) -> Patience {
        Patience { meter, stop: self.stop.clone() }
    }

    /// How long a server is silent at most that is well.
    fn silence(&self) -> Duration {
        self.timeouts.statement + GRACE
    }

    /// Runs a transaction. On an error nothing of it stays; where its COMMIT got no answer, nobody knows yet: that is
    /// [`Outcome::Unknown`], and the connection is given up.
    pub(super) fn transaction<R>(
        &mut self,
        access: Access,
        hurry: Hurry,
        work: impl AsyncFnOnce(&Client) -> Result<R, Failed>,
    ) -> Result<R, Outcome> {
        let silence = self.silence();
        let Some(link) = self.link.as_ref() else { return Err(Outcome::NotDone(self.not_connected())) };
        let (client, patience) = (&link.client, self.patience(link.meter.clone()));
        if self.is_held && access == Access::Read {
            let done = self.runtime.block_on(patience.bounded(silence, work(client)));
            return done.map_err(|failed| Outcome::NotDone(self.failed(failed)));
        }
        let (begin, path) = (self.begin(link, access, hurry), &link.path);
        let guard = &mut self.guard;
        let done = self.runtime.block_on(async {
            let found =
                patience.bounded(silence, begin::on(client, &begin, path)).await.map_err(|failed| (failed, false))?;
            let work = async {
                if let Some(guard) = guard {
                    guard.check(client, access, found, &self.address.shown).await?;
                }
                work(client).await
            };
            // Each statement has its time-out on the server; a time-out here is for a server that is silent.
            let worked = match hurry {
                Hurry::Yes => patience.bounded(silence, work).await,
                Hurry::No => patience.wait(silence, work).await,
                Hurry::Unlimited => patience.wait(UNLIMITED, work).await,
            };
            match worked {
                Ok(done) => {
                    patience.bounded(silence, client.batch_execute("COMMIT")).await.map_err(|failed| (failed, true))?;
                    Ok(done)
                }
                Err(failed) => {
                    if !matches!(failed, Failed::Silent(_) | Failed::Stopped) {
                        let _ = patience.bounded(silence, client.batch_execute("ROLLBACK")).await;
                    }
                    Err((failed, false))
                }
            }
        });
        done.map_err(|(failed, in_commit)| {
            let is_silent = matches!(failed, Failed::Silent(_));
            // An error that the server answers says what became of the COMMIT, but for one that ends the connection.
            let answered = matches!(&failed, Failed::Server(error) if error.as_db_error().is_some_and(|said| {
                !matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
            }));
            let error = self.failed_in(access, failed);
            if is_silent {
                silent::note(&error);
            }
            if in_commit && !answered && access == Access::Write {
                self.link = None;
                Outcome::Unknown(error)
            } else {
                Outcome::NotDone(error)
            }
        })
    }

    fn begin(&self, link: &Link, access: Access, hurry: Hurry) -> String {
        // What keeps others from changing what is looked at comes before the look, and nothing else of theirs.
        let guard = self
            .guard
            .as_ref()
            .map_or_else(String::new, |guard| format!("{}; {}", guard.lock(access), guard.statement));
        let schemas = link.path.schemas();
        let session = (link.version, schemas.as_slice());
        let milestones = self.guard.as_ref().map_or_else(|| "NULL::oid".to_owned(), Guard::milestones);
        let begin = begin::statements(session, &milestones, access, hurry, self.timeouts.statement, self.silence());
        format!("{begin}; {guard}")
    }

    /// Begins a transaction and takes a lock in it that is kept until [`Connection::release`]; it is waited for 200 ms.
    pub(super) fn hold(&mut self, lock: &str) -> Result<(), StoreError> {
        let Some(link) = self.link.as_ref() else { return Err(self.not_connected()) };
        let begin = self.begin(link, Access::Write, Hurry::Yes);
        let statements = format!("{begin}; SET LOCAL lock_timeout = 200; {lock}");
        let patience = self.patience(link.meter.clone());
        let silence = self.silence();
        let (client, path, guard, shown) = (&link.client, &link.path, &mut self.guard, &self.address.shown);
        let held = async {
            // What is read under the lock is what was looked at, too.
            let found = patience.wait(silence, begin::on(client, &statements, path)).await?;
            let Some(guard) = guard else { return Ok(()) };
            patience.wait(silence, guard.check(client, Access::Write, found, shown)).await
        };
        match self.runtime.block_on(within(silence * WAITS, held)) {
            Ok(()) => {
                self.is_held = true;
                Ok(())
            }
            Err(failed) => {
                let error = self.failed(failed);
                self.release();
                Err(error)
            }
        }
    }

    /// Ends that transaction; nothing was written in it.
    pub(super) fn release(&mut self) {
        self.is_held = false;
        if let Some(link) = self.link.as_ref() {
            let patience = self.patience(link.meter.clone());
            let ended = patience.bounded(self.silence(), link.client.batch_execute("ROLLBACK"));
            if let Err(failed) = self.runtime.block_on(ended) {
                let error = self.failed(failed);
                tracing::debug!(%error, "the lock goes with its connection");
            }
        }
    }

    fn not_connected(&self) -> StoreError {
        StoreError::new(Problem::Unavailable, self.shown(), "there is no connection")
    }

    /// An error for a caller who reads.
    fn failed(&mut self, failed: Failed) -> StoreError {
        self.failed_in(Access::Read, failed)
    }

    /// An error for the caller. A connection that failed or is silent is given up.
    fn failed_in(&mut self, access: Access, failed: Failed) -> StoreError {
        let place = self.address.shown.clone();
        let unavailable = |cause: String| StoreError::new(Problem::Unavailable, place.clone(), cause);
        let error = match failed {
            Failed::Store(error) => return error,
            Failed::Stopped => StoreError::stopped(place),
            Failed::Silent(silence) => {
                unavailable(format!("the server has not answered for {:.0} s", silence.as_secs_f64()))
            }
            Failed::Unreachable(error) => {
                unavailable(format!("it cannot be connected to: {error}{}", advice_unreachable(&error)))
            }
            Failed::Server(error) => match error.as_db_error() {
                Some(said) => {
                    let (problem, advice) = judge(said.code(), access);
                    let advice =
                        grant(said).map_or_else(|| advice.to_owned(), |advice| self.address.without_secrets(&advice));
                    // A trigger may say anything (RAISE).
                    let message = as_told(&self.address.without_secrets(said.message()));
                    StoreError::new(problem, place, format!("{message}{advice}"))
                }
                None => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                    let refused = self.link.as_ref().and_then(|link| link.meter.refused());
                    unavailable(
                        refused.map_or_else(|| format!("{error}{cause}{}", advice_without_code(&cause)), str::to_owned),
                    )
                }
            },
        };
        if matches!(error.problem, Problem::Unavailable | Problem::Stopped) {
            self.link = None;
        }
        error
    }
}
