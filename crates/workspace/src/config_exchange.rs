//! The configuration exchanged for a prepared one, so that an edit that somebody saves in that instant comes out, is given
//! the engine too, and goes back in.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use milescale_core::backend::Engine;
use milescale_document::digest::Digest;
use milescale_document::yaml;

use crate::config_file;
use crate::displaced::came_out;
use crate::displaced::watch_configuration;
use crate::durable;
use crate::looked::stands_still_for;
use crate::read::read_regular;
use crate::{Place, Workspace};

/// How long an edit has to stand still that can be read. Verbs wait meanwhile, and what is written later is found, and named.
const STILL_FOR: Duration = Duration::from_millis(500);

/// How long one is waited for that cannot; the tests' own is written at once.
const STILL_WITHIN: Duration = if cfg!(test) { READ_EVERY } else { Duration::from_secs(2) };

/// How often an edit that may be just being written is read meanwhile.
const READ_EVERY: Duration = Duration::from_millis(50);

/// How often edits may come between before it is given up.
const TRIES: usize = 16;

/// Where it is exchanged, and the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) clock: fn() -> SystemTime,
}

impl Around<'_> {
    /// Watches a file that has come out, of which this content was dealt with.
    fn watch(self, file: &Place, content: &[u8]) -> io::Result<()> {
        watch_configuration(self.workspace, file, Digest::of(content), (self.clock)())
    }
}

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
    around: Around<'_>,
    prepared: &Place,
    path: &Place,
    (content, replaces): (Digest, Digest),
    engine: Engine,
) -> io::Result<()> {
    let on_disk = durable::exchange(prepared, path)?.seen()?;
    settle(around, prepared, path, (content, replaces), engine)?;
    on_disk
}

/// Deals with what has come out: what was to be replaced goes; an edit is given the engine and exchanged in turn. A program may
/// have each of them open: they are watched from then on.
pub(crate) fn settle(
    around: Around<'_>,
    prepared: &Place,
    path: &Place,
    (content, replaces): (Digest, Digest),
    engine: Engine,
) -> io::Result<()> {
    let first = Exchanged { file: prepared.to_owned(), number: 0, put_in: content, replaces };
    let mut last = last_of(around, first, engine)?;
    for _ in 0..TRIES {
        // Whose it is to be says the very file that has the text.
        let (out, like) = match read_regular(&last.file, config_file::LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        // An edit of what was put in that came to the same is none.
        if [last.replaces, last.put_in].contains(&Digest::of(&out)) {
            return around.watch(&last.file, &out);
        }
        let (out, edited) = match edit_with_engine(&last.file, out, engine, around.clock) {
            // It could not be in force either; a person looks at it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%error, "it is not in force");
                return came_out(around.workspace, &last.file, &name_of(&last.file));
            }
            other => other?,
        };
        let next = last.next(prepared, Digest::of(&edited));
        durable::prepare(&next.file, &edited, Some(durable::Like { file: &like, at: &last.file }))?;
        let on_disk = durable::exchange(&next.file, path)?.seen()?;
        settled(around, &last, &next, &out)?;
        on_disk?;
        last = next;
    }
    Err(io::Error::other("the configuration is saved all the time; what was saved last lies beside it"))
}

/// What becomes of an edit that has come out, once `next` was exchanged, which has it: it is in force, unless somebody has saved
/// another one meanwhile, over what stood there without it. Then a person looks at it.
fn settled(around: Around<'_>, last: &Exchanged, next: &Exchanged, edit: &[u8]) -> io::Result<()> {
    let came_next = text_of(&next.file)?.map(|text| Digest::of(&text));
    if came_next.is_none_or(|came| [next.replaces, next.put_in].contains(&came)) {
        return around.watch(&last.file, edit);
    }
    came_out(around.workspace, &last.file, &name_of(&last.file))
}

/// A file that was exchanged for the configuration, or is about to be: it holds what came out, or still what is to go in.
#[derive(Debug)]
struct Exchanged {
    file: Place,
    /// How many came before.
    number: usize,
    /// The digest of what it put in.
    put_in: Digest,
    /// The digest of what that replaced, where nobody has saved anything in between.
    replaces: Digest,
}

