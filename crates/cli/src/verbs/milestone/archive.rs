//! `milestone archive` and `milestone unarchive`.

use milescale_document::columns::ARCHIVED;

use super::Desk;
use super::put::{Done, lock, not_written, say};
use crate::args::{ArchiveOptions, UnarchiveOptions};
use crate::context::{Context, Failure};

pub(super) fn archive(desk: &mut Desk, options: &ArchiveOptions) -> Result<(), Failure> {
    desk.writable()?;
    let _lock = lock(desk, &options.id)?;
    let (store, archive) = desk.writable_with_archive()?;
    let digest = archive.archive(store, &options.id, options.if_match, Context::now());
    say(&options.id, digest.map_err(|error| not_written(&error))?, Done::Archived, options.output.json);
    Ok(())
}

pub(super) fn unarchive(desk: &mut Desk, options: &UnarchiveOptions) -> Result<(), Failure> {
    if options.status.as_deref() == Some(ARCHIVED) {
        return Err(Failure::Failed("--status archived would leave it archived; name another status".to_owned()));
    }
    desk.writable()?;
    let _lock = lock(desk, &options.id)?;
    let (status, now) = (options.status.as_deref(), Context::now());
    let (store, archive) = desk.writable_with_archive()?;
    let unarchived = archive.unarchive(store, &options.id, status, options.if_match, now);
    let (digest, was_archived) = unarchived.map_err(|error| not_written(&error))?;
    let done = if was_archived { Done::Unarchived } else { Done::WasInUse };
    say(&options.id, digest, done, options.output.json);
    Ok(())
}
