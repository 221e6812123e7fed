//! What a person has trusted on this machine: workspaces of others, symlinks in them, servers that they name (contract §10).
//!
//! A workspace travels, so it cannot trust itself: what is trusted stands in files outside of it, which only the caller or root
//! may write. A text of lines, a JSON object each:
//!
//! ```text
//! {"milescale":"trust","format":1}
//! {"workspace":"/srv/plans"}
//! {"workspace":"/srv/plans","link":"config/storage-config.yaml","target":"..data/storage-config.yaml"}
//! {"workspace":"/srv/plans","server":{"host":"db.example.org","port":5432,"database":"plans","user":"ada"}}
//! ```

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use milescale_document::text::harmless;
use serde::{Deserialize, Serialize};

use crate::folder::system;
use crate::read::Stamp;

/// The version of the files.
const FORMAT: u32 = 1;

/// The most that is read of such a file.
const LIMIT: u64 = 1 << 20;

/// The bits of a mode that let others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The name of a workspace's own folder where it is a symlink itself.
pub const WHOLE: &str = ".milestones";

/// Whether a symlink of this name in `.milestones/` can be trusted. A milestone is a file: one behind a symlink does not count.
pub fn can_be_trusted(name: &Path) -> bool {
    let is_milestone =
        ["active", "completed"].iter().any(|folder| name.starts_with(folder) && name != Path::new(folder));
    !is_milestone && name.components().all(|part| matches!(part, Component::Normal(_)))
}

/// The name beneath the folder that a symlink of this name leads to; `None` where it leads out of the folder.
pub(crate) fn inside(name: &Path, target: &Path) -> Option<PathBuf> {
    let mut inside = name.parent()?.to_owned();
    for part in target.components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                inside.file_name()?;
                inside.pop();
            }
            _ => return None,
        }
    }
    (name != Path::new(WHOLE) && !inside.as_os_str().is_empty()).then_some(inside)
}

/// A server, as it is consented to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// As whom.
    pub user: String,
    /// How the connection is protected at least, as libpq names it; `prefer`, where nothing was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sslmode: Option<String>,
    /// Who may have signed its certificate, where something else was said than the system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sslrootcert: Option<String>,
}

/// How much a way of `sslmode` protects. `require` checks as much as `verify-full` here; `verify-ca` takes a certificate for any name.
/// `None` for a word that is none.
pub fn protection(sslmode: &str) -> Option<u8> {
    match sslmode {
        "disable" => Some(0),
        "allow" => Some(1),
        "prefer" => Some(2),
        "verify-ca" => Some(3),
        "require" | "verify-full" => Some(4),
        _ => None,
    }
}

impl Server {
    /// Whether both are the same server, however it is talked to.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.host, self.port, &self.database, &self.user) == (&other.host, other.port, &other.database, &other.user)
    }

    /// Whether consent to this one is consent to another, to which a connection is protected in this way.
    fn covers(&self, other: &Self, sslmode: &str) -> bool {
        self.is_same(other)
            && protection(sslmode) >= protection(self.sslmode.as_deref().unwrap_or("prefer"))
            && other.sslrootcert == self.sslrootcert
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (user, host, database) = (encoded(&self.user), encoded(&self.host), encoded(&self.database));
        // The name of an interface stands behind a %.
        let host =
            if self.host.contains(':') { format!("[{}]", harmless(&self.host).replace('%', "%25")) } else { host };
        write!(f, "postgresql://{user}@{host}:{}/{database}", self.port)?;
        let more = [("sslmode", &self.sslmode), ("sslrootcert", &self.sslrootcert)];
        let more = more.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
        let more = more.collect::<Vec<_>>().join("&");
        if more.is_empty() { Ok(()) } else { write!(f, "?{more}") }
    }
}

/// A part of an address, so that it is read as the same part again: whoever named the server cannot make it look like another one,
/// nor like a command.
fn encoded(part: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    part.bytes().map(encode).collect()
}

/// One thing that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The folder that holds `.milestones/`, without symlinks.
    pub workspace: String,
    /// The name of a symlink in `.milestones/`; [`WHOLE`] for that folder itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What that symlink says. One that says something else by now is not trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// A server that may be connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
}

impl Entry {
    /// That a workspace is trusted, whoever it belongs to.
    pub fn owner(workspace: &str) -> Self {
        Self { workspace: workspace.to_owned(), link: None, target: None, server: None }
    }
}

/// An entry, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Trusted {
    /// What is trusted.
    #[serde(flatten)]
    pub entry: Entry,
    /// The file that says so.
    pub file: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Head {
    milescale: String,
    format: u32,
}

/// The entries of a text.
///
/// # Errors
/// What is wrong with it, with the number of the line.
pub fn parse(text: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if let Ok(Head { format, .. }) = serde_json::from_slice::<Head>(line) {
            if format > FORMAT {
                return Err(format!("it is of format {format}, written by a newer milescale"));
            }
            continue;
        }
        // The parser counts within the line.
        let flaw = |error: serde_json::Error| {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            format!("line {number}, column {}: {what}", error.column())
        };
        let entry: Entry = serde_json::from_slice(line).map_err(flaw)?;
        entries.push(entry);
    }
    Ok(entries)
}

