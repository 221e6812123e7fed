//! Where the server is, as libpq reads it: an address, the service that it names, the environment, and files beside them.
//!
//! What is read here opens no connection. Secrets that the address does not hold itself are looked up by
//! [`Address::password`] alone, when a host is connected to.

mod files;
mod gathered;
mod hosts;
mod parameters;
mod secrets;
mod text;
mod workspaces;

use std::path::PathBuf;
use std::time::Duration;

use milescale_core::config::{ClientEnvironment, UrlFrom};
use milescale_document::text::harmless;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::system;
use milescale_workspace::trust::Server;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslNegotiation};

use gathered::Gathered;
pub(super) use hosts::{Host, Place, is_folder_of_the_system};
use secrets::Secrets;

/// How long a connection to one host may take to come about, authentication included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest one of an address that may have come with a repository.
const LONGEST_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to connect to, and how.
#[derive(Debug)]
pub(super) struct Address {
    /// User, database and what else is said to the server; neither host nor password.
    pub(super) config: Config,
    pub(super) hosts: Vec<Host>,
    pub(super) security: Security,
    pub(super) keepalives: Keepalives,
    pub(super) connect_timeout: Duration,
    pub(super) wanted: Wanted,
    /// `requirepeer`.
    pub(super) peer: Option<RequiredPeer>,
    /// `sslrootcert`, as it is said.
    authority_said: Option<String>,
    /// The authority that the workspace names for the server's certificate.
    pub(super) workspaces_authority: Option<PathBuf>,
    /// For display: without the password.
    pub(super) shown: String,
    user: String,
    database: String,
    secrets: Secrets,
    /// Words of its options, which nobody is shown.
    options: Vec<String>,
}

/// The user who has to run a server that is reached by a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequiredPeer {
    pub(super) name: String,
    /// Whether it is the person who says so, and not the workspace.
    pub(super) is_the_persons: bool,
}

/// Which of several servers is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The one that there is.
    Any,
    /// One that takes writes.
    Writable,
    /// One that is not a standby, even if its sessions only read at first.
    Primary,
}

/// How a connection over the network is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Security {
    pub(super) mode: Mode,
    /// Who signs the server's certificate, where that is not one of the system's authorities.
    pub(super) authority: Option<PathBuf>,
    /// The client's certificate and key.
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
}

/// `sslmode`, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// What the kernel does about a server that is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keepalives {
    pub(super) are_on: bool,
    pub(super) idle: Duration,
    pub(super) interval: Duration,
    pub(super) count: u32,
    /// Milliseconds that sent data may stay without an answer; 0 for the system's own time.
    pub(super) user_timeout: u32,
}

