//! Lists and searches: the server leaves out what is certain not to be wanted, and what is left is judged as it is everywhere.

use std::error::Error as StdError;
use std::pin::pin;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use milescale_document::columns::{Columns, DEFAULT_PRIORITY};
use milescale_document::timestamp;
use milescale_workspace::error::StoreError;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Error, Row as Found};

use super::PostgresStore;
use super::documents::{Table, row, time};
use super::schema::{ACTIVE, FLAWED};
use crate::budget::Room;
use crate::outline::{Needle, Outline, Wanted};
use crate::row::{has_id, outlines, place};
use crate::scan::BATCH;

impl PostgresStore {
    /// Hands over what is wanted, by the bytes of ids as files are, whatever the server's order of letters.
    pub(super) fn list_wanted(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        let shown = self.connection.shown().to_owned();
        let (mut listed, unclear) = if let Some(needle) = &wanted.text {
            self.read(async |client, table| Ok(table.search(client, &shown, needle, wanted).await?))?
        } else {
            self.read(async |client, table| Ok(table.list(client, &shown, wanted).await?))?
        };
        self.each_of(&unclear, |rows| listed.extend(outlines(rows, &shown, wanted)))?;
        listed.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        listed.into_iter().for_each(visit);
        Ok(())
    }
}

impl Table {
    /// The outlines of the rows that are wanted, in no order: they are made while the server looks for the next ones. And the ids of
    /// those that only their texts tell of.
    async fn list(&self, client: &Client, shown: &str, wanted: &Wanted) -> Result<Listed, Error> {
        let select = format!(
            "SELECT id::text, created_at::timestamp, updated_at::timestamp, {FLAWED}, left(data->>'title', {SHOWN}), \
             left(data->>'status', {SHOWN}), left(data->>'priority', {SHOWN}), \
             left(coalesce(nullif(data->>'created_at', ''), data->'timeline'->>'estimated_start'), {SHOWN}) FROM {}milestones WHERE {} AND ($1 IS NULL OR data->>'status' = $1) \
             AND ($1 IS NOT NULL OR $3 OR {ACTIVE}) AND ($2 IS NULL OR $2 = '{DEFAULT_PRIORITY}' OR data->>'priority' = $2)",
            self.prefix,
            has_id("id")
        );
        let Wanted { status, priority, all, .. } = wanted;
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(status, Type::TEXT), (priority, Type::TEXT), (all, Type::BOOL)];
        let (mut made, mut unclear) = (Vec::new(), Vec::new());
        let mut rows = pin!(client.query_typed_raw(&select, values).await?);
        while let Some(found) = rows.try_next().await? {
            match listed(&found, shown)? {
                // Perhaps of a milescale that took `007` for 7: its text tells.
                Ok(outline) if outline.has_number() => unclear.push(outline.id),
                Ok(outline) => made.extend(wanted.takes_columns(&outline.columns).then_some(outline)),
                Err(id) => unclear.push(id),
            }
        }
        Ok((made, unclear))
    }

    /// The outlines of the rows in which a needle stands, without their kept texts. And the ids of those in which it may stand and that
    /// are too large to be read with many others.
    async fn search(&self, client: &Client, shown: &str, needle: &Needle, wanted: &Wanted) -> Result<Listed, Error> {
        // Without a collation the server's letters are ASCII's, whatever its locale. In an order, though none is needed: what it
        // has to sort it reads with several workers.
        let is_not_ascii = |text: &str| format!("octet_length({text}) <> length({text})");
        let select = format!(
            "SELECT m.id::text, CASE WHEN pg_column_size(m.data) <= {SMALL} THEN m.data::text END, {}, {}, NULL::bytea, NULL::text, \
             false, pg_column_size(m.data) > {SMALL} FROM {}milestones m \
             WHERE {} AND ($1 IS NULL OR (m.data::text COLLATE \"C\") ILIKE $1 OR (m.id COLLATE \"C\") ILIKE $1 {}) \
             ORDER BY m.id",
            time("m.created_at"),
            time("m.updated_at"),
            self.prefix,
            has_id("m.id"),
            if needle.has_strange_capitals() {
                format!("OR {} OR {}", is_not_ascii("m.data::text"), is_not_ascii("m.id"))
            } else {
                String::new()
            }
        );
        let pattern = needle.pattern('\\');
        let (mut made, mut large) = (Vec::new(), Vec::new());
        let (mut waiting, mut room) = (Vec::new(), Room::new(BATCH));
        let values: [(&(dyn ToSql + Sync), Type); 1] = [(&pattern, Type::TEXT)];
        let mut rows = pin!(client.query_typed_raw(&select, values).await?);
        while let Some(found) = rows.try_next().await? {
            if found.try_get::<_, Option<bool>>(7)? == Some(true) {
                large.push(found.try_get(0)?);
                continue;
            }
            let row = row(&found)?;
            let is_full = room.fills(row.bytes());
            waiting.push(row);
            if is_full {
                room = Room::new(BATCH);
                made.extend(outlines(std::mem::take(&mut waiting), shown, wanted));
            }
        }
        made.extend(outlines(waiting, shown, wanted));
        Ok((made, large))
    }
}

/// What was found at once, and the ids of what is read after it.
type Listed = (Vec<Outline>, Vec<String>);

/// Letters of a text that are read with many others. What is longer is read by itself.
const SHOWN: usize = 10_000;

/// Stored bytes of a document that is read with many others.
const SMALL: u32 = 8192;

/// The outline of a row; of one whose data is no object, or may have a list or a mapping where a text is to be shown, its id.
fn listed(found: &Found, shown: &str) -> Result<Result<Outline, String>, Error> {
    let (id, is_flawed): (String, bool) = (found.try_get(0)?, found.try_get(3)?);
    let mut texts = [None, None, None, None];
    for (number, text) in texts.iter_mut().enumerate() {
        *text = found.try_get::<_, Option<String>>(4 + number)?.filter(|text| !text.is_empty());
    }
    // `->>` gives a list as its JSON, and a text that looks like one as it is.
    let is_whole = |text: &String| text.chars().nth(SHOWN - 1).is_none();
    if is_flawed || texts.iter().flatten().any(|text| text.starts_with(['[', '{']) || !is_whole(text)) {
        return Ok(Err(id));
    }
    let time = |at: usize| -> Result<Option<String>, Error> {
        let time: Option<Microseconds> = found.try_get(at)?;
        Ok(time.and_then(Microseconds::instant).map(timestamp::to_text))
    };
    let mut columns = Columns::of_texts(&id, texts);
    if columns.created_at.is_none() {
        columns.created_at = time(1)?;
    }
    Ok(Ok(Outline { place: place(shown, &id), columns, updated_at: time(2)?, flaw: None, id }))
}

/// Seconds from 1970 to the start of the server's count.
const ITS_EPOCH: i64 = 946_684_800;

/// A time as the server sends it: microseconds since 2000; the ends of the range stand for infinity.
struct Microseconds(i64);

impl Microseconds {
    fn instant(self) -> Option<Timestamp> {
        Timestamp::from_microsecond(self.0.checked_add(ITS_EPOCH * 1_000_000)?).ok()
    }
}

impl<'a> FromSql<'a> for Microseconds {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMP
    }
}