/// The text of entries.
///
/// # Errors
/// Never, but for what cannot be written as JSON.
pub fn text_of(entries: &[Entry]) -> io::Result<String> {
    let head = Head { milescale: "trust".to_owned(), format: FORMAT };
    let mut text = serde_json::to_string(&head)? + "\n";
    for entry in entries {
        text += &(serde_json::to_string(entry)? + "\n");
    }
    Ok(text)
}

/// Who asks, and what is trusted. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Trust(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sources: Sources,
    given: Vec<Entry>,
    read: Mutex<Read>,
}

/// Where trust comes from, as the program's environment says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The files, of which those that are missing say nothing.
    pub files: Vec<PathBuf>,
    /// One that the caller has named, whoever owns it.
    pub named: Option<PathBuf>,
    /// Who counts as the caller beside the process's own user: who has called `sudo`, and whom the service manager has mapped.
    pub callers: Vec<u32>,
}

/// What was read last, of which files.
#[derive(Debug, Default)]
struct Read {
    stamps: Option<Vec<Option<Stamp>>>,
    entries: Vec<Trusted>,
    problems: Vec<String>,
}

impl Trust {
    /// What these sources say.
    pub fn of(sources: Sources) -> Self {
        Self(Arc::new(Inner { sources, ..Inner::default() }))
    }

    /// These entries.
    pub fn given(entries: Vec<Entry>) -> Self {
        Self(Arc::new(Inner { given: entries, ..Inner::default() }))
    }

    /// Whether what belongs to this user is the caller's own. Root's is everybody's: against root nothing helps.
    pub fn is_own(&self, owner: u32) -> bool {
        owner == 0 || owner == rustix::process::geteuid().as_raw() || self.0.sources.callers.contains(&owner)
    }

    /// Whether a workspace is trusted, whoever it belongs to.
    pub fn has_workspace(&self, root: &Path) -> bool {
        self.any(root, |entry| entry.link.is_none() && entry.server.is_none())
    }

    /// Whether a symlink in a workspace is trusted, by its name and by what it says. One that stays inside may say something else by
    /// now, as long as that is inside as well: so a mounted configuration is exchanged for a newer one.
    pub fn has_link(&self, root: &Path, name: &Path, target: &Path) -> bool {
        can_be_trusted(name)
            && self.any(root, |entry| {
                let is_it =
                    |known: &Option<String>, now: &Path| known.as_deref().is_some_and(|it| Path::new(it) == now);
                let stays = |target: &Path| inside(name, target).is_some();
                let stayed = entry.target.as_deref().is_some_and(|before| stays(Path::new(before)));
                is_it(&entry.link, name) && (is_it(&entry.target, target) || stayed && stays(target))
            })
    }

    /// Whether a server may be connected to for a workspace, protected in this way.
    pub fn has_server(&self, root: &Path, server: &Server, sslmode: &str) -> bool {
        self.any(root, |entry| entry.server.as_ref().is_some_and(|known| known.covers(server, sslmode)))
    }

    /// All that the files say, or all that they say of one workspace, in order.
    pub fn entries(&self, root: Option<&Path>) -> Vec<Trusted> {
        let is_wanted = |it: &&Trusted| root.is_none_or(|root| Path::new(&it.entry.workspace) == root);
        let mut entries: Vec<Trusted> = self.with_read(|read| read.entries.iter().filter(is_wanted).cloned().collect());
        entries.sort();
        entries.dedup();
        entries
    }

    /// What one of the files says; nothing where there is none.
    ///
    /// # Errors
    /// Why it is not used: it cannot be read or understood, or others own it or may write it.
    pub fn of_file(&self, file: &Path) -> Result<Vec<Entry>, String> {
        self.read(file, false)
    }

    /// What keeps some of the files from being used.
    pub fn problems(&self) -> Vec<String> {
        self.with_read(|read| read.problems.clone())
    }

    fn any(&self, root: &Path, is_it: impl Fn(&Entry) -> bool) -> bool {
        let is_it = |entry: &Entry| Path::new(&entry.workspace) == root && is_it(entry);
        self.0.given.iter().any(is_it) || self.with_read(|read| read.entries.iter().any(|it| is_it(&it.entry)))
    }

    /// What the files say now. They are read again where one has changed: a daemon need not be told.
    fn with_read<R>(&self, with: impl FnOnce(&Read) -> R) -> R {
        let mut read = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        let Sources { files, named, .. } = &self.0.sources;
        let all = || files.iter().map(|file| (file, false)).chain(named.iter().map(|file| (file, true)));
        let stamps =
            all().map(|(file, _)| file).map(|file| system::status(file).ok().map(|it| Stamp::of(&it))).collect();
        if read.stamps.as_ref() != Some(&stamps) {
            *read = Read { stamps: Some(stamps), ..Read::default() };
            for (file, is_named) in all() {
                match self.read(file, is_named) {
                    Ok(entries) => {
                        let here = |entry| Trusted { entry, file: file.clone() };
                        read.entries.extend(entries.into_iter().map(here));
                    }
                    Err(why) => read.problems.push(format!("{}: {why}", harmless(&file.to_string_lossy()))),
                }
            }
        }
        with(&read)
    }

