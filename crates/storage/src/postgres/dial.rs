//! Making a connection: all hosts of an address at once, each with its own time, and the right one of those that answer.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::{Socket, system, unknown_user};
use rustix::net::sockopt;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, Host, Keepalives, Mode, Place, Wanted, is_folder_of_the_system};
use super::begin::{self, SearchPath};
use super::connection::Failed;
use super::messages::{Bounded, BoundedTls};
use super::timeline::Timeline;
use super::waits::{Meter, Metered};

/// How long the next address of a name is left alone while the one before has not answered (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// A connection that came about.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    /// The major version of the server, 0 where it does not say.
    pub(super) version: u32,
    /// The schemas in which the session looks for names, in their order.
    pub(super) path: SearchPath,
    pub(super) meter: Meter,
    /// Where there are several hosts, the server's timeline, as far as it may be asked.
    timeline: Option<Timeline>,
    task: JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Drop for Link {
    /// Closes the connection at once, also where the server does not answer any more: it then gives up what it held.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all attempts share.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) address: Arc<Address>,
    pub(super) tls: MakeRustlsConnect,
}

/// Where a socket is opened.
#[derive(Clone)]
enum Peer {
    Socket(std::path::PathBuf),
    Network(SocketAddr),
}

impl Dialer {
    /// Connects to the server that is wanted. Of several that take writes it is the one of the newest timeline; once one
    /// has answered, the others are waited for as long as `others`.
    ///
    /// # Errors
    /// What became of each host.
    pub(super) async fn dial(&self, others: Duration) -> Result<Link, Vec<(Host, Failed)>> {
        let mut attempts = JoinSet::new();
        for host in self.address.hosts.clone() {
            let dialer = self.clone();
            attempts.spawn(async move {
                let connected = dialer.host(&host).await;
                (host, connected)
            });
        }
        let (mut links, mut failed, mut end) = (Vec::new(), Vec::new(), None);
        loop {
            let is_over = async {
                match end {
                    Some(end) => sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                done = attempts.join_next() => match done {
                    Some(Ok((_, Ok(link)))) => {
                        links.push(link);
                        end.get_or_insert_with(|| tokio::time::Instant::now() + others);
                    }
                    Some(Ok((host, Err(error)))) => failed.push((host, error)),
                    Some(Err(error)) => tracing::error!(%error, "an attempt to connect ended"),
                    None => break,
                },
                () = is_over => break,
            }
        }
        newest(links).ok_or(failed)
    }

    /// One host, which may have several addresses: the next one is tried when the one before fails or takes long.
    async fn host(&self, host: &Host) -> Result<Link, Failed> {
        let found = timeout(self.address.connect_timeout, peers(host)).await;
        let mut peers = found.map_err(|_| Failed::Silent(self.address.connect_timeout))??.into_iter();
        let (mut attempts, mut last) = (JoinSet::new(), None);
        loop {
            if let Some(peer) = peers.next() {
                let (dialer, host) = (self.clone(), host.clone());
                attempts.spawn(async move { dialer.bounded(&host, &peer).await });
            }
            tokio::select! {
                done = attempts.join_next() => match done {
                    Some(Ok(Ok(link))) => return Ok(link),
                    Some(Ok(Err(error))) => last = Some(error),
                    Some(Err(error)) => tracing::error!(%error, "an attempt to connect ended"),
                    None => return Err(last.unwrap_or_else(|| io::Error::other("it has no address").into())),
                },
                () = sleep(NEXT_ADDRESS_AFTER), if peers.len() > 0 => {}
            }
        }
    }

    async fn bounded(&self, host: &Host, peer: &Peer) -> Result<Link, Failed> {
        let most = self.address.connect_timeout;
        timeout(most, self.peer(host, peer)).await.unwrap_or(Err(Failed::Silent(most)))
    }

    /// One address, with TLS or without as `sslmode` says.
    async fn peer(&self, host: &Host, peer: &Peer) -> Result<Link, Failed> {
        let (first, second) = match (peer, self.address.security.mode) {
            (Peer::Socket(_), _) | (_, Mode::Disable) => (SslMode::Disable, None),
            (_, Mode::Allow) => (SslMode::Disable, Some(SslMode::Require)),
            // A certificate that is none of the authority that was named is no reason to go without.
            (_, Mode::Prefer) => {
                (SslMode::Prefer, self.address.security.authority.is_none().then_some(SslMode::Disable))
            }
            _ => (SslMode::Require, None),
        };
        match (self.with_mode(host, peer, first).await, second) {
            (Err(Failed::Server(error)), Some(second)) if is_about_tls(&error) => {
                // The first error says more, where neither way is open.
                self.with_mode(host, peer, second).await.map_err(|_| error.into())
            }
            (other, _) => other,
        }
    }

    /// Connects to a socket, whoever runs the server of which is looked at before anything is sent.
    async fn socket(&self, path: &Path) -> Result<UnixStream, Failed> {
        let refused = |cause: String| Failed::Store(StoreError::new(Problem::Refused, "", cause));
        let is_of_system = path.parent().is_some_and(is_folder_of_the_system);
        let socket = if is_of_system { Socket::in_folder_of_the_system(path) } else { Socket::at(path) };
        let socket = socket.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => {
                let why = "no server has made it, and it is not connected to; name the folder of the socket itself";
                refused(format!("{error}; {why}"))
            }
            _ => error.into(),
        })?;
        let stream = UnixStream::connect(socket.path()).await?;
        let runs_it = stream.peer_cred()?.uid();
        if runs_it == unknown_user() && (self.address.peer.is_some() || socket.may_be_anybodys(runs_it)) {
            let cause = "who runs the server has no number here (as in a user namespace), and may be anybody; connect by the loopback; nothing \
                         was sent";
            return Err(refused(cause.to_owned()));
        }
        if let Some(peer) = &self.address.peer {
            if system::user_called(&peer.name) != Some(runs_it) {
                let runs_it = system::name_of_user(runs_it);
                let cause = format!("{runs_it} runs the server, and requirepeer names another user; nothing was sent");
                return Err(refused(cause));
            }
            if peer.is_the_persons {
                return Ok(stream);
            }
        }
        if socket.may_be_anybodys(runs_it) {
            let (folder, runs_it) = (path.parent().unwrap_or(path).display(), system::name_of_user(runs_it));
            return Err(refused(format!(
                "{runs_it} runs the server, and every user may make a socket in {folder}, or a folder on the way; nothing was sent; if it is yours, set \
                 PGREQUIREPEER to the name of that user"
            )));
        }
        Ok(stream)
    }

    async fn with_mode(&self, host: &Host, peer: &Peer, mode: SslMode) -> Result<Link, Failed> {
        let meter = Meter::default();
        let stream = match peer {
            Peer::Socket(path) => Metered::socket(self.socket(path).await?, meter.clone()),
            Peer::Network(address) => {
                let stream = TcpStream::connect(address).await?;
                set_up(&stream, self.address.keepalives)?;
                Metered::network(stream, meter.clone())
            }
        };
        let mut config = self.address.config.clone();
        config.ssl_mode(mode);
        if let Some(password) = self.address.password(host) {
            config.password(password);
        }
        let name = match &host.place {
            Place::Network(name, _) => name.as_str(),
            Place::Socket(_) => "",
        };
        let Ok(tls) = MakeTlsConnect::<Bounded<Metered>>::make_tls_connect(
            &mut BoundedTls { tls: self.tls.clone(), meter: meter.clone() },
            name,
        );
        let (client, connection) = config.connect_raw(Bounded::new(stream, meter.clone()), tls).await?;
        let version = connection.parameter("server_version").map_or(0, major);
        let task = tokio::spawn(connection);
        let mut link = Link { client, version, path: SearchPath::default(), meter, timeline: None, task };
        // Every name is one of the server's, whatever the session's search path says.
        begin::on(&link.client, begin::FIRST, &link.path).await?;
        self.is_wanted(&link.client).await?;
        if self.address.hosts.len() > 1 {
            link.timeline = Timeline::of(&link.client).await.ok();
        }
        link.client.batch_execute("ROLLBACK").await?;
        Ok(link)
    }

    /// Whether the server is such a one as is wanted.
    async fn is_wanted(&self, client: &Client) -> Result<(), Failed> {
        let (question, why) = match self.address.wanted {
            Wanted::Any => return Ok(()),
            Wanted::Writable => ("SELECT NOT current_setting('transaction_read_only')::boolean", "it takes no writes"),
            Wanted::Primary => ("SELECT NOT pg_is_in_recovery()", "it is a standby"),
        };
        let is_true = client.simple_query(question).await?.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
            _ => false,
        });
        let cause = format!("{why}; name the primary as well, or alone");
        if is_true { Ok(()) } else { Err(StoreError::new(Problem::Unavailable, "", cause).into()) }
    }
}

