//! The base of old stores in PostgreSQL, beside the documents.

use std::collections::HashMap;

use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_workspace::error::StoreError;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::PostgresStore;
use super::connection::{Failed, Hurry};
use super::documents::Table;
use crate::ledger::{Entry, Former, Known, Ledger};

/// Sets bases, within a transaction that the caller holds.
pub(super) async fn set(client: &Client, table: &Table, side: Side, bases: &[(String, Known)]) -> Result<(), Error> {
    let prefix = table.prefix();
    let ids: Vec<&str> = bases.iter().map(|(id, _)| id.as_str()).collect();
    let of = |content: fn(&Content) -> &Digest| -> Vec<&[u8]> {
        bases.iter().map(|(_, it)| content(&it.content).as_bytes().as_slice()).collect()
    };
    let (values, texts) = (of(|it| &it.value), of(|it| &it.text));
    let noted: Vec<Option<&str>> = bases.iter().map(|(_, it)| it.noted.as_deref()).collect();
    let upsert = format!(
        "INSERT INTO {prefix}milescale_base (side, id, value, text, noted) \
         SELECT $1, * FROM unnest($2::text[], $3::bytea[], $4::bytea[], $5::text[]) \
         ON CONFLICT (side, id) DO UPDATE SET value = excluded.value, text = excluded.text, noted = excluded.noted"
    );
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 5] = [
        (&side.as_str(), Type::TEXT),
        (&ids, Type::TEXT_ARRAY),
        (&values, Type::BYTEA_ARRAY),
        (&texts, Type::BYTEA_ARRAY),
        (&noted, Type::TEXT_ARRAY),
    ];
    client.execute_typed(&upsert, &values).await.map(drop)
}

/// Notes what was reported of a milestone.
async fn note(client: &Client, table: &Table, side: Side, id: &str, noted: &str) -> Result<(), Error> {
    let update = format!("UPDATE {}milescale_base SET noted = $3 WHERE side = $1 AND id = $2", table.prefix());
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&side.as_str(), Type::TEXT), (&id, Type::TEXT), (&noted, Type::TEXT)];
    client.execute_typed(&update, &values).await.map(drop)
}

/// Sets the base of one milestone, and what is noted of it.
pub(super) async fn enter(client: &Client, table: &Table, id: &str, entry: &Entry) -> Result<(), Error> {
    set(client, table, entry.side, &[(id.to_owned(), entry.known.clone())]).await
}

/// Says that the base of a side is there in full.
pub(super) async fn complete(client: &Client, table: &Table, side: Side) -> Result<(), Error> {
    let insert = format!("INSERT INTO {}milescale_sides (side) VALUES ($1) ON CONFLICT DO NOTHING", table.prefix());
    client.execute_typed(&insert, &[(&side.as_str(), Type::TEXT)]).await.map(drop)
}

/// The sides of which the base is there in full. Makes nothing.
pub(super) async fn filled_from(client: &Client, table: &Table) -> Result<Vec<Side>, Failed> {
    let name = table.named("milescale_sides");
    let exists = client.query_typed_one("SELECT to_regclass($1) IS NOT NULL", &[(&name, Type::TEXT)]).await?;
    if !exists.try_get::<_, bool>(0)? {
        return Ok(Vec::new());
    }
    let rows = client.query_typed(&format!("SELECT side FROM {name}"), &[]).await?;
    let words = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    Ok(Side::among(&words))
}

impl Ledger for PostgresStore {
    fn is_complete(&mut self, side: Side) -> Result<bool, StoreError> {
        self.readable()?;
        self.read(async |client, table| {
            let select = format!("SELECT 1 FROM {}milescale_sides WHERE side = $1", table.prefix());
            Ok(client.query_typed_opt(&select, &[(&side.as_str(), Type::TEXT)]).await?.is_some())
        })
    }

    fn complete(&mut self, side: Side) -> Result<(), StoreError> {
        self.adopted()?;
        self.write(Hurry::Yes, async |client, table| Ok(complete(client, table, side).await?))
    }

    fn forget(&mut self, side: Side) -> Result<(), StoreError> {
        self.adopted()?;
        self.write(Hurry::No, async |client, table| {
            for name in ["milescale_sides", "milescale_base"] {
                let delete = format!("DELETE FROM {}{name} WHERE side = $1", table.prefix());
                client.execute_typed(&delete, &[(&side.as_str(), Type::TEXT)]).await?;
            }
            Ok(())
        })
    }

    fn bases(&mut self, side: Side, ids: &[String]) -> Result<HashMap<String, Known>, StoreError> {
        self.readable()?;
        self.read(async |client, table| {
            let select = format!(
                "SELECT id, value, text, noted FROM {}milescale_base WHERE side = $1 AND id = ANY($2)",
                table.prefix()
            );
            let rows = client.query_typed(&select, &[(&side.as_str(), Type::TEXT), (&ids, Type::TEXT_ARRAY)]).await?;
            let known = rows.iter().map(known).collect::<Result<Vec<_>, _>>()?;
            Ok(known.into_iter().flatten().collect())
        })
    }

