//! The configuration exchanged for a prepared one, so that an edit that somebody saves in that instant comes out, is given
//! the engine too, and goes back in.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use milescale_core::backend::Engine;
use milescale_core::digest::Digest;

use crate::config_file;
use crate::durable;
use crate::read::{Symlinks, read_regular};
use crate::yaml;

/// How long an edit that cannot be read is waited for: it may be just being written.
const STILL_WITHIN: Duration = Duration::from_secs(2);

/// How often it is read meanwhile.
const READ_EVERY: Duration = Duration::from_millis(50);

/// How often edits may come between before it is given up.
const TRIES: usize = 16;

/// Sets the engine in a configuration, with everything else as it is.
///
/// # Errors
/// Why that cannot be done, in words.
pub(crate) fn with_engine(text: Vec<u8>, engine: Engine) -> Result<Vec<u8>, String> {
    let text = String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    if text.trim().is_empty() {
        return Ok(format!("storage:\n  database:\n    type: {}\n", engine.as_str()).into_bytes());
    }
    let edited = yaml::edit::set_at(&text, &["storage", "database", "type"], engine.as_str());
    edited.map(String::into_bytes).map_err(|flaw| {
        format!("{flaw}; set storage.database.type to {} in an editor first, and then migrate", engine.as_str())
    })
}

/// Exchanges `prepared`, which holds `content`, for the configuration at `path`, which held `replaces`. Once it returns `Ok`,
/// the configuration names the engine and nothing else of it has changed.
///
/// # Errors
/// After one, `prepared` tells whether the exchange has happened: it holds something else than `content` then.
pub(crate) fn exchange(
    prepared: &Path,
    path: &Path,
    (content, replaces): (Digest, Digest),
    engine: Engine,
) -> io::Result<()> {
    let on_disk = durable::exchange(prepared, path)?.seen()?;
    settle(prepared, path, (content, replaces), engine)?;
    on_disk
}

/// Deals with what has come out: what was to be replaced goes; an edit is given the engine and exchanged in turn.
pub(crate) fn settle(
    prepared: &Path,
    path: &Path,
    (content, replaces): (Digest, Digest),
    engine: Engine,
) -> io::Result<()> {
    let (mut inside, mut expected) = (content, replaces);
    for _ in 0..TRIES {
        let Some(out) = text_of(prepared)? else { return Ok(()) };
        if Digest::of(&out) == expected {
            return durable::remove(prepared);
        }
        let edited = edit_with_engine(prepared, out, engine)?;
        let like = path.metadata().ok();
        // Under a name of its own first: the edit is nowhere else.
        let merged = prepared.with_file_name(format!("{}-merged", name_of(prepared)));
        durable::remove(&merged)?;
        durable::prepare(&merged, &edited, like.as_ref())?;
        let on_disk = durable::exchange(&merged, path)?.seen()?;
        durable::rename(&merged, prepared)?;
        on_disk?;
        (inside, expected) = (Digest::of(&edited), inside);
    }
    Err(io::Error::other("the configuration is saved all the time; what was saved last lies beside it"))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// An edit with the engine set; one that cannot be read yet is waited for.
fn edit_with_engine(prepared: &Path, mut out: Vec<u8>, engine: Engine) -> io::Result<Vec<u8>> {
    let end = Instant::now() + STILL_WITHIN;
    loop {
        let is_whole = config_file::parse(&out).is_ok() && !out.is_empty();
        match with_engine(out, engine) {
            Ok(edited) if is_whole || Instant::now() >= end => return Ok(edited),
            Err(why) if Instant::now() >= end => {
                let message = format!("an edit was saved meanwhile, and the engine cannot be set in it: {why}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            _ => std::thread::sleep(READ_EVERY),
        }
        out = text_of(prepared)?.unwrap_or_default();
    }
}

/// What a file holds; `None` where there is none.
pub(crate) fn text_of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read_regular(path, Symlinks::Refuse, config_file::LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(Some(other?.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Engine, exchange, settle, with_engine};
    use std::fs;

    const BEFORE: &str = "storage:\n  database:\n    type: sqlite\n";
    const EDIT: &str = "# mine\nstorage:\n  database:\n    type: sqlite\n  monitoring: {interval: 7}\n";

    fn digests() -> (Vec<u8>, (Digest, Digest)) {
        let content = with_engine(BEFORE.into(), Engine::Postgresql).unwrap();
        let digests = (Digest::of(&content), Digest::of(BEFORE.as_bytes()));
        (content, digests)
    }

    #[test]
    fn an_edit_in_between_is_kept_and_names_the_engine_too() {
        let folder = tempfile::tempdir().unwrap();
        let (path, prepared) = (folder.path().join("config.yaml"), folder.path().join(".prepared"));
        let (content, digests) = digests();
        for (there, expected) in
            [(BEFORE, String::from_utf8(content.clone()).unwrap()), (EDIT, EDIT.replace("sqlite", "postgresql"))]
        {
            fs::write(&prepared, &content).unwrap();
            fs::write(&path, there).unwrap();
            exchange(&prepared, &path, digests, Engine::Postgresql).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            assert!(!prepared.exists());
        }
    }

    #[test]
    fn what_a_death_after_the_exchange_left_is_dealt_with_later() {
        let folder = tempfile::tempdir().unwrap();
        let (path, prepared) = (folder.path().join("config.yaml"), folder.path().join(".prepared"));
        let (content, digests) = digests();
        fs::write(&path, &content).unwrap();
        fs::write(&prepared, EDIT).unwrap();
        settle(&prepared, &path, digests, Engine::Postgresql).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), EDIT.replace("sqlite", "postgresql"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // And once more: nothing is left to be done.
        settle(&prepared, &path, digests, Engine::Postgresql).unwrap();
    }
}