/// What stands between the name of the first file and the numbers of a later one.
const LATER: &str = "-edit";

impl Exchanged {
    /// The one after it. Its name says what it puts in and replaces, for whoever finds it after a death.
    fn next(&self, first: &Place, put_in: Digest) -> Self {
        let (number, replaces) = (self.number + 1, self.put_in);
        let name = format!("{}{LATER}-{number}-{put_in}-{replaces}", name_of(first));
        Self { file: first.with_name(name), number, put_in, replaces }
    }

    /// A later one, by its name.
    fn found(file: Place, first: &str) -> Option<Self> {
        let name = name_of(&file);
        let mut parts = name.strip_prefix(first)?.strip_prefix(LATER)?.strip_prefix('-')?.split('-');
        let (number, put_in, replaces) = (parts.next()?, parts.next()?, parts.next()?);
        let (number, put_in) = (number.parse().ok()?, put_in.parse().ok()?);
        Some(Self { file, number, put_in, replaces: replaces.parse().ok()? })
    }
}

/// The last file that was exchanged, where a death may have left several. Those before it are watched, for their edits are in it
/// or in force; those after it were not exchanged yet, and go.
fn last_of(around: Around<'_>, first: Exchanged, engine: Engine) -> io::Result<Exchanged> {
    let (folder, name) = (first.file.parent(), name_of(&first.file));
    let mut later = Vec::new();
    for entry in folder.entries()? {
        later.extend(Exchanged::found(folder.join(&entry.name), &name));
    }
    later.sort_by_key(|it| it.number);
    let mut last = first;
    for it in later {
        let was_exchanged = text_of(&it.file)?.is_some_and(|text| Digest::of(&text) != it.put_in);
        if !was_exchanged {
            durable::remove(&it.file)?;
            continue;
        }
        let before = std::mem::replace(&mut last, it);
        if let Some(out) = text_of(&before.file)? {
            // What was put in after it is what it held then.
            let is_in = with_engine(out.clone(), engine).is_ok_and(|edited| Digest::of(&edited) == last.put_in);
            settled(around, &before, &last, if is_in { &out } else { b"" })?;
        }
    }
    Ok(last)
}

fn name_of(path: &Place) -> String {
    path.name_text()
}

