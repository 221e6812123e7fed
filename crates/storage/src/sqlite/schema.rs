//! The tables of contract §2, and milescale's own beside them.

use milescale_document::text::harmless;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

/// The table of documents, as adapters make it.
pub(super) const DOCUMENTS: &str =
    "CREATE TABLE IF NOT EXISTS milestones (id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)";

/// milescale's own tables beside documents: texts as they were put, and contents that were replaced.
const BESIDE_DOCUMENTS: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS milescale_texts (id TEXT PRIMARY KEY, text BLOB NOT NULL, data_digest TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS milescale_displaced (number INTEGER PRIMARY KEY, id TEXT, at TEXT, text BLOB)",
];

/// The ids of rows that changed.
///
/// The triggers only append an id: they use no function that some build of SQLite lacks and fail for no row. A row that
/// `INSERT OR REPLACE` replaces fires the trigger of the insertion.
const LOG: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS milescale_changes (number INTEGER PRIMARY KEY, id TEXT)",
    "CREATE TRIGGER IF NOT EXISTS milescale_inserted AFTER INSERT ON milestones BEGIN
        INSERT INTO milescale_changes (id) VALUES (new.id); END",
    "CREATE TRIGGER IF NOT EXISTS milescale_updated AFTER UPDATE ON milestones BEGIN
        INSERT INTO milescale_changes (id) VALUES (old.id);
        INSERT INTO milescale_changes (id) SELECT new.id WHERE new.id IS NOT old.id; END",
    "CREATE TRIGGER IF NOT EXISTS milescale_deleted AFTER DELETE ON milestones BEGIN
        INSERT INTO milescale_changes (id) VALUES (old.id); END",
];

/// What makes a store that a person has retired refuse writes. The message stands where `{}` does.
const REFUSALS: &[(&str, &str)] = &[
    ("milescale_refuse_insert", "BEFORE INSERT"),
    ("milescale_refuse_update", "BEFORE UPDATE"),
    ("milescale_refuse_delete", "BEFORE DELETE"),
];

/// The definition of one, with a message as it stands within quotes.
fn refusal(name: &str, when: &str, message: &str) -> String {
    format!("CREATE TRIGGER {name} {when} ON milestones BEGIN SELECT RAISE(ABORT, '{message}'); END")
}

