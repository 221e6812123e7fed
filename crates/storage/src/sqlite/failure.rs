//! What an error of SQLite comes to, and what to do about it.

use std::io;

use milescale_document::text::as_told;
use milescale_workspace::error::{Problem, StoreError};
use rustix::fs::Access;

use super::Sqlite;
use super::onward::goes_round;
use crate::row::CHANGE_IT;

/// SQLite's number for a statement that was interrupted.
const INTERRUPTED: u32 = 9;

impl Sqlite {
    /// What a caller does about an error of the driver, and what a person can.
    pub(super) fn failed(&self, error: &sqlx::Error) -> StoreError {
        let code =
            error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok()).map(|code| code & 0xff);
        // A trigger may say anything (RAISE).
        let message =
            as_told(&error.as_database_error().map_or_else(|| error.to_string(), |it| it.message().to_owned()));
        if code == Some(INTERRUPTED) {
            let problem = if self.stop.is_asked() { Problem::Stopped } else { Problem::Unavailable };
            return self.error(problem, self.bound.why());
        }
        let (problem, advice) = match code {
            None if goes_round(error) => (Problem::Corrupt, self.remedy),
            Some(5 | 6) => (Problem::Busy, "; another program holds it; try again"),
            Some(8 | 3 | 23) => (Problem::Refused, "; give milescale's user the right to write it"),
            // Some cannot be opened, and SQLite does not say why.
            Some(14) => match self.place.access(Access::READ_OK | Access::WRITE_OK) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return self.error(
                        Problem::Unavailable,
                        "this user may not read and write it, as nobody may who may not read each milestone in it; have its owner give you \
                         the right (chmod g+rw) where none of them is private",
                    );
                }
                _ => (Problem::Unavailable, ""),
            },
            Some(11 | 26) => (Problem::Corrupt, self.remedy),
            Some(1) => (Problem::Corrupt, "; its tables are not those of milestones"),
            Some(19) => (Problem::Refused, CHANGE_IT),
            Some(13) => return self.is_full(&message),
            Some(7) => (
                Problem::Corrupt,
                "; a row, what a trigger makes of one, or the definitions of its tables need more than 256 MiB",
            ),
            _ => (Problem::Unavailable, ""),
        };
        self.error(problem, format!("{message}{advice}"))
    }
}