    fn page(&mut self, side: Side, after: Option<&str>, limit: usize) -> Result<Vec<(String, Known)>, StoreError> {
        self.readable()?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(async |client, table| {
            let select = format!(
                "SELECT id, value, text, noted FROM {}milescale_base \
                 WHERE side = $1 AND ($2 IS NULL OR id > $2) ORDER BY id LIMIT $3",
                table.prefix()
            );
            let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
                [(&side.as_str(), Type::TEXT), (&after, Type::TEXT), (&limit, Type::INT8)];
            let rows = client.query_typed(&select, &values).await?;
            let known = rows.iter().map(known).collect::<Result<Vec<_>, _>>()?;
            Ok(known.into_iter().flatten().collect())
        })
    }

    fn set(&mut self, side: Side, bases: &[(String, Known)]) -> Result<(), StoreError> {
        self.adopted()?;
        self.write(Hurry::No, async |client, table| Ok(set(client, table, side, bases).await?))
    }

    fn unset(&mut self, side: Side, id: &str) -> Result<(), StoreError> {
        self.adopted()?;
        self.write(Hurry::Yes, async |client, table| {
            let delete = format!("DELETE FROM {}milescale_base WHERE side = $1 AND id = $2", table.prefix());
            let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                [(&side.as_str(), Type::TEXT), (&id, Type::TEXT)];
            Ok(client.execute_typed(&delete, &values).await.map(drop)?)
        })
    }

    fn note(&mut self, side: Side, noted: &[(String, String)]) -> Result<(), StoreError> {
        self.adopted()?;
        self.write(Hurry::Yes, async |client, table| {
            for (id, noted) in noted {
                self::note(client, table, side, id, noted).await?;
            }
            Ok(())
        })
    }

    fn earlier(&mut self, after: Option<&(String, Former)>, limit: usize) -> Result<Vec<(String, Former)>, StoreError> {
        self.readable()?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (id, value) = (after.map(|(id, _)| id), after.map(|(_, former)| former.to_bytes()));
        self.read(async |client, table| {
            let select = format!(
                "SELECT id, value FROM {}milescale_earlier WHERE $1 IS NULL OR (id, value) > ($1, $2) \
                 ORDER BY id, value LIMIT $3",
                table.prefix()
            );
            let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
                [(&id, Type::TEXT), (&value, Type::BYTEA), (&limit, Type::INT8)];
            let mut found = Vec::new();
            for row in client.query_typed(&select, &values).await? {
                let bytes: Vec<u8> = row.try_get(1)?;
                if let Some(former) = Former::from_bytes(&bytes) {
                    found.push((row.try_get(0)?, former));
                }
            }
            Ok(found)
        })
    }

    fn remember(&mut self, earlier: &[(String, Former)]) -> Result<(), StoreError> {
        self.adopted()?;
        let ids: Vec<&str> = earlier.iter().map(|(id, _)| id.as_str()).collect();
        let values: Vec<Vec<u8>> = earlier.iter().map(|(_, former)| former.to_bytes()).collect();
        self.write(Hurry::No, async |client, table| {
            let insert = format!(
                "INSERT INTO {}milescale_earlier (id, value) SELECT * FROM unnest($1::text[], $2::bytea[]) \
                 ON CONFLICT DO NOTHING",
                table.prefix()
            );
            let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                [(&ids, Type::TEXT_ARRAY), (&values, Type::BYTEA_ARRAY)];
            Ok(client.execute_typed(&insert, &values).await.map(drop)?)
        })
    }

    fn formers(&mut self, id: &str, value: Digest) -> Result<Vec<Former>, StoreError> {
        self.readable()?;
        self.read(async |client, table| {
            let select = format!(
                "SELECT value FROM {}milescale_earlier WHERE id = $1 AND value BETWEEN $2 AND $3",
                table.prefix()
            );
            let (first, last) = Former::range_of(value);
            let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
                [(&id, Type::TEXT), (&first, Type::BYTEA), (&last, Type::BYTEA)];
            let mut found = Vec::new();
            for row in client.query_typed(&select, &values).await? {
                let bytes: Vec<u8> = row.try_get(0)?;
                found.extend(Former::from_bytes(&bytes));
            }
            Ok(found)
        })
    }
}

/// A base; `None` where it is damaged, which is as if there was none.
fn known(row: &Row) -> Result<Option<(String, Known)>, Error> {
    let (value, text): (Vec<u8>, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
    let content = Digest::from_bytes(&value).zip(Digest::from_bytes(&text));
    let (id, noted) = (row.try_get(0)?, row.try_get(3)?);
    Ok(content.map(|(value, text)| (id, Known { content: Content { value, text }, noted })))
}
