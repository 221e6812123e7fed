//! Lists and searches: SQL leaves out what is certain not to be wanted, and what is left is judged as it is everywhere.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use milescale_workspace::error::StoreError;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::documents::SqliteStore;
use super::reading::{Kept, is_large, plain_row, range, several, small_columns};
use super::{Make, Onward, Others};
use crate::ledger::AT_ONCE;
use crate::outline::{Needle, Outline, Wanted};
use crate::row::{Row, has_id, outlines};
use crate::threads::ahead;

/// Rows that are looked at in the first statement. Then as many as a good part of what a read lock may take.
const FIRST: i64 = 100;
const AT_MOST: i64 = 2000;
const LOOK: Duration = Duration::from_micros(1500);

/// Pages that wait to be judged.
const PAGES_AHEAD: usize = 8;

/// Bytes of data that are read with many other rows; larger ones are looked up after them, a few at once.
const SMALL: u64 = 8 << 10;

/// Rows that may be wanted.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    /// The ids of large ones.
    large: Vec<String>,
}

impl SqliteStore {
    /// Hands over what is wanted, in the order of ids. No pauses, for a person waits: others are kept waiting no longer in sum.
    pub(super) fn list_wanted(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        self.open(Make::Never)?;
        let (shown, pauses, mut outlined) = (self.sqlite.shown.clone(), self.sqlite.others, Vec::new());
        let mut large = Vec::new();
        self.sqlite.others = Others::MayWriteMeanwhile;
        // What was found is judged while the next rows are looked for.
        let listed = ahead(
            PAGES_AHEAD,
            |send| self.send_wanted(wanted, send),
            |found: Found| {
                outlined.extend(outlines(found.rows, &shown, wanted));
                large.extend(found.large);
                ControlFlow::Continue(())
            },
        );
        self.sqlite.others = pauses;
        listed?;
        self.look_up(&mut outlined, wanted)?;
        if !large.is_empty() {
            self.each_of(&large, |rows| outlined.extend(outlines(rows, &shown, wanted)))?;
            outlined.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        }
        outlined.into_iter().for_each(visit);
        Ok(())
    }

    /// Looks up with their texts those that may be of a milescale that took `007` for 7.
    fn look_up(&mut self, outlined: &mut [Outline], wanted: &Wanted) -> Result<(), StoreError> {
        let unclear = outlined.iter_mut().filter(|it| it.has_number()).map(|it| (it.id.clone(), it));
        let mut unclear: HashMap<String, &mut Outline> = unclear.collect();
        if unclear.is_empty() || self.kept()? != Kept::With {
            return Ok(());
        }
        let (ids, shown): (Vec<String>, _) = (unclear.keys().cloned().collect(), self.sqlite.shown.clone());
        self.each_of(&ids, |rows| {
            for found in outlines(rows, &shown, wanted) {
                if let Some(outline) = unclear.remove(&found.id) {
                    *outline = found;
                }
            }
        })
    }

    /// Hands over the rows with these ids, as many at once as there is room for.
    fn each_of(&mut self, ids: &[String], mut each: impl FnMut(Vec<Row>)) -> Result<(), StoreError> {
        let (kept, bytes, mut rest) = (self.kept()?, self.sqlite.page_bytes(), ids);
        while !rest.is_empty() {
            let next = &rest[..rest.len().min(AT_ONCE)];
            let read = self.sqlite.run(async |connection| several(connection, kept, next, bytes).await);
            let (rows, count) = read?;
            each(rows);
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Sends the rows that may be wanted, page by page.
    fn send_wanted(
        &mut self,
        wanted: &Wanted,
        send: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let (mut after, mut limit, mut is_last) = (Onward::<Vec<u8>>::new(), FIRST, false);
        self.sqlite.pages(
            1,
            async |connection| {
                let started = Instant::now();
                if is_last {
                    return Ok(Vec::new());
                }
                let from = after.at().map(Vec::as_slice);
                let last = last_of_page(connection, from, limit).await?;
                let rows = wanted_rows(connection, wanted, from, last.as_deref()).await?;
                is_last = last.is_none();
                after.to(last)?;
                limit = if started.elapsed() > LOOK { limit / 2 } else { limit + limit / 4 };
                limit = limit.clamp(FIRST / 10, AT_MOST);
                Ok(vec![rows])
            },
            send,
        )
    }
}

/// The last id of the next so many rows; `None` where fewer are left. Rows are skipped within the index of ids, which costs a
/// sixth of asking for the largest one.
async fn last_of_page(
    connection: &mut SqliteConnection,
    after: Option<&[u8]>,
    limit: i64,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let select = format!("SELECT CAST(id AS BLOB) FROM milestones WHERE {} LIMIT 1 OFFSET ?2 - 1", range("id", after));
    let query = sqlx::query(AssertSqlSafe(select)).bind(after.unwrap_or_default()).bind(limit);
    query.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()
}

/// Of JSON the text of the status, and of what is none a number: what is a number there is judged elsewhere. Numbers come
/// before texts, so the larger one of it and the empty text is empty for them.
const STATUS: &str = "(?3 IS NULL OR max(CASE WHEN json_valid(m.data) THEN m.data ->> '$.status' ELSE 0 END, '') IN ('', ?3) \
                      OR typeof(m.data) <> 'text')";

/// What spells characters by their numbers is judged elsewhere, and what is no text.
const TEXT: &str = "(?4 IS NULL OR m.data LIKE ?4 ESCAPE '!' OR m.data LIKE '%\\u%' OR m.id LIKE ?4 ESCAPE '!' \
                    OR typeof(m.data) <> 'text' OR (?5 AND octet_length(m.data || m.id) <> length(m.data || m.id)))";

/// Those that may be wanted of the rows after an id, to another one or to the end.
async fn wanted_rows(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    after: Option<&[u8]>,
    last: Option<&[u8]>,
) -> Result<Found, sqlx::Error> {
    let first = if after.is_some() { ">" } else { ">=" };
    // One end alone: of two SQLite might go on to the farther one.
    let end = if last.is_some() { "<= CAST(?2 AS TEXT)" } else { "< x''" };
    let select = format!(
        "{} WHERE {} AND m.id {first} CAST(?1 AS TEXT) AND m.id {end} AND {STATUS} AND {TEXT} ORDER BY m.id",
        small_columns(Kept::Without, SMALL),
        has_id("m.id")
    );
    let query = sqlx::query(AssertSqlSafe(select)).bind(after.unwrap_or_default()).bind(last);
    let needle = wanted.text.as_ref();
    let query = query.bind(&wanted.status).bind(needle.and_then(|needle| needle.pattern('!')));
    let query = query.bind(needle.is_some_and(Needle::has_strange_capitals));
    let mut found = Found::default();
    for row in &query.fetch_all(connection).await? {
        let is_large = is_large(row)?;
        let row = plain_row(row)?;
        if is_large {
            found.large.push(String::from_utf8_lossy(&row.id).into_owned());
        } else {
            found.rows.push(row);
        }
    }
    Ok(found)
}
