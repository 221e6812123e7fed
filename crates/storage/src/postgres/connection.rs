//! The connection to a server of PostgreSQL: made when it is needed, given up when it fails.
//!
//! Nothing outlives a transaction on the server (no session setting, no prepared statement), so that pgbouncer may hand
//! each transaction to another server process. Every transaction has a time-out on the server, and every wait one here,
//! for a server that is stopped answers nothing.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::Target;
use crate::error::{Problem, StoreError};
use crate::runtime::OwnRuntime;

/// How long a whole connection may take, authentication included.
const CONNECT_AT_MOST: Duration = Duration::from_secs(10);

/// What a server that is alive needs beyond its own time-out to say so.
const GRACE: Duration = Duration::from_secs(2);

/// What a transaction that writes a whole table may take.
const UNHURRIED: Duration = Duration::from_hours(24);

/// Milliseconds that a statement waits for a lock of another program.
const LOCK_TIMEOUT_MILLISECONDS: u32 = 5000;

/// Rows that a policy hides are an error, and never silently missing.
const NOTHING_HIDDEN: &str = "SET LOCAL row_security = off";

/// A server, and the connection to it while there is one.
pub(super) struct Connection {
    runtime: OwnRuntime,
    target: Target,
    /// How long a statement may take.
    statement_timeout: Duration,
    client: Option<Client>,
    /// A transaction is open that keeps other writers out; what reads meanwhile reads in it.
    is_held: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("target", &self.target.shown).finish_non_exhaustive()
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
    /// It has not: it writes a whole table. The kernel still notices a host that is gone.
    No,
}