/// The ways of `sslmode` by their names.
const MODES: [(&str, Mode); 6] = [
    ("disable", Mode::Disable),
    ("allow", Mode::Allow),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

impl Mode {
    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

impl Address {
    /// Its servers that are not on this machine, as they are consented to.
    pub(super) fn servers_elsewhere(&self) -> Vec<Server> {
        let servers = |host: &Host| {
            let port = host.port;
            let server = move |host| Server {
                host,
                port,
                database: self.database.clone(),
                user: self.user.clone(),
                sslmode: (self.security.mode != Mode::Prefer).then(|| self.security.mode.as_str().to_owned()),
                sslrootcert: self.authority_said.clone(),
            };
            host.elsewhere().into_iter().map(server)
        };
        self.hosts.iter().flat_map(servers).collect()
    }

    /// The password for a host: the address's own, else the environment's, else that of a file.
    pub(super) fn password(&self, host: &Host) -> Option<String> {
        let Secrets { password, variable, file } = &self.secrets;
        password
            .clone()
            .or_else(|| variable.clone())
            .or_else(|| files::password(file.as_deref()?, &host.place, host.port, &self.database, &self.user))
    }
}

/// What is wrong with the address of a server as the configuration's file gives it; no part of it is shown.
pub fn flaw_of_address(url: &str, client: &ClientEnvironment) -> Option<String> {
    let error = read(url, UrlFrom::File, client).err()?;
    Some(if error.place == UrlFrom::File.as_str() { error.cause } else { format!("{}: {}", error.place, error.cause) })
}

/// Reads an address. An error says which part of it is wrong, blames what the part comes from, and shows none of it.
pub(super) fn read(url: &str, from: UrlFrom, client: &ClientEnvironment) -> Result<Address, StoreError> {
    if url.trim().is_empty() {
        let cause = "it is empty, and the engine is postgresql; write where the server is, such as \
                     postgresql://user@host/database, here or into DATABASE_URL";
        return Err(StoreError::new(Problem::Refused, from.as_str(), cause));
    }
    let given = Gathered::of(url, from, client)?;
    for (name, (value, _)) in &given.values {
        if let Some(why) = parameters::unsupported(name, value) {
            return Err(given.error(name, why));
        }
        // All but the password is sent before it is known what program listens: a line of it might be an order to that.
        if *name != "password" && value.contains(char::is_control) {
            return Err(given.error(name, "there is a control character in it, such as the end of a line; take it out"));
        }
    }
    let user = given.get("user").unwrap_or(&client.login).to_owned();
    if user.is_empty() {
        return Err(given.error("user", "there is none; write postgresql://user@host/database"));
    }
    let database = given.get("dbname").unwrap_or(&user).to_owned();
    let hosts = hosts::hosts(&given)?;
    given.check_what_the_workspace_says(&hosts)?;
    // Both are shown; what looks like more than a name may hold a password.
    if user.contains([':', '=']) {
        return Err(given.error("user", "there is a : or = in it, as in an address; write the name alone"));
    }
    if given.get("dbname").is_some_and(|name| name.contains([':', '=', '@'])) {
        return Err(given.error("dbname", "there is a :, = or @ in it, as in an address; write the name alone"));
    }
    let shown: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let file = given.get("passfile").map(PathBuf::from).or_else(|| Some(client.home.as_ref()?.join(".pgpass")));
    Ok(Address {
        config: config(&given, &user, &database)?,
        security: security(&given, client)?,
        keepalives: keepalives(&given)?,
        connect_timeout: connect_timeout(&given)?,
        wanted: wanted(&given, hosts.len())?,
        authority_said: given.get("sslrootcert").map(str::to_owned),
        workspaces_authority: given
            .get("sslrootcert")
            .filter(|_| given.is_workspaces("sslrootcert"))
            .map(PathBuf::from),
        peer: given
            .get("requirepeer")
            .map(|name| RequiredPeer { name: name.to_owned(), is_the_persons: !given.is_workspaces("requirepeer") }),
        shown: harmless(&format!("postgresql://{user}@{}/{database}", shown.join(","))),
        hosts,
        secrets: Secrets {
            password: given.get("password").map(str::to_owned),
            variable: given
                .is_where_the_environment_says(client)
                .then(|| client.get("PGPASSWORD"))
                .flatten()
                .map(str::to_owned),
            file,
        },
        user,
        database,
        options: given.words_of_options(),
    })
}

fn config(given: &Gathered, user: &str, database: &str) -> Result<Config, StoreError> {
    let mut config = Config::new();
    config.user(user).dbname(database);
    let name = given.get("application_name").or(given.get("fallback_application_name")).unwrap_or("milescale");
    config.application_name(name);
    if let Some(options) = given.get("options") {
        config.options(options);
    }
    let words = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    if let Some(binding) = given.word("channel_binding", &words)? {
        config.channel_binding(binding);
    }
    let words = [("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];
    if let Some(negotiation) = given.word("sslnegotiation", &words)? {
        config.ssl_negotiation(negotiation);
    }
    Ok(config)
}

fn security(given: &Gathered, client: &ClientEnvironment) -> Result<Security, StoreError> {
    let mode = given.word("sslmode", &MODES)?.unwrap_or(Mode::Prefer);
    let own = |name: &str| {
        let path = client.home.as_ref()?.join(".postgresql").join(name);
        system::exists(&path).then_some(path)
    };
    let named = given.get("sslrootcert");
    let authority = match named {
        // The system's authorities, by name.
        Some("system") => None,
        named => named.map(PathBuf::from).or_else(|| own("root.crt")),
    };
    let mode = if named == Some("system") { Mode::VerifyFull } else { mode };
    let path = |name, own_name| given.get(name).map(PathBuf::from).or_else(|| own(own_name));
    let certificate = match (path("sslcert", "postgresql.crt"), path("sslkey", "postgresql.key")) {
        _ if given.get("sslcertmode") == Some("disable") => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(_), None) if given.get("sslcert").is_some() => {
            return Err(given.error("sslcert", "its key is missing; name it with sslkey"));
        }
        _ => None,
    };
    Ok(Security { mode, authority, certificate })
}

fn keepalives(given: &Gathered) -> Result<Keepalives, StoreError> {
    let seconds = |name, default| -> Result<Duration, StoreError> {
        Ok(Duration::from_secs(given.number(name)?.unwrap_or(default).into()))
    };
    Ok(Keepalives {
        are_on: given.get("keepalives").is_none() || given.number("keepalives")?.is_some(),
        idle: seconds("keepalives_idle", 30)?,
        interval: seconds("keepalives_interval", 10)?,
        count: given.number("keepalives_count")?.unwrap_or(3),
        user_timeout: given.number("tcp_user_timeout")?.unwrap_or(0),
    })
}

/// Without one, or with 0, milescale's own: it never waits without end.
fn connect_timeout(given: &Gathered) -> Result<Duration, StoreError> {
    // As libpq does, a second becomes two.
    let seconds = given.number("connect_timeout")?;
    let wanted = seconds.map_or(CONNECT_TIMEOUT, |seconds| Duration::from_secs(seconds.max(2).into()));
    let is_the_persons = given.from == UrlFrom::Environment;
    Ok(if is_the_persons { wanted } else { wanted.min(LONGEST_CONNECT_TIMEOUT) })
}

fn wanted(given: &Gathered, hosts: usize) -> Result<Wanted, StoreError> {
    let words = [
        ("any", Some(Wanted::Any)),
        ("read-write", Some(Wanted::Writable)),
        ("primary", Some(Wanted::Primary)),
        ("read-only", None),
        ("standby", None),
        ("prefer-standby", None),
    ];
    match given.word("target_session_attrs", &words)? {
        // Of several hosts, only the one that takes writes is the database.
        None | Some(Some(Wanted::Any)) => Ok(if hosts > 1 { Wanted::Writable } else { Wanted::Any }),
        Some(Some(wanted)) => Ok(wanted),
        Some(None) => {
            let cause = "milescale writes, which a standby refuses; write read-write or primary, or take it out";
            Err(given.error("target_session_attrs", cause))
        }
    }
}

#[cfg(test)]
mod tests;
