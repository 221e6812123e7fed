//! What a write of milescale took out of its place: kept for a while, and looked at again, for a program that had the
//! file open may have written into it since.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use milescale_core::digest::Digest;
use milescale_core::id::Id;

use crate::durable;
use crate::read::{Symlinks, read_regular};
use crate::workspace::Workspace;
use crate::yaml;

/// How long a replaced content is kept.
const KEPT_FOR: Duration = Duration::from_hours(30 * 24);

/// How long a file must have stood still before it is judged.
const STILL_FOR: Duration = Duration::from_secs(2);

/// How a name begins: the second in which the content left its place. As texts they sort by time.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// Hexadecimal digits of the digest in a name.
const DIGITS: usize = 16;

/// A name that nobody else takes, for the content with this digest that leaves its place:
/// `YYYYMMDDTHHMMSSZ-DIGEST-PID-N.ID.yaml`.
pub(super) fn name(workspace: &Workspace, id: &Id, digest: Digest, now: Timestamp) -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = workspace.displaced();
    durable::create_folder(&folder)?;
    let stamp = now.strftime(STAMP);
    let digits = digest.to_string();
    let (process, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    Ok(folder.join(format!("{stamp}-{}-{process}-{number}.{id}.yaml", &digits[..DIGITS])))
}

/// A write that reached a file after milescale had taken it out of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwritten {
    /// The milestone.
    pub id: String,
    /// Where the content is kept now.
    pub kept_as: PathBuf,
}

/// Looks through what was displaced: what was written to since is moved to the conflicts and named; what is old goes.
/// `now` is the wall clock. Under the daemon's lock only.
pub fn review(workspace: &Workspace, now: SystemTime) -> io::Result<Vec<Overwritten>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(workspace.displaced()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other?,
    };
    let oldest = now.checked_sub(KEPT_FOR).and_then(|then| Timestamp::try_from(then).ok()).unwrap_or_default();
    let oldest = oldest.strftime(STAMP).to_string();
    for entry in entries {
        let (path, metadata) = match entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let still = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok());
        let Some(Parts { stamp, digits, id }) = Parts::of(&path).filter(|_| metadata.is_file()) else { continue };
        if still.is_none_or(|still| still < STILL_FOR) {
            continue;
        }
        // What was not touched since it left its place is what it was: years of it cost no reading.
        let untouched = metadata.modified().ok().and_then(|modified| Timestamp::try_from(modified).ok());
        if untouched.is_some_and(|modified| modified.strftime(STAMP).to_string() < stamp) {
            if stamp < oldest {
                durable::remove(&path)?;
            }
            continue;
        }
        let Ok((content, _)) = read_regular(&path, Symlinks::Refuse, yaml::SIZE_LIMIT) else { continue };
        if Digest::of(&content).to_string().starts_with(&digits) {
            if stamp < oldest {
                durable::remove(&path)?;
            }
        } else {
            durable::create_folder(&workspace.conflicts())?;
            let kept_as = workspace.conflicts().join(path.file_name().unwrap_or_default());
            durable::rename_new(&path, &kept_as)?;
            found.push(Overwritten { id, kept_as });
        }
    }
    Ok(found)
}

/// What a name that this module has given says.
struct Parts {
    stamp: String,
    digits: String,
    id: String,
}

impl Parts {
    fn of(path: &Path) -> Option<Self> {
        let (head, id) = path.file_name()?.to_str()?.strip_suffix(".yaml")?.split_once('.')?;
        let (stamp, rest) = head.split_once('-')?;
        let (digits, _) = rest.split_once('-')?;
        (digits.len() == DIGITS).then(|| Self { stamp: stamp.to_owned(), digits: digits.to_owned(), id: id.to_owned() })
    }
}
