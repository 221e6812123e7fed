//! The marker: one word that names the backend in use (contract §2).

use std::io;
use std::time::SystemTime;

use milescale_core::backend::{Backend, UnknownBackend};
use milescale_document::text::glimpse;

use crate::Place;
use crate::read::read_regular;
use crate::readers::Readers;

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// No marker: `file`.
    Missing,
    /// An empty one, as `echo x >` leaves it for a moment.
    Empty,
    /// A backend.
    Backend(Backend),
    /// Any other word.
    Unknown(UnknownBackend),
}

/// A marker as read at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// What it says.
    pub word: Word,
    /// When it was last modified; `None` without a marker.
    pub modified: Option<SystemTime>,
}

/// The longest marker that is read; a longer one is no marker.
const LIMIT: u64 = 4096;

/// Reads the marker. A missing one is not an error; one that cannot be read is.
pub fn read(path: &Place) -> io::Result<Marker> {
    let (content, metadata) = match read_regular(path, LIMIT) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Marker { word: Word::Missing, modified: None });
        }
        Err(error) => return Err(error),
    };
    let word = match word(&String::from_utf8_lossy(&content)) {
        // Messages repeat it, and others may read those.
        Word::Unknown(_) if Readers::of(&metadata).leave_out_some(path) => {
            Word::Unknown(UnknownBackend("…".to_owned()))
        }
        word => word,
    };
    Ok(Marker { word, modified: metadata.modified().ok() })
}

fn word(text: &str) -> Word {
    let word = text.trim_matches(|character: char| character.is_whitespace() || character == '\u{feff}');
    if word.is_empty() {
        return Word::Empty;
    }
    match word.parse() {
        Ok(backend) => Word::Backend(backend),
        Err(UnknownBackend(word)) => Word::Unknown(UnknownBackend(glimpse(&word))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Backend, Word, word};
    use crate::Place;

    #[test]
    fn a_link_to_nowhere_is_not_a_missing_marker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("marker");
        assert_eq!(super::read(&Place::named(&path)).unwrap().word, Word::Missing);
        for target in ["nowhere", "marker"] {
            std::os::unix::fs::symlink(target, &path).unwrap();
            assert!(super::read(&Place::named(&path)).unwrap_err().to_string().contains("is a symlink to"));
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn drops_what_editors_leave_around_the_word() {
        for text in ["file", "file\n", "\u{feff}file\r\n", "  file\t"] {
            assert_eq!(word(text), Word::Backend(Backend::File), "{text:?}");
        }
        assert_eq!(word(" \r\n"), Word::Empty);
        assert!(matches!(word("postgres"), Word::Unknown(_)));
        assert!(matches!(word("file hybrid"), Word::Unknown(_)));
    }
}
