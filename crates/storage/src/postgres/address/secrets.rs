//! What is not shown of an address, nor of what a server says.

use std::path::PathBuf;

use super::{Address, Gathered};

/// The fewest letters of a secret that is looked for in what a server says: shorter ones stand in any text.
const SHORTEST: usize = 3;

/// What may be shown of an address, and so of what a server says about it.
const SHOWN: [&str; 7] = ["host", "hostaddr", "port", "user", "dbname", "sslmode", "target_session_attrs"];

/// Where passwords come from.
pub(super) struct Secrets {
    /// The address's own.
    pub(super) password: Option<String>,
    /// `PGPASSWORD`.
    pub(super) variable: Option<String>,
    /// `passfile`, `PGPASSFILE`, else `.pgpass`.
    pub(super) file: Option<PathBuf>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Address {
    /// What a server says, as it may be shown: a server may repeat what it was sent.
    pub(in crate::postgres) fn without_secrets(&self, said: &str) -> String {
        let passwords = self.hosts.iter().filter_map(|host| self.password(host));
        let mut secrets: Vec<String> = passwords.chain(self.options.iter().cloned()).collect();
        secrets.retain(|secret| secret.chars().count() >= SHORTEST);
        // The longer ones first: one may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(said.to_owned(), |said, secret| said.replace(secret.as_str(), "…"))
    }
}

impl Gathered {
    /// The words of what is not shown of an address.
    pub(super) fn words_of_options(&self) -> Vec<String> {
        let hidden = self.values.iter().filter(|(name, _)| !SHOWN.contains(*name) && **name != "password");
        let words = hidden.flat_map(|(_, (value, _))| value.split([' ', '=', '\\', '\'', '"']));
        words.map(|word| word.trim_start_matches("--").trim_start_matches("-c").to_owned()).collect()
    }
}
