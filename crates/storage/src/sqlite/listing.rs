//! Lists and searches: SQL leaves out what is certain not to be wanted, and what is left is judged as it is everywhere.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::documents::SqliteStore;
use super::reading::{Kept, columns, plain_row, range};
use super::{Make, Others};
use crate::error::StoreError;
use crate::outline::{Outline, Wanted};
use crate::row::{Row, outlines};

/// Rows that are looked at in the first statement. Then as many as one millisecond takes: half of what a read lock may.
const FIRST: i64 = 100;
const AT_MOST: i64 = 2000;
const LOOK: Duration = Duration::from_millis(1);

/// Rows that were found and are judged at once.
const JUDGED_AT_ONCE: usize = 2048;

impl SqliteStore {
    /// Hands over what is wanted, in the order of ids. No pauses, for a person waits: others are kept waiting no longer in sum.
    pub(super) fn list_wanted(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        self.open(Make::Never)?;
        let (shown, pauses) = (self.sqlite.shown.clone(), self.sqlite.others);
        self.sqlite.others = Others::MayWriteMeanwhile;
        let (mut after, mut limit, mut found) = (None::<Vec<u8>>, FIRST, Vec::new());
        let listed = self.sqlite.pages(
            async |connection| {
                let started = Instant::now();
                let Some(last) = last_of_page(connection, after.as_deref(), limit).await? else { return Ok(Vec::new()) };
                let rows = wanted_rows(connection, wanted, after.as_deref(), &last).await?;
                after = Some(last);
                limit = if started.elapsed() > LOOK { limit / 2 } else { limit + limit / 4 };
                limit = limit.clamp(FIRST / 10, AT_MOST);
                Ok(vec![rows])
            },
            |rows| {
                found.extend(rows);
                if found.len() >= JUDGED_AT_ONCE {
                    outlines(std::mem::take(&mut found), &shown, wanted).into_iter().for_each(&mut *visit);
                }
                std::ops::ControlFlow::Continue(())
            },
        );
        self.sqlite.others = pauses;
        listed?;
        outlines(found, &shown, wanted).into_iter().for_each(visit);
        Ok(())
    }
}

/// The last id of the next so many rows; `None` where none is left.
async fn last_of_page(
    connection: &mut SqliteConnection,
    after: Option<&[u8]>,
    limit: i64,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let select = format!("SELECT CAST(max(id) AS BLOB) FROM (SELECT id FROM milestones WHERE {})", range("id", after));
    let query = sqlx::query(AssertSqlSafe(select)).bind(after.unwrap_or_default()).bind(limit);
    query.fetch_one(connection).await?.try_get(0)
}

/// Where a status cannot be told by SQLite, in any spelling and of any type, the row is looked at.
const STATUS: &str = "(?3 IS NULL OR CASE WHEN json_valid(CAST(m.data AS TEXT)) THEN CASE json_type(CAST(m.data AS TEXT), '$.status') \
                      WHEN 'text' THEN json_extract(CAST(m.data AS TEXT), '$.status') = ?3 WHEN 'object' THEN 0 WHEN 'array' THEN 0 \
                      ELSE json_type(CAST(m.data AS TEXT), '$.status') IS NOT NULL END ELSE 1 END)";

/// A text that is no ASCII, or spells characters by their numbers, may have the needle in a spelling that LIKE does not know.
const TEXT: &str = "(?4 IS NULL OR m.data LIKE ?4 ESCAPE '!' OR octet_length(m.data) IS NOT length(m.data) \
                    OR typeof(m.data) <> 'text' OR instr(m.data, '\\u') OR m.id LIKE ?4 ESCAPE '!' OR octet_length(m.id) <> length(m.id))";

/// Those that may be wanted of the rows after an id, to another one.
async fn wanted_rows(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    after: Option<&[u8]>,
    last: &[u8],
) -> Result<Vec<Row>, sqlx::Error> {
    let first = if after.is_some() { ">" } else { ">=" };
    let select = format!(
        "{} WHERE m.id {first} CAST(?1 AS TEXT) AND m.id <= CAST(?2 AS TEXT) AND {STATUS} AND {TEXT} ORDER BY m.id",
        columns(Kept::Timed)
    );
    let query = sqlx::query(AssertSqlSafe(select)).bind(after.unwrap_or_default()).bind(last);
    let query = query.bind(&wanted.status).bind(wanted.text.as_ref().and_then(|needle| needle.pattern()));
    query.fetch_all(connection).await?.iter().map(plain_row).collect()
}
