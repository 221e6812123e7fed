//! The files that libpq reads beside an address: services, and passwords.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use milescale_workspace::folder::system;

use super::Place;
use super::parameters;
use super::text::Parameters;

/// The largest of these files that is read.
const LIMIT: u64 = 1 << 20;

/// Folders in which distributions keep the services of all users.
const SYSTEM_FOLDERS: [&str; 3] = ["/etc/postgresql-common", "/etc/postgresql", "/etc"];

/// Where services are looked for, in this order.
pub(super) struct ServiceFiles {
    /// The file that `servicefile` or `PGSERVICEFILE` names, else the person's own.
    pub(super) own: Option<PathBuf>,
    /// `PGSYSCONFDIR`.
    pub(super) system: Option<PathBuf>,
}

impl ServiceFiles {
    /// The parameters of a service.
    ///
    /// # Errors
    /// Why there is no such service, with the files that were read.
    pub(super) fn find(&self, name: &str) -> Result<Parameters, String> {
        let mut looked_at = Vec::new();
        for path in self.paths() {
            let shown = path.display().to_string();
            match system::read(&path, LIMIT) {
                Ok((content, _)) => {
                    if let Some(found) = service(&String::from_utf8_lossy(&content), name, &shown)? {
                        return Ok(found);
                    }
                    looked_at.push(shown);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => looked_at.push(shown),
                Err(error) => return Err(format!("{shown} cannot be read: {error}")),
            }
        }
        Err(format!("there is no such service in {}; write a section [NAME] there", looked_at.join(" or ")))
    }

    fn paths(&self) -> Vec<PathBuf> {
        let system: Vec<PathBuf> = match &self.system {
            Some(folder) => vec![folder.join("pg_service.conf")],
            None => SYSTEM_FOLDERS.iter().map(|folder| Path::new(folder).join("pg_service.conf")).collect(),
        };
        self.own.iter().cloned().chain(system).collect()
    }
}

/// The lines of one section, `name=value` each.
fn service(text: &str, name: &str, shown: &str) -> Result<Option<Parameters>, String> {
    let mut found: Option<Parameters> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            found = (section == name).then(Parameters::new);
        } else if let Some(found) = &mut found {
            let known = line.split_once('=').and_then(|(name, value)| Some((parameters::known(name.trim())?, value)));
            let wrong = || format!("{shown}, line {}: expected the name of a parameter, = and its value", number + 1);
            let (name, value) = known.ok_or_else(wrong)?;
            if name == "service" || name == "servicefile" {
                return Err(format!("{shown}, line {}: a service cannot name another one", number + 1));
            }
            found.push((name, value.trim().to_owned()));
        }
    }
    Ok(found)
}

/// The password that a file of passwords has for a server. A file that others may read is not used, as with libpq.
pub(super) fn password(path: &Path, place: &Place, port: u16, database: &str, user: &str) -> Option<String> {
    let (content, metadata) = match system::read(path, LIMIT) {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "the file of passwords is not read");
            return None;
        }
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "the file of passwords is not used, for others may read it; take their rights away: chmod 0600"
        );
        return None;
    }
    let text = String::from_utf8_lossy(&content);
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line.trim_end_matches('\r'));
        let [host, its_port, its_database, its_user, password] = fields.as_slice() else { return None };
        let is = |field: &str, value: &str| field == "*" || field == value;
        let fits = place.names().iter().any(|name| is(host, name))
            && is(its_port, &port.to_string())
            && is(its_database, database)
            && is(its_user, user);
        fits.then(|| password.clone())
    })
}

/// Four fields and the rest; a backslash takes the next character as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        let taken = match character {
            '\\' => rest.next(),
            ':' if fields.len() < 5 => {
                fields.push(String::new());
                None
            }
            other => Some(other),
        };
        if let Some(field) = fields.last_mut() {
            field.extend(taken);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::{fields, service};

    #[test]
    fn a_service_is_one_section() {
        let text = "# all\n[other]\nhost=x\n[plans]\nhost=h\n # why\nport=5433\noptions=-c a=b\n[more]\nhost=y\n";
        let found = service(text, "plans", "f").unwrap().unwrap();
        assert_eq!(found, [("host", "h".into()), ("port", "5433".into()), ("options", "-c a=b".into())]);
        assert_eq!(service(text, "none", "f").unwrap(), None);
        assert_eq!(
            service("[a]\nhost=x\nnonsense\n", "a", "f").unwrap_err(),
            "f, line 3: expected the name of a parameter, = and its value"
        );
    }

    #[test]
    fn fields_of_passwords_may_hold_anything() {
        assert_eq!(fields(r"h:5432:d\:b:u:p:a\\s\:s"), ["h", "5432", "d:b", "u", r"p:a\s:s"]);
        assert_eq!(fields("h:1").len(), 2);
    }
}
