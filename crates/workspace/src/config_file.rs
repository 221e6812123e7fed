//! The configuration's file: from bytes to values.

use std::io;
use std::path::Path;

use milescale_core::config::{Interpreted, Problem, interpret};
use milescale_document::document::{Document, Flaw};
use milescale_document::yaml;

use crate::Place;
use crate::folder::{Metadata, system};
use crate::read::read_regular;

/// The largest configuration that is read.
pub(crate) const LIMIT: u64 = 1 << 20;

/// The configuration's text as found; `None` without a file.
///
/// # Errors
/// When something is there that cannot be read, as a problem to show.
pub fn text(place: &Place) -> Result<Option<Vec<u8>>, Problem> {
    Ok(text_and_file(place)?.map(|(text, _)| text))
}

/// The same, with what the system says of the very file that has the text.
///
/// # Errors
/// As [`text`].
pub fn text_and_file(place: &Place) -> Result<Option<(Vec<u8>, Metadata)>, Problem> {
    unless_missing(read_regular(place, LIMIT))
}

/// The same of a file that a person has named.
///
/// # Errors
/// As [`text`].
pub fn text_at(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    Ok(unless_missing(system::read(path, LIMIT))?.map(|(text, _)| text))
}

fn unless_missing<M>(read: io::Result<(Vec<u8>, M)>) -> Result<Option<(Vec<u8>, M)>, Problem> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(problem(format!("cannot be read: {error}"))),
    }
}

fn problem(message: String) -> Problem {
    Problem { position: None, key: None, message }
}

/// Reads a configuration off its text.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(text: &[u8]) -> Result<Interpreted, Vec<Problem>> {
    interpret(&document(text)?)
}

/// The document of a configuration's text.
///
/// # Errors
/// What is wrong with it.
pub fn document(text: &[u8]) -> Result<Document<'_>, Vec<Problem>> {
    if text.iter().all(u8::is_ascii_whitespace) {
        let message = "the file is empty; expected `storage:`, or no file at all for the defaults".to_owned();
        return Err(vec![problem(message)]);
    }
    yaml::parse(text).map_err(|Flaw { position, reason }| vec![Problem { position, key: None, message: reason }])
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::Workspace;
    use crate::trust::{Entry, Trust};
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_there_and_no_file_is_never_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let place = |name: &str| workspace.folder().join(name);
        let path = |name: &str| place(name).path();
        fs::create_dir(workspace.folder().path()).unwrap();
        assert_eq!(text(&place("none")), Ok(None));
        symlink("nowhere", path("dangling")).unwrap();
        symlink("loop", path("loop")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        symlink("folder", path("to-folder")).unwrap();
        fs::write(path("file"), "storage:\n").unwrap();
        symlink("file", path("good")).unwrap();
        let links = ["dangling", "loop", "to-folder", "good"];
        for name in links.into_iter().chain(["dangling/config.yaml"]) {
            let problem = text(&place(name)).unwrap_err();
            let link = name.split('/').next().unwrap();
            assert!(problem.message.contains(&format!("{link} is a symlink to ")), "{name}: {problem}");
            assert!(problem.message.contains(&format!("--link {link}")), "{name}: {problem}");
        }
        let target = |name: &str| fs::read_link(path(name)).unwrap().to_str().map(str::to_owned);
        let root = folder.path().to_str().unwrap();
        let trusted = |name: &str| Entry { link: Some(name.into()), target: target(name), ..Entry::owner(root) };
        let workspace = Workspace::trusting(folder.path(), Trust::given(links.map(trusted).into()));
        let place = |name: &str| workspace.folder().join(name);
        for (name, said) in [
            ("dangling", "a symlink to nowhere, and there is nothing"),
            ("loop", "a symlink to loop, and Too many levels"),
            ("dangling/config.yaml", "a symlink to nowhere, and there is nothing"),
            ("folder", "expected a regular file"),
            ("to-folder", "expected a regular file"),
        ] {
            let problem = text(&place(name)).unwrap_err();
            assert!(problem.message.contains(said), "{name}: {problem}");
        }
        assert_eq!(text(&place("good")), Ok(Some(b"storage:\n".to_vec())));
        assert_eq!(text(&place("to-folder/none")), Ok(None));
        fs::remove_file(path("good")).unwrap();
        symlink("folder", path("good")).unwrap();
        assert!(text(&place("good")).is_err(), "it leads elsewhere than when it was trusted");
    }
}