/// Lets the table refuse writes with a message, or take them again.
pub(super) async fn refuse(connection: &mut SqliteConnection, message: Option<&str>) -> Result<(), sqlx::Error> {
    for (name, when) in REFUSALS {
        let drop = format!("DROP TRIGGER IF EXISTS {name}");
        sqlx::query(AssertSqlSafe(drop)).execute(&mut *connection).await?;
        if let Some(message) = message {
            let create = refusal(name, when, &message.replace('\'', "''"));
            sqlx::query(AssertSqlSafe(create)).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Removes the triggers of the log of changes, within a transaction that makes them again.
pub(super) async fn suspend_log(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for name in ["milescale_inserted", "milescale_updated", "milescale_deleted"] {
        sqlx::query(AssertSqlSafe(format!("DROP TRIGGER IF EXISTS {name}"))).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Makes milescale's own tables beside documents, where they are not there.
pub(super) async fn make_beside_documents(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    make(connection, BESIDE_DOCUMENTS).await?;
    make(connection, super::ledger::TABLES).await
}

/// Makes the log of changes, where it is not there.
pub(super) async fn make_log(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    make(connection, LOG).await
}

async fn make(connection: &mut SqliteConnection, statements: &[&'static str]) -> Result<(), sqlx::Error> {
    for statement in statements {
        sqlx::query(*statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Whether a table is there.
pub(crate) async fn has_table(connection: &mut SqliteConnection, name: &str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("SELECT 1 FROM sqlite_schema WHERE lower(type) = 'table' AND name = ?").bind(name);
    Ok(found.fetch_optional(connection).await?.is_some())
}

/// Whether milescale's own tables beside documents are there.
pub(super) async fn has_beside_documents(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let names = [&["milescale_texts", "milescale_displaced"], super::ledger::NAMES].concat();
    has(connection, &names).await
}

/// Triggers and views of a database: SQLite compiles one within the other, and more than a thousand do not fit on the stack of a thread.
const MOST_DEFINED: i64 = 300;

/// The number that changes with each definition.
pub(crate) async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT schema_version FROM pragma_schema_version").fetch_one(connection).await
}

/// Whether the log of changes is there, with all its triggers.
pub(super) async fn has_log(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    has(connection, &["milescale_changes", "milescale_inserted", "milescale_updated", "milescale_deleted"]).await
}

async fn has(connection: &mut SqliteConnection, names: &[&str]) -> Result<bool, sqlx::Error> {
    let rows =
        sqlx::query("SELECT name FROM sqlite_master WHERE name GLOB 'milescale_*'").fetch_all(connection).await?;
    let there: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(names.iter().all(|name| there.iter().any(|there| there == name)))
}

/// Why tables cannot be used, whatever their columns are: one of milestones or of milescale's is none, or names and types are no
/// text.
pub(crate) async fn flaw_of_tables(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let select = "SELECT count(*) FROM sqlite_schema WHERE lower(type) IN ('trigger', 'view')";
    let count: i64 = sqlx::query_scalar(select).fetch_one(&mut *connection).await?;
    if count > MOST_DEFINED {
        return Ok(Some(format!(
            "it has {count} triggers and views; milescale works with {MOST_DEFINED} at most, for each may call the next one"
        )));
    }
    // SQLite itself compares type and name with the definition, and writes one that is a table's in these words. A list of tables is not
    // asked for: that works out the columns of each view.
    let select = "SELECT lower(type), lower(name) FROM sqlite_schema WHERE lower(type) IN ('table', 'view')
                  AND (lower(type) = 'view' OR rootpage = 0 OR coalesce(sql, '') NOT LIKE 'CREATE TABLE%')
                  AND (lower(name) = 'milestones' OR lower(name) GLOB 'milescale_*') LIMIT 1";
    if let Some(row) = sqlx::query(select).fetch_optional(&mut *connection).await? {
        let (kind, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let kind = if kind == "view" { "view" } else { "virtual table" };
        return Ok(Some(format!(
            "{} is a {kind} and no table; milestones are kept in a table: name another workspace or make it one",
            harmless(&name)
        )));
    }
    if let Some(flaw) = not_as_it_is_made(connection).await? {
        return Ok(Some(flaw));
    }
    // The driver cannot read what is not UTF-8 there.
    let select = "SELECT CAST(name AS BLOB), CAST(type AS BLOB) FROM pragma_table_xinfo('milestones')";
    for row in sqlx::query(select).fetch_all(connection).await? {
        let (name, declared): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        if str::from_utf8(&name).is_err() || str::from_utf8(&declared).is_err() {
            let name = harmless(&String::from_utf8_lossy(&name));
            return Ok(Some(format!("name or type of its column {name} is no text in UTF-8; make the table anew")));
        }
    }
    Ok(None)
}

/// A definition as SQLite keeps it: with single spaces, and with the names that it puts in quotes where something is renamed without them. Nothing
/// else may be written in two ways: what is compared with it runs.
fn plain(definition: &str) -> String {
    // What else is a blank elsewhere is a letter to SQLite.
    let one_line = definition.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let made = |kind: &str| {
        one_line.strip_prefix(&format!("CREATE {kind} IF NOT EXISTS ")).map(|rest| format!("CREATE {kind} {rest}"))
    };
    let mut plain = made("TABLE").or_else(|| made("TRIGGER")).unwrap_or_else(|| one_line.clone());
    for name in OURS.iter().chain(super::ledger::NAMES) {
        plain = plain.replace(&format!("\"{name}\""), name);
    }
    plain
}

/// Names of tables that are not in need of quotes.
const OURS: [&str; 4] = ["milestones", "milescale_texts", "milescale_displaced", "milescale_changes"];

/// Why milescale's own tables and triggers cannot be relied on: one of their names is not what milescale makes, or somebody has put something
/// on one. What is in them decides what is kept, what is taken for changed, and what for level.
async fn not_as_it_is_made(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let select = "SELECT CAST(lower(type) AS BLOB), CAST(name AS BLOB), CAST(sql AS BLOB), lower(tbl_name) GLOB 'milescale_*' FROM sqlite_schema
                  WHERE (lower(name) GLOB 'milescale_*' OR lower(tbl_name) GLOB 'milescale_*'
                    OR sql NOT LIKE 'CREATE TABLE %' AND sql LIKE '%trigger%' AND sql LIKE '%milescale!_%' ESCAPE '!') AND sql NOT NULL";
    let known: Vec<String> =
        BESIDE_DOCUMENTS.iter().chain(LOG).chain(super::ledger::TABLES).map(|it| plain(it)).collect();
    for row in sqlx::query(select).fetch_all(connection).await? {
        let text =
            |at: usize| Ok::<_, sqlx::Error>(String::from_utf8_lossy(&row.try_get::<Vec<u8>, _>(at)?).into_owned());
        let (kind, name, sql, is_on_own): (_, _, _, bool) = (text(0)?, text(1)?, text(2)?, row.try_get(3)?);
        let definition = plain(&sql);
        let refuses = REFUSALS.iter().any(|(name, when)| {
            let refusal = refusal(name, when, "\0");
            let message = refusal
                .split_once('\0')
                .and_then(|(before, after)| definition.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)));
            !is_on_own && message.is_some_and(is_one_text)
        });
        if !refuses && !known.contains(&definition) {
            let name = harmless(&name);
            let kind =
                if ["table", "trigger", "index", "view"].contains(&kind.as_str()) { kind } else { "entry".to_owned() };
            let is_own = is_on_own || name.to_ascii_lowercase().starts_with("milescale_");
            if !is_own && !without_comments(&sql).to_ascii_lowercase().contains("milescale_") {
                continue;
            }
            let how = if is_own { "is not as milescale makes it" } else { "has to do with milescale's own tables" };
            return Ok(Some(format!(
                "its {kind} {name} {how}, and what milescale's own tables hold cannot be relied on; if you do not know \
                 it, take it out (`sqlite3 FILE`, DROP {}), and milescale makes what it needs anew",
                kind.to_ascii_uppercase()
            )));
        }
    }
    Ok(None)
}

/// A definition without its comments, as SQLite reads it: what looks like one within quotes is none. It has to be as it is kept: a comment may
/// end with its line.
fn without_comments(definition: &str) -> String {
    let (mut left, mut rest) = (String::with_capacity(definition.len()), definition);
    while let Some(first) = rest.chars().next() {
        let whole = |end: Option<usize>, more: usize| end.map_or(rest.len(), |end| end + more);
        let (kept, length) = match first {
            '\'' | '"' | '`' => (true, whole(rest[1..].find(first), 2)),
            '[' => (true, whole(rest.find(']'), 1)),
            '-' if rest.starts_with("--") => (false, whole(rest.find('\n'), 0)),
            '/' if rest.starts_with("/*") => (false, whole(rest[2..].find("*/"), 4)),
            _ => (true, first.len_utf8()),
        };
        left.push_str(if kept { &rest[..length] } else { " " });
        rest = &rest[length..];
    }
    left
}

/// Whether what stands within quotes is one text of SQL: each quote in it is doubled.
fn is_one_text(inside: &str) -> bool {
    !inside.replace("''", "").contains('\'')
}

/// Why ids cannot be told from each other, where the column `id` does not compare texts by their bytes: what is written under one would be
/// written over another one. A row that is not there has the collation of the column.
pub(crate) async fn flaw_of_ids(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let probe =
        "SELECT id = 'A' OR id = 'a ' OR id <= 'B' FROM (SELECT id FROM milestones WHERE 0 UNION ALL SELECT 'a')";
    let is_another: bool = sqlx::query_scalar(probe).fetch_one(&mut *connection).await?;
    // The index of a primary key, or another one, may have a collation of its own.
    let select = "SELECT EXISTS (SELECT 1 FROM pragma_index_list('milestones') AS l, pragma_index_xinfo(l.name) AS x
                  WHERE x.key AND lower(x.name) = 'id' AND upper(x.coll) <> 'BINARY' AND l.origin IN ('pk', 'u'))";
    let is_index_of_another: bool = sqlx::query_scalar(select).fetch_one(connection).await?;
    let cause = "its column id compares texts otherwise than by their bytes (COLLATE), and two milestones would be taken for one; make the \
                 table anew with id TEXT PRIMARY KEY, and copy the rows";
    Ok((is_another || is_index_of_another).then(|| cause.to_owned()))
}

/// What may take out other milestones than are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakesOut {
    /// Nothing.
    Nothing,
    /// A deletion: the table refers to rows, of itself or of another one.
    Deletion,
    /// Each write: a trigger that is not milescale's deletes or replaces rows, or the table lets rows go that are in conflict.
    Write,
}

/// What a database defines beside milescale's own, as far as it matters to a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defined {
    /// What may take out other milestones than are meant.
    pub(super) takes_out: TakesOut,
    /// Another table refers to it: where one of its rows goes, rows of that may.
    pub(super) is_referred: bool,
    /// The table says what becomes of rows that are in conflict with each other, perhaps that one goes.
    says_of_conflicts: bool,
}

impl Defined {
    pub(super) async fn look(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        // What has no definition is an index that SQLite makes by itself; a name says nothing of what something is.
        // Before BEGIN a trigger only names the deletion that it waits for.
        let select = "SELECT ifnull(max(sql LIKE '%trigger%' AND (body LIKE '%delete%' OR body LIKE '%replace%')), 0),
                      ifnull(max(is_it AND sql LIKE '%conflict%'), 0), ifnull(max(is_it AND sql LIKE '%references%'), 0),
                      ifnull(max(NOT is_it AND sql LIKE '%references%' AND sql LIKE '%milestones%'), 0)
                      FROM (SELECT sql, substr(sql, max(1, instr(lower(sql), 'begin'))) AS body,
                        lower(type) = 'table' AND lower(name) = 'milestones' AS is_it
                        FROM sqlite_schema WHERE sql NOT NULL AND lower(name) NOT GLOB 'milescale_*')";
        let (triggers, says_of_conflicts, refers, is_referred): (bool, bool, bool, bool) =
            sqlx::query_as(select).fetch_one(connection).await?;
        let takes_out = match (triggers || says_of_conflicts, refers) {
            (true, _) => TakesOut::Write,
            (false, true) => TakesOut::Deletion,
            (false, false) => TakesOut::Nothing,
        };
        Ok(Self { takes_out, is_referred, says_of_conflicts })
    }

    /// What a statement says that writes milestones: no milestone takes the place of another one (`ON CONFLICT REPLACE`). Said only
    /// where it has to be, for it holds in triggers as well.
    pub(super) const fn or_abort(self) -> &'static str {
        if self.says_of_conflicts { "OR ABORT " } else { "" }
    }
}

/// The columns that a table of milestones has at least.
const COLUMNS: &[&str] = &["id", "data", "created_at", "updated_at"];

/// Why a table of documents is none of milestones.
pub(super) async fn flaw_of_columns(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let missing = missing_columns(connection, COLUMNS).await?;
    Ok(if missing.is_empty() {
        flaw_of_ids(connection).await?
    } else if missing.len() == COLUMNS.len() {
        let cause = "it has no table milestones: put the file back from a copy of yours; or move it away, with its -wal and -journal, and \
                     `milescale doctor` names the ways on without it";
        Some(cause.to_owned())
    } else {
        Some(format!("the table milestones has no column {}; it is not one of milestones", missing.join(", ")))
    })
}

/// The columns of a table that should be there and are not.
pub(crate) async fn missing_columns(
    connection: &mut SqliteConnection,
    expected: &[&str],
) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query("SELECT name FROM pragma_table_info('milestones')").fetch_all(connection).await?;
    let there: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let missing = expected.iter().filter(|name| !there.iter().any(|there| there.eq_ignore_ascii_case(name)));
    Ok(missing.map(ToString::to_string).collect())
}
