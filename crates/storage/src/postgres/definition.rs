//! The definition of the table as its server says it, for a temporary one of the same kind.

use tokio_postgres::{Client, Error};

use super::documents::Table;
use super::schema;

/// The temporary table.
pub(super) const TRIAL: &str = "pg_temp.milescale_trial";

/// The statements that make a temporary table like the table, without a lock on it that lasts.
pub(super) async fn of(client: &Client, table: &Table) -> Result<Vec<String>, Error> {
    let names = async |select: &str| table.asked(client, select).await;
    if names("SELECT 'there' WHERE to_regclass($1) IS NOT NULL").await?.is_empty() {
        return Ok(vec![temporary(&schema::all_columns())]);
    }
    // A number that is drawn from a sequence would be missing there afterwards.
    let columns = names(
        "SELECT quote_ident(attname) || ' ' || format_type(atttypid, atttypmod)
                 || coalesce((SELECT ' COLLATE ' || quote_ident(nspname) || '.' || quote_ident(collname) FROM pg_collation l
                    JOIN pg_namespace n ON n.oid = collnamespace WHERE l.oid = attcollation
                    AND attcollation <> typcollation), '')
                 || CASE WHEN attgenerated IN ('s', 'v') THEN ' GENERATED ALWAYS AS (' || default_ || CASE attgenerated WHEN 's' THEN ') STORED' ELSE ') VIRTUAL' END
                    WHEN default_ IS NULL OR draws THEN '' ELSE ' DEFAULT ' || default_ END
                 || CASE WHEN attnotnull AND attidentity = '' AND NOT draws THEN ' NOT NULL' ELSE '' END
                 FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid,
                 LATERAL (SELECT (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid
                    AND adnum = attnum) AS default_) AS d,
                 LATERAL (SELECT EXISTS (SELECT FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum
                    AND adbin::text ~ concat(':funcid ', 'nextval(regclass)'::regprocedure::oid, ' ')) AS draws) AS e
                 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    )
    .await?;
    let mut statements = vec![temporary(&columns.join(", "))];
    let constraints = names(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = to_regclass($1)
                 AND contype IN ('c', 'p', 'u', 'x') ORDER BY contype = 'c', conname",
    )
    .await?;
    statements.extend(constraints.iter().map(|it| format!("ALTER TABLE {TRIAL} ADD {it}")));
    let indexes = names(
                "SELECT CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END || substr(def, length(begin_) + 1)
                 FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_class c ON c.oid = indrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace, LATERAL (SELECT pg_get_indexdef(indexrelid) AS def,
                   concat('CREATE ', CASE WHEN indisunique THEN 'UNIQUE ' END, 'INDEX ', quote_ident(i.relname), ' ON ',
                     CASE WHEN c.relkind = 'p' THEN 'ONLY ' END, quote_ident(n.nspname), '.', quote_ident(c.relname), ' USING ')
                     AS begin_) AS d
                 WHERE indrelid = to_regclass($1) AND indisvalid AND left(def, length(begin_)) = begin_
                 AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype <> 'f')",
            )
            .await?;
    // Names in it are somebody's texts: they are left out by what the server quotes them as, never looked through.
    statements.extend(indexes.iter().map(|it| match it.strip_prefix("UNIQUE ") {
        Some(how) => format!("CREATE UNIQUE INDEX ON {TRIAL} USING {how}"),
        None => format!("CREATE INDEX ON {TRIAL} USING {it}"),
    }));
    Ok(statements)
}

fn temporary(columns: &str) -> String {
    format!("CREATE TEMPORARY TABLE {TRIAL} ({columns}) ON COMMIT DROP")
}