/// Why a transaction did not come to its end.
#[derive(Debug)]
pub(super) enum Failed {
    Server(tokio_postgres::Error),
    Store(StoreError),
    /// The server did not answer in time.
    Silent,
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Connection {
    pub(super) fn new(target: Target, statement_timeout: Duration) -> Result<Self, StoreError> {
        let runtime =
            OwnRuntime::new().map_err(|error| StoreError::io(&target.shown, "a runtime cannot be started", &error))?;
        Ok(Self { runtime, target, statement_timeout, client: None, is_held: false })
    }

    pub(super) fn shown(&self) -> &str {
        &self.target.shown
    }

    /// Whether there is a connection, as far as is known.
    pub(super) fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    /// Connects where there is no connection. Whether it is a new one.
    pub(super) fn connect(&mut self) -> Result<bool, StoreError> {
        if self.client.as_ref().is_some_and(|client| !client.is_closed()) {
            return Ok(false);
        }
        self.client = None;
        let tls = MakeRustlsConnect::new(self.tls()?);
        let config = self.target.config.clone();
        let connected = self.runtime.block_on(within(CONNECT_AT_MOST, async {
            let (client, connection) = config.connect(tls).await?;
            // It ends with the client; what it says at its end the client says too.
            tokio::spawn(connection);
            Ok(client)
        }));
        self.client = Some(connected.map_err(|failed| self.failed(failed, CONNECT_AT_MOST))?);
        Ok(true)
    }

    /// Runs a transaction. On an error nothing of it stays; where its COMMIT got no answer, nobody knows yet: that is
    /// [`Outcome::Unknown`], and the connection is given up.
    pub(super) fn transaction<R>(
        &mut self,
        access: Access,
        hurry: Hurry,
        work: impl AsyncFnOnce(&Client) -> Result<R, Failed>,
    ) -> Result<R, Outcome> {
        let begin = format!(
            "BEGIN {}; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}; \
             {NOTHING_HIDDEN}",
            match access {
                Access::Read => "READ ONLY",
                Access::Write => "",
            },
            self.statement_timeout.as_millis()
        );
        let patience = self.statement_timeout + GRACE;
        let Some(client) = self.client.as_ref() else { return Err(Outcome::NotDone(self.not_connected())) };
        if self.is_held && access == Access::Read {
            let done = self.runtime.block_on(within_own(patience * 4, work(client)));
            return done.map_err(|failed| Outcome::NotDone(self.failed(failed, patience)));
        }
        let done = self.runtime.block_on(async {
            within(patience, client.batch_execute(&begin)).await.map_err(|failed| (failed, false))?;
            // Each statement has its time-out on the server; that the whole has one here is for a server that is silent.
            let whole = match hurry {
                Hurry::Yes => patience * 4,
                Hurry::No => UNHURRIED,
            };
            match within_own(whole, work(client)).await {
                Ok(done) => {
                    within(patience, client.batch_execute("COMMIT")).await.map_err(|failed| (failed, true))?;
                    Ok(done)
                }
                Err(failed) => {
                    if !matches!(failed, Failed::Silent) {
                        let _ = within(patience, client.batch_execute("ROLLBACK")).await;
                    }
                    Err((failed, false))
                }
            }
        });
        done.map_err(|(failed, in_commit)| {
            // An answer of the server, even an error, says what became of the COMMIT.
            let answered = matches!(&failed, Failed::Server(error) if error.as_db_error().is_some());
            let error = self.failed(failed, patience);
            if in_commit && !answered && access == Access::Write {
                self.client = None;
                Outcome::Unknown(error)
            } else {
                Outcome::NotDone(error)
            }
        })
    }

    /// Begins a transaction and takes a lock in it that is kept until [`Connection::release`]; it is waited for 200 ms.
    pub(super) fn hold(&mut self, lock: &str) -> Result<(), StoreError> {
        let begin = format!(
            "BEGIN; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = 200; {NOTHING_HIDDEN}; {lock}",
            self.statement_timeout.as_millis()
        );
        let patience = self.statement_timeout + GRACE;
        let Some(client) = self.client.as_ref() else { return Err(self.not_connected()) };
        match self.runtime.block_on(within(patience, client.batch_execute(&begin))) {
            Ok(()) => {
                self.is_held = true;
                Ok(())
            }
            Err(failed) => {
                let error = self.failed(failed, patience);
                self.release();
                Err(error)
            }
        }
    }

    /// Ends that transaction; nothing was written in it.
    pub(super) fn release(&mut self) {
        self.is_held = false;
        if let Some(client) = self.client.as_ref() {
            let patience = self.statement_timeout + GRACE;
            if let Err(failed) = self.runtime.block_on(within(patience, client.batch_execute("ROLLBACK"))) {
                let error = self.failed(failed, patience);
                tracing::debug!(%error, "the lock goes with its connection");
            }
        }
    }

    fn not_connected(&self) -> StoreError {
        StoreError::new(Problem::Unavailable, self.shown(), "there is no connection")
    }

    /// Runs a statement that has no transaction.
    pub(super) fn outside_transaction(&mut self, statement: &str) -> Result<(), StoreError> {
        let Some(client) = self.client.as_ref() else { return Ok(()) };
        let done = self.runtime.block_on(within(UNHURRIED, client.batch_execute(statement)));
        done.map_err(|failed| self.failed(failed, UNHURRIED))
    }

    /// An error for the caller. A connection that failed or is silent is given up.
    fn failed(&mut self, failed: Failed, patience: Duration) -> StoreError {
        let place = self.target.shown.clone();
        match failed {
            Failed::Store(error) => error,
            Failed::Silent => {
                self.client = None;
                let cause = format!("the server has not answered for {} s", patience.as_secs());
                StoreError::new(Problem::Unavailable, place, cause)
            }
            Failed::Server(error) => match error.as_db_error() {
                Some(said) => {
                    let (problem, advice) = judge(said.code());
                    if problem == Problem::Unavailable {
                        self.client = None;
                    }
                    StoreError::new(problem, place, format!("{}{advice}", said.message()))
                }
                None => {
                    self.client = None;
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                    StoreError::new(Problem::Unavailable, place, format!("{error}{cause}"))
                }
            },
        }
    }

    fn tls(&self) -> Result<ClientConfig, StoreError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.target.root_certificate {
            let refused = |cause: String| StoreError::new(Problem::Refused, path.display().to_string(), cause);
            let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            for certificate in certificates.map_err(|error| refused(format!("no certificates can be read: {error}")))? {
                roots.add(certificate).map_err(|error| refused(error.to_string()))?;
            }
        } else {
            // Without any, only servers without TLS can be reached; the error then says that the certificate is unknown.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let provider = rustls::crypto::ring::default_provider();
        let builder = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| StoreError::new(Problem::Refused, self.shown(), error.to_string()))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// Why a transaction has no result.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing of it stays.
    NotDone(StoreError),
    /// Its COMMIT got no answer: it may have happened.
    Unknown(StoreError),
}

impl Outcome {
    /// The error, for who only reads.
    pub(super) fn error(self) -> StoreError {
        match self {
            Self::NotDone(error) | Self::Unknown(error) => error,
        }
    }
}

async fn within<R>(
    patience: Duration,
    work: impl Future<Output = Result<R, tokio_postgres::Error>>,
) -> Result<R, Failed> {
    within_own(patience, async { work.await.map_err(Failed::Server) }).await
}

async fn within_own<R>(patience: Duration, work: impl Future<Output = Result<R, Failed>>) -> Result<R, Failed> {
    tokio::time::timeout(patience, work).await.unwrap_or(Err(Failed::Silent))
}

/// What a caller does about an error of the server, and what a person can.
fn judge(code: &SqlState) -> (Problem, &'static str) {
    let is = |codes: &[SqlState]| codes.contains(code);
    if is(&[SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION]) {
        (Problem::Unavailable, "; check user and password in storage.database.url or DATABASE_URL")
    } else if is(&[SqlState::QUERY_CANCELED]) {
        (Problem::Busy, "; raise storage.performance.query_timeout, or try again")
    } else if is(&[
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::TOO_MANY_CONNECTIONS,
    ]) {
        (Problem::Busy, "; try again")
    } else if is(&[SqlState::INSUFFICIENT_PRIVILEGE]) {
        (Problem::Refused, "; grant it to milescale's user")
    } else if is(&[SqlState::READ_ONLY_SQL_TRANSACTION]) {
        (Problem::Unavailable, "; it is a standby: name the primary, or all hosts with target_session_attrs=read-write")
    } else if is(&[SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::DATATYPE_MISMATCH]) {
        (Problem::Corrupt, "; its tables are not those of milestones")
    } else {
        (Problem::Unavailable, "")
    }
}
