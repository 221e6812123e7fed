//! What an address may say that came with a workspace: it is not whose who wrote it that the programs and passwords of this machine are.

use milescale_core::config::{ClientEnvironment, UrlFrom};
use milescale_workspace::error::StoreError;
use milescale_workspace::trust::protection;

use super::gathered::{Gathered, SERVICE};
use super::hosts::{Host, Place};
use super::parameters::variable_of;

/// The settings of a session that a workspace may make. Others name libraries that a server loads, or turn off what keeps data safe, where
/// the role is a superuser.
const SETTINGS: [&str; 20] = [
    "search_path",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
    "timezone",
    "datestyle",
    "intervalstyle",
    "application_name",
    "client_min_messages",
    "default_transaction_isolation",
    "tcp_user_timeout",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "jit",
    "geqo",
    // CockroachDB's.
    "cluster",
    // What row-level security may ask for: no extension is called so.
    "app.",
];

/// Parameters that say how a connection is protected.
const PROTECTING: [&str; 9] = [
    "sslmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "channel_binding",
    "gssencmode",
    "requirepeer",
    "require_auth",
    "ssl_min_protocol_version",
];

impl Gathered {
    /// Whether it is the workspace that says a parameter.
    pub(super) fn is_workspaces(&self, name: &str) -> bool {
        self.from == UrlFrom::File && self.values.get(name).is_some_and(|(_, from)| from == UrlFrom::File.as_str())
    }

    /// How a connection is protected, the person has the last word on: where a service or the environment asks for more than the workspace
    /// says, it is more.
    pub(super) fn protect(&mut self, service: &[(&'static str, String)], client: &ClientEnvironment) {
        for name in PROTECTING.into_iter().filter(|name| self.is_workspaces(name)).collect::<Vec<_>>() {
            let of_service = service.iter().rev().find(|(it, _)| *it == name).map(|(_, own)| (own.as_str(), SERVICE));
            let variable = variable_of(name);
            let of_variable = variable.and_then(|variable| Some((client.get(variable)?, variable)));
            for (own, from) in of_service.into_iter().chain(of_variable) {
                // A word that is none is refused where it stands.
                let is_more = protection(own).is_none() || protection(own) > self.get(name).and_then(protection);
                if name != "sslmode" || is_more {
                    self.values.insert(name, (own.to_owned(), from.to_owned()));
                }
            }
        }
    }

    /// Refuses what is the person's own to say.
    pub(super) fn check_what_the_workspace_says(&self, hosts: &[Host]) -> Result<(), StoreError> {
        let other = self.get("options").filter(|_| self.is_workspaces("options")).and_then(other_setting);
        if other.is_some() {
            let cause = "it makes a setting that is not for a workspace to make (search_path, time-outs, the time zone and app.NAME \
                         are); write it into PGOPTIONS, or the whole address into DATABASE_URL";
            return Err(self.error("options", cause));
        }
        // A password is looked up by the name, and goes to the address.
        let has_both =
            hosts.iter().any(|host| matches!(host.place, Place::Network(_, Some(_))) && !host.elsewhere().is_empty());
        if has_both && self.is_workspaces("hostaddr") && self.get("host").is_some() {
            let cause = "a workspace names a host by its name or by its address; take one of host and hostaddr out, or write the \
                         whole address into DATABASE_URL";
            return Err(self.error("hostaddr", cause));
        }
        Ok(())
    }
}

/// The first thing in the options of a session that is none of [`SETTINGS`].
fn other_setting(options: &str) -> Option<String> {
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(long) => long.to_owned(),
            None => match word.strip_prefix("-c") {
                Some("") => words.next().unwrap_or_default(),
                Some(short) => short.to_owned(),
                // What a proxy takes for itself, such as endpoint=NAME; a server takes no such word.
                None if !word.starts_with('-') => continue,
                None => return Some(word),
            },
        };
        let name = setting.split('=').next().unwrap_or_default().replace('-', "_").to_ascii_lowercase();
        if !SETTINGS.iter().any(|known| if known.ends_with('.') { name.starts_with(known) } else { name == *known }) {
            return Some(name);
        }
    }
    None
}

/// The words of options as the server parts them: at blanks, unless a backslash is before them.
fn words(options: &str) -> Vec<String> {
    let (mut words, mut rest) = (vec![None::<String>], options.chars());
    while let Some(letter) = rest.next() {
        let letter = match letter {
            '\\' => rest.next(),
            _ if letter.is_ascii_whitespace() || letter == '\x0b' => {
                words.push(None);
                continue;
            }
            _ => Some(letter),
        };
        if let (Some(word), Some(letter)) = (words.last_mut(), letter) {
            word.get_or_insert_default().push(letter);
        }
    }
    words.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::other_setting;

    #[test]
    fn options_are_read_as_the_server_reads_them() {
        for allowed in [
            "",
            "-c search_path=a",
            "-csearch_path=a,\\ b  --statement-timeout=5s\t-c TimeZone=UTC",
            "--cluster=x",
            "endpoint=ep-1",
            "-c app.tenant=7",
        ] {
            assert_eq!(other_setting(allowed), None, "{allowed}");
        }
        for (refused, named) in [
            ("-c session_preload_libraries=/x", "session_preload_libraries"),
            ("-c search_path=a --session-preload-libraries=/x", "session_preload_libraries"),
            ("\\-c\\ search_path=a", " search_path"),
            ("-\\csession_preload_libraries=/x", "session_preload_libraries"),
            ("-c search_path=a\x0b-csynchronous_commit=off", "synchronous_commit"),
            ("-W 10", "-W"),
            ("-c", ""),
            ("-c application.x=1", "application.x"),
        ] {
            let found = other_setting(refused).expect(refused);
            assert_eq!(found, named, "{refused}");
        }
    }
}
