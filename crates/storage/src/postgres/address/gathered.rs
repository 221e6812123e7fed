//! All that is said about where the server is, and by whom.

use std::collections::BTreeMap;
use std::path::PathBuf;

use milescale_core::config::{ClientEnvironment, UrlFrom};
use milescale_workspace::error::{Problem, StoreError};

use super::hosts::PORT;
use super::{files, parameters, text};

/// What parameters of a service come from.
pub(super) const SERVICE: &str = "the service file";

/// All parameters, and what each comes from.
pub(super) struct Gathered {
    pub(super) values: BTreeMap<&'static str, (String, String)>,
    pub(super) from: UrlFrom,
}

impl Gathered {
    /// The address first, then the service that it or the environment names, then the environment.
    pub(super) fn of(url: &str, from: UrlFrom, client: &ClientEnvironment) -> Result<Self, StoreError> {
        let mut given = Self { values: BTreeMap::new(), from };
        let parsed = text::parse(url);
        let refused = |cause| StoreError::new(Problem::Refused, from.as_str(), format!("it cannot be read: {cause}"));
        // Of a parameter that stands twice, the last one counts.
        for (name, value) in parsed.map_err(refused)?.into_iter().rev() {
            given.add(name, value, from.as_str());
        }
        if given.is_workspaces("servicefile") {
            let cause = "a workspace names a service, and you say in which file it stands: set PGSERVICEFILE, and take servicefile out";
            return Err(given.error("servicefile", cause));
        }
        for name in ["service", "servicefile"] {
            given.add_variable(name, client);
        }
        let mut of_service = Vec::new();
        if let Some((service, from)) = given.values.get("service").cloned() {
            let own = given.get("servicefile").map(PathBuf::from);
            let own = own.or_else(|| Some(client.home.as_ref()?.join(".pg_service.conf")));
            let files = files::ServiceFiles { own, system: client.get("PGSYSCONFDIR").map(PathBuf::from) };
            let refused = |cause| StoreError::new(Problem::Refused, from, format!("service: {cause}"));
            of_service = files.find(&service).map_err(refused)?;
            for (name, value) in of_service.iter().rev() {
                given.add(name, value.clone(), SERVICE);
            }
            given.keep_secrets_of_the_service();
        }
        for (name, _) in parameters::KNOWN {
            given.add_variable(name, client);
        }
        given.protect(&of_service, client);
        Ok(given)
    }

    /// Whether the environment names no server, or this one: a password beside its name is for nobody else. Where it names one, what it does
    /// not say of it is as it is by itself: the address that its name leads to, and the port of all servers.
    pub(super) fn is_where_the_environment_says(&self, client: &ClientEnvironment) -> bool {
        let [host, address, port] = ["PGHOST", "PGHOSTADDR", "PGPORT"].map(|variable| client.get(variable));
        // A service that it names says where the server is.
        if client.get("PGSERVICE").is_some()
            && ["service", "host", "hostaddr", "port"].iter().any(|name| self.is_workspaces(name))
        {
            return false;
        }
        if host.or(address).or(port).is_none() {
            return true;
        }
        host.is_none_or(|host| self.get("host") == Some(host))
            && (host.or(address).is_none() || self.get("hostaddr") == address)
            && self.get("port").unwrap_or(&PORT.to_string()) == port.unwrap_or(&PORT.to_string())
    }

    /// A password that a service has is for the server of the service: where the workspace says another one, it is not sent there.
    fn keep_secrets_of_the_service(&mut self) {
        let is_of_service = |(_, from): &(String, String)| from == SERVICE;
        if ["host", "hostaddr", "port"].iter().any(|name| self.is_workspaces(name)) {
            for name in ["password", "passfile", "sslkey"] {
                if self.values.get(name).is_some_and(is_of_service) {
                    self.values.remove(name);
                }
            }
        }
    }

    fn add(&mut self, name: &'static str, value: String, from: &str) {
        if !value.is_empty() {
            self.values.entry(name).or_insert_with(|| (value, from.to_owned()));
        }
    }

    fn add_variable(&mut self, name: &'static str, client: &ClientEnvironment) {
        let variable = parameters::variable_of(name);
        if let Some((variable, value)) = variable.and_then(|variable| Some((variable, client.get(variable)?))) {
            self.add(name, value.to_owned(), variable);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// An error that blames what the parameter comes from. Its value is not shown.
    pub(super) fn error(&self, name: &str, cause: &str) -> StoreError {
        let from = self.values.get(name).map_or(self.from.as_str(), |(_, from)| from);
        StoreError::new(Problem::Refused, from, format!("{name}: {cause}"))
    }

    /// A parameter that is one of some words.
    pub(super) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, StoreError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == value).map(|(_, meant)| *meant);
        let expected = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| self.error(name, &format!("it is none of {}", expected())))
    }

    /// A parameter that is a whole number; `None` where it is missing, or not above 0, which means the default.
    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, StoreError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number: i32 = value.trim().parse().map_err(|_| self.error(name, "it is not a whole number"))?;
        Ok(u32::try_from(number).ok().filter(|number| *number > 0))
    }
}
