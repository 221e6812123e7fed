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
        // As an address spells them, too.
        let spelled: Vec<String> =
            secrets.iter().flat_map(|secret| [in_address(secret, true), in_address(secret, false)]).collect();
        secrets.extend(spelled);
        // The longer ones first: one may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(said.to_owned(), |said, secret| said.replace(secret.as_str(), "…"))
    }
}

/// A text as an address has it: `%` and two digits for what is no letter, digit or one of `-._~`.
fn in_address(text: &str, is_upper: bool) -> String {
    let letter = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ if is_upper => format!("%{byte:02X}"),
        _ => format!("%{byte:02x}"),
    };
    text.bytes().map(letter).collect()
}

impl Gathered {
    /// The words of what is not shown of an address.
    pub(super) fn words_of_options(&self) -> Vec<String> {
        let hidden = self.values.iter().filter(|(name, _)| !SHOWN.contains(*name) && **name != "password");
        let words = hidden.flat_map(|(_, (value, _))| value.split([' ', '=', '\\', '\'', '"']));
        words.map(|word| word.trim_start_matches("--").trim_start_matches("-c").to_owned()).collect()
    }
}