/// An edit, and the same with the engine set; one that cannot be read yet, or was written to a moment ago, is waited for.
fn edit_with_engine(
    prepared: &Place,
    mut out: Vec<u8>,
    engine: Engine,
    clock: fn() -> SystemTime,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let end = Instant::now() + STILL_WITHIN;
    loop {
        let metadata = prepared.status_of_name();
        let is_still = metadata.is_ok_and(|it| stands_still_for(STILL_FOR, &it, clock()));
        let is_whole = is_still && config_file::parse(&out).is_ok() && !out.is_empty();
        match with_engine(out.clone(), engine) {
            Ok(edited) if is_whole || Instant::now() >= end => return Ok((out, edited)),
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
pub(crate) fn text_of(path: &Place) -> io::Result<Option<Vec<u8>>> {
    match read_regular(path, config_file::LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(Some(other?.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Around, Digest, Engine, SystemTime, exchange, settle, with_engine};
    use crate::Place;
    use crate::Workspace;
    use std::fs;
    use std::path::Path;

    const BEFORE: &str = "storage:\n  database:\n    type: sqlite\n";
    /// What is in use, what lies beside it, what is in use in the end.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

    const EDIT: &str = "# mine\nstorage:\n  database:\n    type: sqlite\n  monitoring: {interval: 7}\n";

    fn digests() -> (Vec<u8>, (Digest, Digest)) {
        let content = with_engine(BEFORE.into(), Engine::Postgresql).unwrap();
        let digests = (Digest::of(&content), Digest::of(BEFORE.as_bytes()));
        (content, digests)
    }

    fn around(workspace: &Workspace) -> Around<'_> {
        Around { workspace, clock: SystemTime::now }
    }

    /// How many files lie in a folder, but for what is watched.
    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count()
    }

    #[test]
    fn an_edit_in_between_is_kept_and_names_the_engine_too() {
        let folder = tempfile::tempdir().unwrap();
        let (path, prepared) = (folder.path().join("config.yaml"), folder.path().join(".prepared"));
        let (place, prepared_place) = (Place::named(&path), Place::named(&prepared));
        let (content, digests) = digests();
        for (there, expected) in
            [(BEFORE, String::from_utf8(content.clone()).unwrap()), (EDIT, EDIT.replace("sqlite", "postgresql"))]
        {
            fs::write(&prepared, &content).unwrap();
            fs::write(&path, there).unwrap();
            exchange(around(&Workspace::at(folder.path())), &prepared_place, &place, digests, Engine::Postgresql)
                .unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            assert!(!prepared.exists());
        }
    }

    #[test]
    fn what_a_death_after_the_exchange_left_is_dealt_with_later() {
        let folder = tempfile::tempdir().unwrap();
        let (path, prepared) = (folder.path().join("config.yaml"), folder.path().join(".prepared"));
        let (place, prepared_place) = (Place::named(&path), Place::named(&prepared));
        let (content, digests) = digests();
        fs::write(&path, &content).unwrap();
        fs::write(&prepared, EDIT).unwrap();
        settle(around(&Workspace::at(folder.path())), &prepared_place, &place, digests, Engine::Postgresql).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), EDIT.replace("sqlite", "postgresql"));
        assert_eq!(files(folder.path()), 1);
        // And once more: nothing is left to be done.
        settle(around(&Workspace::at(folder.path())), &prepared_place, &place, digests, Engine::Postgresql).unwrap();
    }

    /// An edit came out, was given the engine and exchanged, and a second one came out of that: a death at each step.
    #[test]
    fn what_came_out_last_outlives_a_death_at_any_step() {
        const LATER: &str = "# later\nstorage: {database: {type: sqlite}, monitoring: {interval: 9}}\n";
        let (content, digests) = digests();
        let content = String::from_utf8(content).unwrap();
        let (edit, later) = (EDIT.replace("sqlite", "postgresql"), LATER.replace("sqlite", "postgresql"));
        let name = |number: usize, put_in: &str, replaces: &str| {
            format!(".prepared-edit-{number}-{}-{}", Digest::of(put_in.as_bytes()), Digest::of(replaces.as_bytes()))
        };
        let (first, second) = (name(1, &edit, &content), name(2, &later, &edit));
        // What is in use, what lies there; what is in use in the end.
        let cases: &[Case<'_>] = &[
            (&content, &[(".prepared", BEFORE)], &content),
            (&content, &[(".prepared", EDIT)], &edit),
            (LATER, &[(".prepared", EDIT)], &later),
            (&content, &[(".prepared", EDIT), (&first, &edit)], &edit),
            (LATER, &[(".prepared", EDIT), (&first, &edit)], &later),
            (&edit, &[(".prepared", EDIT), (&first, &content)], &edit),
            (&edit, &[(".prepared", EDIT), (&first, LATER)], &later),
            (&edit, &[(&first, &content)], &edit),
            (&edit, &[(&first, LATER)], &later),
            (&edit, &[(&first, LATER), (&second, &later)], &later),
            (&later, &[(&first, LATER), (&second, &edit)], &later),
            (&later, &[(&second, &edit)], &later),
            (&later, &[(&second, EDIT)], &edit),
        ];
        for case @ (in_use, lie_there, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.yaml");
            fs::write(&path, in_use).unwrap();
            for (name, text) in *lie_there {
                fs::write(folder.path().join(name), text).unwrap();
            }
            settle(
                around(&Workspace::at(folder.path())),
                &Place::named(&folder.path().join(".prepared")),
                &Place::named(&path),
                digests,
                Engine::Postgresql,
            )
            .unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), *expected, "{case:?}");
            assert_eq!(files(folder.path()), 1, "{case:?}");
        }
    }
}