/// The link of the newest timeline; of equal or unknown ones the first that answered.
fn newest(links: Vec<Link>) -> Option<Link> {
    links.into_iter().reduce(|best, next| {
        let is_newer = best.timeline.zip(next.timeline).is_some_and(|(best, next)| next.follows(best));
        if is_newer { next } else { best }
    })
}

/// Whether the server would perhaps take a connection that is protected in another way.
fn is_about_tls(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        // The driver has no other sign for it.
        None => error.to_string().contains("TLS"),
    }
}

fn major(version: &str) -> u32 {
    version.split(|it: char| !it.is_ascii_digit()).next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

async fn peers(host: &Host) -> io::Result<Vec<Peer>> {
    Ok(match &host.place {
        Place::Socket(folder) => vec![Peer::Socket(folder.join(format!(".s.PGSQL.{}", host.port)))],
        Place::Network(_, Some(address)) => vec![Peer::Network((*address, host.port).into())],
        Place::Network(name, None) => {
            let found = lookup_host((name.as_str(), host.port)).await?;
            // What needs no consent is this machine, whatever says where its name leads.
            let is_here = host.elsewhere().is_empty();
            found.filter(|address| !is_here || address.ip().is_loopback()).map(Peer::Network).collect()
        }
    })
}

fn set_up(stream: &TcpStream, keepalives: Keepalives) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if keepalives.are_on {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, keepalives.idle)?;
        sockopt::set_tcp_keepintvl(stream, keepalives.interval)?;
        sockopt::set_tcp_keepcnt(stream, keepalives.count)?;
    }
    #[cfg(target_os = "linux")]
    if keepalives.user_timeout > 0 {
        sockopt::set_tcp_user_timeout(stream, keepalives.user_timeout)?;
    }
    Ok(())
}