    fn read(&self, file: &Path, is_named: bool) -> Result<Vec<Entry>, String> {
        let (text, metadata) = match system::read(file, LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => return Ok(Vec::new()),
            other => other.map_err(|error| format!("it cannot be read: {error}"))?,
        };
        let is_safe = self.is_own(metadata.uid()) && metadata.mode() & WRITABLE_BY_OTHERS == 0;
        if !is_named && !is_safe {
            return Err(
                "it is not used, for others own it or may write it; see what it says, then take their rights away: chown, chmod 0600".to_owned()
            );
        }
        parse(&text).map_err(|flaw| {
            format!("{flaw}; nothing that it says is used: mend it in an editor, or move it away and trust anew what you want")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Server, Sources, Trust, parse, text_of};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn entries() -> Vec<Entry> {
        let server = Server {
            host: "db".into(),
            port: 5432,
            database: "plans".into(),
            user: "ada".into(),
            sslmode: Some("require".into()),
            sslrootcert: None,
        };
        vec![
            Entry::owner("/srv/p"),
            Entry { link: Some("logs".into()), target: Some("/var/log/p".into()), ..Entry::owner("/srv/q") },
            Entry { server: Some(server), ..Entry::owner("/srv/q") },
        ]
    }

    #[test]
    fn what_is_written_is_read_again_and_what_is_not_understood_is_an_error() {
        let text = text_of(&entries()).unwrap();
        assert_eq!(parse(text.as_bytes()).unwrap(), entries());
        assert_eq!(parse(b"\n\n").unwrap(), []);
        for (text, said) in [
            ("{\"milescale\":\"trust\",\"format\":2}\n", "a newer milescale"),
            ("{\"workspace\":\"/a\"}\nnonsense\n", "line 2"),
            ("{\"workspace\":\"/a\",\"unknown\":1}\n", "line 1"),
        ] {
            assert!(parse(text.as_bytes()).unwrap_err().contains(said), "{text}");
        }
    }

    #[test]
    fn each_is_trusted_for_its_workspace_alone_and_a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trust");
        let trust = Trust::of(Sources { files: vec![file.clone()], ..Sources::default() });
        let (p, q) = (Path::new("/srv/p"), Path::new("/srv/q"));
        assert!(!trust.has_workspace(p));
        let write = |text: &str| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        };
        write(&text_of(&entries()).unwrap());
        assert!(trust.has_workspace(p) && !trust.has_workspace(q), "a link or a server is not the whole");
        let link = |root, name, target| trust.has_link(root, Path::new(name), Path::new(target));
        assert!(link(q, "logs", "/var/log/p") && !link(p, "logs", "/var/log/p"));
        assert!(!link(q, "logs", "/var/log/other") && !link(q, "config", "/var/log/p"));
        let server = entries()[2].server.clone().unwrap();
        assert!(trust.has_server(q, &server, "require") && !trust.has_server(p, &server, "require"));
        assert!(!trust.has_server(q, &Server { port: 5433, ..server.clone() }, "require"));
        // Nor one that is less protected, or signed by somebody else.
        assert!(trust.has_server(q, &server, "verify-full") && !trust.has_server(q, &server, "prefer"));
        assert!(!trust.has_server(q, &Server { sslrootcert: Some("ca.pem".into()), ..server }, "verify-full"));
        write("nonsense\n");
        assert!(!trust.has_workspace(p) && trust.problems()[0].contains("line 1"));
    }

    #[test]
    fn a_link_that_stays_inside_may_change_and_one_that_leads_out_may_not() {
        let inside = |name: &str, target: &str| super::inside(Path::new(name), Path::new(target));
        assert_eq!(inside("config/c.yaml", "..data/c.yaml").unwrap(), Path::new("config/..data/c.yaml"));
        assert_eq!(inside("config/c.yaml", "../logs/./c").unwrap(), Path::new("logs/c"));
        for target in ["../../c", "/etc/c", "..", "../../../.milestones/c"] {
            assert_eq!(inside("config/c.yaml", target), None, "{target}");
        }
        let entry =
            |target: &str| Entry { link: Some("config/a".into()), target: Some(target.into()), ..Entry::owner("/w") };
        let has = |before: &str, now: &str| {
            Trust::given(vec![entry(before)]).has_link(Path::new("/w"), Path::new("config/a"), Path::new(now))
        };
        assert!(has("..2026_1", "..2026_2") && has("/srv/c", "/srv/c"));
        assert!(
            !has("..2026_1", "/etc/shadow")
                && !has("..2026_1", "../../x")
                && !has("/srv/c", "/srv/d")
                && !has("/srv/c", "b")
        );
    }

    #[test]
    fn a_file_that_others_may_write_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trust");
        fs::write(&file, text_of(&entries()).unwrap()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
        let trust = Trust::of(Sources { files: vec![file], ..Sources::default() });
        assert!(!trust.has_workspace(Path::new("/srv/p")));
        assert!(trust.problems()[0].contains("others"), "{:?}", trust.problems());
    }
}
