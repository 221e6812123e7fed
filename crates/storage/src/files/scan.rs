//! Every file read, in the order of ids, by several threads.

use std::ffi::CString;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use milescale_document::columns::Columns;
use milescale_document::document::Flaw;
use milescale_document::milestone::Milestone;
use milescale_document::timestamp;
use milescale_document::value::Value;
use milescale_document::yaml;
use milescale_workspace::Place;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::status_in;
use milescale_workspace::read::{Reader, Stamp};

use super::{FileStore, id_at, walk};
use crate::budget::BYTES;
use crate::scan::BATCH;
use crate::threads::{in_shares, until_full};

/// The files that count, by id, then by path, each by its path in the folder.
pub(super) struct Listing {
    pub(super) files: Vec<Box<Path>>,
    pub(super) folder: OwnedFd,
}

/// What was read of a file, or why it cannot be read though it is there.
type Content<'a> = Result<(&'a [u8], Stamp), Flaw>;

/// Bytes that a value takes, about, beside its text.
const VALUE: u64 = 64;

/// What a milestone takes in memory, about: where aliases are expanded, a few bytes may become many values.
fn in_memory(milestone: &Milestone) -> u64 {
    let has = |byte| milestone.text.contains(&byte);
    let bytes = milestone.text.len() as u64;
    if has(b'&') && has(b'*') {
        milestone.value.as_ref().map_or(0, Value::count) * VALUE + yaml::most_expanded(bytes)
    } else {
        bytes
    }
}

impl FileStore {
    /// A file of `active/` as a milestone.
    pub(crate) fn milestone(&self, path: &Place, text: Vec<u8>, stamp: Stamp) -> Milestone {
        self.milestone_of(id_at(path), path, text, stamp)
    }

    /// A file that holds the milestone of an id.
    pub(super) fn milestone_of(&self, id: String, path: &Place, text: Vec<u8>, stamp: Stamp) -> Milestone {
        let (value, columns) = match yaml::milestone(&text) {
            Ok(document) => (Value::of(&document), Columns::of(&id, document.tree())),
            Err(flaw) => (Err(flaw), Columns::unreadable(&id)),
        };
        let (columns, updated_at) = dated(columns, stamp);
        Milestone { id, text, is_given: true, value, columns, updated_at, place: self.workspace.shown(path) }
    }

    /// Works on every milestone, as [`crate::store::Store::scan_batches`] does.
    pub(super) fn milestone_batches(
        &self,
        work: &(dyn Fn(usize, Milestone) + Sync),
        done: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let work = |number: usize, inside: &Path, content: Content<'_>| {
            let path = self.active.join(inside);
            let milestone = match content {
                Ok((text, stamp)) => self.milestone(&path, text.to_vec(), stamp),
                Err(flaw) => {
                    let (id, place) = (id_at(&path), self.workspace.shown(&path));
                    let columns = Columns::unreadable(&id);
                    Milestone {
                        id,
                        text: Vec::new(),
                        is_given: true,
                        value: Err(flaw),
                        columns,
                        updated_at: None,
                        place,
                    }
                }
            };
            let bytes = in_memory(&milestone);
            work(number, milestone);
            bytes
        };
        self.batches(&work, &mut |paths| done(paths.len()))
    }

    /// Hands over path in `active/` and size of each file, unread.
    pub(super) fn sizes(&self, visit: &mut dyn FnMut(&Path, u64) -> ControlFlow<()>) -> Result<(), StoreError> {
        let Some(Listing { files, folder }) = self.sorted()? else { return Ok(()) };
        let sizes = in_shares(files.len(), |numbers| {
            let size = |number: usize| {
                let status = c_path(&files[number]).and_then(|name| status_in(&folder, &name));
                // One that vanished since it was listed is not there: its new name is in the list too, or in the next one.
                status.ok().map(|status| u64::try_from(status.st_size).unwrap_or_default())
            };
            numbers.map(size).collect::<Vec<Option<u64>>>()
        });
        for (path, size) in files.iter().zip(sizes.into_iter().flatten()) {
            if size.is_some_and(|size| visit(path, size).is_break()) {
                break;
            }
        }
        Ok(())
    }

    /// Reads every file and hands over what it holds, which says what it takes in memory; after each batch, its paths in `active/`.
    fn batches(
        &self,
        work: &(dyn Fn(usize, &Path, Content<'_>) -> u64 + Sync),
        done: &mut dyn FnMut(&[Box<Path>]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let Some(Listing { files, folder }) = self.sorted()? else { return Ok(()) };
        let mut rest = &*files;
        while !rest.is_empty() {
            let read = |reader: &mut Reader, number: usize| {
                let inside = &*rest[number];
                let read = c_path(inside).and_then(|path| reader.read(&folder, &path, yaml::SIZE_LIMIT));
                match read {
                    Ok((text, stamp)) => {
                        return Ok(work(number, inside, Ok((text, stamp))));
                    }
                    // One that vanished since it was listed is not there.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => match self.unreadable(inside, &error) {
                        StoreError { problem: Problem::Refused, cause, .. } => {
                            return Ok(work(number, inside, Err(Flaw { position: None, reason: cause })));
                        }
                        error => return Err(error),
                    },
                }
                Ok(0)
            };
            let (paths, others) = rest.split_at(until_full(rest.len().min(BATCH), BYTES, Reader::default, read)?);
            rest = others;
            if done(paths).is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn unreadable(&self, inside: &Path, error: &io::Error) -> StoreError {
        StoreError::io(self.shown(inside), "it cannot be read", error)
    }

    /// Every file, and `active/` itself. `None` where there is none.
    pub(super) fn sorted(&self) -> Result<Option<Listing>, StoreError> {
        let Some(mut files) = walk::milestone_files(&self.workspace)? else { return Ok(None) };
        files.sort_unstable_by(|one, other| stem(one).cmp(stem(other)).then_with(|| one.cmp(other)));
        match walk::open(&self.active, Path::new("")) {
            Ok(folder) => Ok(Some(Listing { files, folder })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(Path::new(""), &error)),
        }
    }
}

/// Its columns with when it came to be, where it does not say so the time of the file, and that time.
pub(super) fn dated(mut columns: Columns, stamp: Stamp) -> (Columns, Option<String>) {
    let updated_at = stamp.modified_at().map(timestamp::to_text);
    columns.created_at = columns.created_at.or_else(|| updated_at.clone());
    (columns, updated_at)
}

pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// A file's name without its end, in bytes: a path's own comparison looks at its components.
fn stem(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_encoded_bytes();
    let start = memchr::memrchr(b'/', bytes).map_or(0, |slash| slash + 1);
    bytes[start..].strip_suffix(b".yaml").unwrap_or(&bytes[start..])
}
