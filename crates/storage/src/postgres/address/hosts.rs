//! The hosts of an address: names, addresses, sockets, and their ports.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use milescale_workspace::error::StoreError;
use milescale_workspace::folder::system;

use super::Gathered;

/// The port of a server that says nothing else.
pub(super) const PORT: u16 = 5432;

/// The most hosts of an address: they are all tried at once.
const MOST: usize = 16;

/// Folders in which builds of PostgreSQL make their sockets.
const SOCKET_FOLDERS: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// Whether it is one of them.
pub(in crate::postgres) fn is_folder_of_the_system(folder: &Path) -> bool {
    SOCKET_FOLDERS.iter().any(|it| Path::new(it) == folder)
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) enum Place {
    /// In a folder, on a socket.
    Socket(PathBuf),
    /// On a host: its name, for its certificate and for passwords, and its address where that is given.
    Network(String, Option<IpAddr>),
}

impl Place {
    /// The names that it has in a file of passwords.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Socket(folder) => {
                let local = is_folder_of_the_system(folder).then(|| "localhost".to_owned());
                std::iter::once(folder.display().to_string()).chain(local).collect()
            }
            Self::Network(name, _) => vec![name.clone()],
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(folder) => write!(f, "{}", folder.display()),
            Self::Network(name, _) if name.contains(':') => write!(f, "[{name}]"),
            Self::Network(name, _) => f.write_str(name),
        }
    }
}

/// One host of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Host {
    pub(in crate::postgres) place: Place,
    pub(in crate::postgres) port: u16,
}

impl Host {
    /// Its address and its name, as far as they are not of this machine: where both are given, the first is what is connected to,
    /// the second what a password is looked up by.
    pub(in crate::postgres) fn elsewhere(&self) -> Vec<String> {
        let Place::Network(name, address) = &self.place else { return Vec::new() };
        let is_here = |name: &str| match name.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        };
        let mut found: Vec<String> = address.map(|it| it.to_string()).into_iter().chain([name.clone()]).collect();
        found.retain(|it| !is_here(it));
        found.dedup();
        found
    }

    /// Whether it is reached over a network, be it this machine's own.
    pub(in crate::postgres) fn is_on_a_network(&self) -> bool {
        matches!(self.place, Place::Network(..))
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.place, self.port)
    }
}

/// All hosts, in their order.
pub(super) fn hosts(given: &Gathered) -> Result<Vec<Host>, StoreError> {
    let list =
        |name| given.get(name).map(|list| list.split(',').map(str::trim).collect::<Vec<_>>()).unwrap_or_default();
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    if count > MOST {
        return Err(given.error("host", &format!("there are {count}; name at most {MOST}")));
    }
    for (name, list) in [("host", &names), ("hostaddr", &addresses)] {
        if !list.is_empty() && list.len() != count {
            let cause = format!("{} names and {count} addresses of hosts; there must be as many", list.len());
            return Err(given.error(name, &cause));
        }
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(given.error("port", &format!("{} ports for {count} hosts; write one, or as many", ports.len())));
    }
    (0..count)
        .map(|number| {
            let port = port(given, ports.get(number).or(ports.first()).copied().unwrap_or_default(), number + 1)?;
            let at = |list: &[&str]| list.get(number).copied().filter(|it| !it.is_empty()).map(str::to_owned);
            Ok(Host { place: place(given, at(&names), at(&addresses), port)?, port })
        })
        .collect()
}

fn port(given: &Gathered, text: &str, number: usize) -> Result<u16, StoreError> {
    if text.is_empty() {
        return Ok(PORT);
    }
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        let cause = format!(
            "the port of host {number} is not a number from 1 to 65535; in a URL, write : / ? # @ of a password as %3A %2F \
             %3F %23 %40"
        );
        given.error("port", &cause)
    })
}

fn place(given: &Gathered, name: Option<String>, address: Option<String>, port: u16) -> Result<Place, StoreError> {
    if let Some(address) = address {
        let parsed =
            address.parse().map_err(|_| given.error("hostaddr", "it is not an IP address; name it with host"))?;
        return Ok(Place::Network(name.unwrap_or(address), Some(parsed)));
    }
    Ok(match name {
        Some(name) if name.starts_with('/') && !name.contains(['@', '=', '?', '\0']) => Place::Socket(name.into()),
        Some(name) if name.starts_with('@') => {
            return Err(
                given.error("host", "abstract sockets are not supported; name the folder of a socket, or a host")
            );
        }
        // What is no name may be a part of a password that nobody has escaped.
        Some(name) if name.contains(|letter: char| "@=/?#&;'\"".contains(letter) || letter.is_whitespace()) => {
            let cause = "it is no name of a host; in a URL, write : / ? # @ of a password as %3A %2F %3F %23 %40";
            return Err(given.error("host", cause));
        }
        Some(name) => Place::Network(name, None),
        None => Place::Socket(default_folder(port)),
    })
}

/// The folder in which a server of this port has its socket, else the first folder that is there.
fn default_folder(port: u16) -> PathBuf {
    let folders = || SOCKET_FOLDERS.iter().map(Path::new);
    let with_socket = folders().find(|folder| system::exists(folder.join(format!(".s.PGSQL.{port}"))));
    let found = with_socket.or_else(|| folders().find(|folder| system::is_folder(folder)));
    found.unwrap_or(Path::new(SOCKET_FOLDERS[0])).to_owned()
}
