//! Filling the table: binary COPY of documents, texts and bases.

use std::pin::pin;

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::columns::read_instant;
use milescale_document::kept::MARK_OF_ANY;
use milescale_document::milestone::Packed;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error};

use super::connection::Failed;
use super::documents::Table;
use crate::budget::{Room, next_ones};

/// Rows in one COPY.
const COPIED_AT_ONCE: usize = 1000;

impl Table {
    /// Writes many new rows, and what they are as the base of the side that they come from. How many.
    pub(super) async fn copy(
        &self,
        client: &Client,
        milestones: &mut dyn Iterator<Item = Packed>,
        from: Side,
    ) -> Result<u64, Failed> {
        let mut copied = 0;
        loop {
            let rows = next_ones(Room::new(COPIED_AT_ONCE), milestones, Packed::bytes);
            if rows.is_empty() {
                return Ok(copied);
            }
            copied += documents(client, &self.named("milestones"), &rows).await?;
            // The server spells `data` its own way.
            let copy =
                format!("COPY {}milescale_texts (id, text, data_digest) FROM STDIN (FORMAT binary)", self.prefix);
            let types = [Type::TEXT, Type::BYTEA, Type::TEXT];
            let mut writer = pin!(BinaryCopyInWriter::new(client.copy_in(&copy).await?, &types));
            for row in &rows {
                writer.as_mut().write(&[&row.id.as_str(), &row.text, &MARK_OF_ANY]).await?;
            }
            writer.finish().await?;
            let copy = format!("COPY {}milescale_base (side, id, value, text) FROM STDIN (FORMAT binary)", self.prefix);
            let types = [Type::TEXT, Type::TEXT, Type::BYTEA, Type::BYTEA];
            let mut writer = pin!(BinaryCopyInWriter::new(client.copy_in(&copy).await?, &types));
            for row in &rows {
                let (content, side) = (row.content, from.as_str());
                let values: [&(dyn ToSql + Sync); 4] = [
                    &side,
                    &row.id.as_str(),
                    &content.value.as_bytes().as_slice(),
                    &content.text.as_bytes().as_slice(),
                ];
                writer.as_mut().write(&values).await?;
            }
            writer.finish().await?;
        }
    }
}

/// Writes new rows into a table of documents. How many.
pub(super) async fn documents(client: &Client, table: &str, rows: &[Packed]) -> Result<u64, Error> {
    let copy = format!("COPY {table} (id, data, created_at, updated_at) FROM STDIN (FORMAT binary)");
    let types = [Type::TEXT, Type::JSONB, Type::TIMESTAMP, Type::TIMESTAMP];
    let mut writer = pin!(BinaryCopyInWriter::new(client.copy_in(&copy).await?, &types));
    for row in rows {
        let created = row.created_at.as_deref().and_then(read_instant).unwrap_or(row.updated);
        let values: [&(dyn ToSql + Sync); 4] = [&row.id.as_str(), &Json(&row.data), &Time(created), &Time(row.updated)];
        writer.as_mut().write(&values).await?;
    }
    writer.finish().await
}

/// JSON as the server reads it in binary: a version, then the text.
#[derive(Debug)]
struct Json<'a>(&'a str);

impl ToSql for Json<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_u8(1);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(type_: &Type) -> bool {
        *type_ == Type::JSONB
    }

    to_sql_checked!();
}

/// A time as the server reads it in binary: microseconds since 2000, UTC.
#[derive(Debug)]
pub(super) struct Time(pub(super) Timestamp);

/// Seconds from 1970 to 2000.
const EPOCH_2000: i64 = 946_684_800;

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_i64((self.0.as_second() - EPOCH_2000) * 1_000_000);
        Ok(IsNull::No)
    }

    fn accepts(type_: &Type) -> bool {
        *type_ == Type::TIMESTAMP
    }

    to_sql_checked!();
}
