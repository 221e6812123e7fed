//! The configuration's file: from bytes to values.

use std::io;
use std::path::Path;

use milescale_core::config::{self, ClientEnvironment, Interpreted, Problem, interpret};
use milescale_document::document::{Document, Flaw};
use milescale_document::yaml;

use crate::postgres;
use crate::read::{Symlinks, broken_link, read_regular};

/// The largest configuration that is read.
pub(crate) const LIMIT: u64 = 1 << 20;

/// The configuration's text as found; `None` without a file.
///
/// # Errors
/// When something is there that cannot be read, as a problem to show.
pub fn text(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    match read_regular(path, Symlinks::Follow, LIMIT) {
        Ok((content, _)) => Ok(Some(content)),
        Err(error) => match broken_link(path, &error) {
            Some(message) => Err(problem(message)),
            None if error.kind() == io::ErrorKind::NotFound => Ok(None),
            None => Err(problem(format!("cannot be read: {error}"))),
        },
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

fn document(text: &[u8]) -> Result<Document<'_>, Vec<Problem>> {
    if text.iter().all(u8::is_ascii_whitespace) {
        let message = "the file is empty; expected `storage:`, or no file at all for the defaults".to_owned();
        return Err(vec![problem(message)]);
    }
    yaml::parse(text).map_err(|Flaw { position, reason }| vec![Problem { position, key: None, message: reason }])
}

/// Reads a configuration that is to be taken into force: with an address of a server that can be read.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn read(text: &[u8], client: &ClientEnvironment) -> Result<Interpreted, Vec<Problem>> {
    let (found, problems) = judged(&document(text)?, client);
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// All that is wrong with a configuration, and its unknown keys. The address of a server is read too, with what the environment
/// says to its clients.
pub fn examine(text: &[u8], client: &ClientEnvironment) -> (Vec<Problem>, Vec<Problem>) {
    match document(text) {
        Ok(document) => {
            let (found, problems) = judged(&document, client);
            (problems, found.warnings)
        }
        Err(problems) => (problems, Vec::new()),
    }
}

/// What can be read of a document and all that is wrong with it. An address is read whatever the engine is: an old store may be
/// there.
fn judged(document: &Document<'_>, client: &ClientEnvironment) -> (Interpreted, Vec<Problem>) {
    let (found, mut problems) = config::examine(document);
    let url = &found.config.database.url;
    if !url.is_empty() {
        let flaw = postgres::flaw_of_address(url, client);
        problems.extend(flaw.map(|flaw| found.problem("storage.database.url", flaw)));
    }
    (found, problems)
}

#[cfg(test)]
mod tests {
    use super::text;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_there_and_no_file_is_never_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(text(&path("none")), Ok(None));
        symlink("nowhere", path("dangling")).unwrap();
        symlink("loop", path("loop")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        symlink("folder", path("to-folder")).unwrap();
        fs::write(path("file"), "storage:\n").unwrap();
        symlink("file", path("good")).unwrap();
        for (name, said) in [
            ("dangling", "a symlink to \"nowhere\", and there is nothing"),
            ("loop", "a symlink to \"loop\", and Too many levels"),
            ("dangling/config.yaml", "its folder is a symlink to \"nowhere\""),
            ("folder", "cannot be read"),
            ("to-folder", "a symlink to \"folder\", and "),
        ] {
            let problem = text(&path(name)).unwrap_err();
            assert!(problem.message.contains(said), "{name}: {problem}");
        }
        assert_eq!(text(&path("good")), Ok(Some(b"storage:\n".to_vec())));
    }
}
