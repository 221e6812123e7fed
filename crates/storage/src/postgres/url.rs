//! Where the server is: the URL of the configuration, as tokio-postgres and rustls need it.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::error::{Problem, StoreError};

/// How long a connection to one host may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that says nothing for so long while nobody asks is asked by the kernel whether it is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Where to connect to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    /// Who signs the server's certificate, where that is not one of the system's authorities.
    pub(super) root_certificate: Option<PathBuf>,
    /// As people read it: without the password.
    pub(super) shown: String,
}

/// Reads a URL. An error never shows the password.
pub(super) fn read(url: &str) -> Result<Target, StoreError> {
    let refused = |cause: String| StoreError::new(Problem::Refused, "storage.database.url", cause);
    if url.trim().is_empty() {
        let cause = "it is empty, and the engine is postgresql; write where the server is, such as \
                     postgresql://user@host/database, here or into DATABASE_URL";
        return Err(refused(cause.to_owned()));
    }
    let (plain, own) = split(url);
    let mut config: Config = plain.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        refused(format!("it is no address of PostgreSQL: {cause}"))
    })?;
    if own.verify {
        config.ssl_mode(SslMode::Require);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_target_session_attrs() == TargetSessionAttrs::Any && config.get_hosts().len() > 1 {
        // Of several hosts, only the one that takes writes is the database.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if config.get_application_name().is_none() {
        config.application_name("milescale");
    }
    config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
    Ok(Target { shown: shown(&config), config, root_certificate: own.root_certificate })
}

/// What libpq knows and tokio-postgres does not.
#[derive(Debug, Default)]
struct Own {
    verify: bool,
    root_certificate: Option<PathBuf>,
}

fn split(url: &str) -> (String, Own) {
    let mut own = Own::default();
    let Some((address, parameters)) = url.split_once('?').filter(|_| url.contains("://")) else {
        return (url.to_owned(), own);
    };
    let kept: Vec<&str> = parameters
        .split('&')
        .filter(|parameter| match parameter.split_once('=') {
            // Certificates are always checked, names too.
            Some(("sslmode", "verify-full" | "verify-ca")) => {
                own.verify = true;
                false
            }
            Some(("sslrootcert", path)) => {
                own.root_certificate = Some(path.replace("%2F", "/").replace("%2f", "/").into());
                false
            }
            _ => true,
        })
        .collect();
    let question_mark = if kept.is_empty() { "" } else { "?" };
    (format!("{address}{question_mark}{}", kept.join("&")), own)
}

fn shown(config: &Config) -> String {
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(number, host)| {
        let port = ports.get(number).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgresql://{user}{}/{database}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::read;
    use tokio_postgres::config::{SslMode, TargetSessionAttrs};

    #[test]
    fn what_libpq_knows_is_understood() {
        let target =
            read("postgresql://ada:s3cret@one:1,two:2/plans?sslmode=verify-full&sslrootcert=/etc/ca.pem").unwrap();
        assert_eq!(target.shown, "postgresql://ada@one:1,two:2/plans");
        assert_eq!(target.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(target.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(target.root_certificate.unwrap().to_str(), Some("/etc/ca.pem"));
        assert_eq!(read("host=/run/pg user=ada dbname=plans").unwrap().shown, "postgresql://ada@/run/pg:5432/plans");
    }

    #[test]
    fn errors_say_what_to_write_and_no_password() {
        for url in [
            "",
            "postgresql://ada:s3cret@host/db?nonsense=1",
            "host=h password=s3cret port=x",
            "postgresql://a:s3cret@h:99999/",
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.starts_with("storage.database.url: ") && !error.contains("s3cret"), "{error}");
        }
    }
}
