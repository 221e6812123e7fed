//! The configuration's file: from bytes to values.

use std::io;
use std::path::Path;

use milescale_core::config::{Interpreted, Problem, interpret};
use milescale_core::document::Flaw;

use crate::read::{Symlinks, read_regular};
use crate::yaml;

/// The largest configuration that is read.
pub(crate) const LIMIT: u64 = 1 << 20;

/// The configuration's text as found; `None` without a file.
///
/// # Errors
/// When something is there that cannot be read, as a problem to show.
pub fn text(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    match read_regular(path, Symlinks::Follow, LIMIT) {
        Ok((content, _)) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem { position: None, key: None, message: format!("cannot be read: {error}") }),
    }
}

/// Reads a configuration off its text.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(text: &[u8]) -> Result<Interpreted, Vec<Problem>> {
    if text.iter().all(u8::is_ascii_whitespace) {
        let message = "the file is empty; expected `storage:`, or no file at all for the defaults".to_owned();
        return Err(vec![Problem { position: None, key: None, message }]);
    }
    let document = yaml::parse(text)
        .map_err(|Flaw { position, reason }| vec![Problem { position, key: None, message: reason }])?;
    interpret(&document)
}
