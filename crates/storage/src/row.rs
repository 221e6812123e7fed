//! A row of a database as a milestone: what both databases do alike.

use milescale_core::figures::StoreFigures;
use milescale_document::columns::{ARCHIVED, Columns, instant};
use milescale_document::document::Flaw;
use milescale_document::facts::Facts;
use milescale_document::id::Id;
use milescale_document::kept;
use milescale_document::milestone::{Draft, Milestone};
use milescale_document::text::{harmless, in_command};
use milescale_document::tree::Tree;
use milescale_document::value::Value;
use milescale_document::yaml;
use milescale_workspace::error::{Problem, StoreError};

use crate::outline::{Outline, Wanted};
use crate::store::Seen;
use crate::threads::in_threads;

/// Bytes of an id that a row is read by.
pub(crate) const LONGEST_ID: u32 = 1024;

/// What follows why a table does not take a row, for a constraint of it or a trigger: tried again, it is refused again.
pub(crate) const CHANGE_IT: &str = "; nothing was written: change the milestone, or what refuses it";

/// Whether a row has an id, as both databases say it. One that no milestone could have is none: it may be of any length, and many
/// are read at once.
pub(crate) fn has_id(column: &str) -> String {
    format!("octet_length({column}) <= {LONGEST_ID}")
}

/// A row as it was read.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) id: Vec<u8>,
    /// The text of `data`; `None` for NULL.
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) created_at: Option<String>,
    pub(crate) updated_at: Option<String>,
    /// The text that was put, and the mark of `data` then.
    pub(crate) kept: Option<(Vec<u8>, String)>,
    /// It has more than a milestone may have, and its texts were not read.
    pub(crate) is_too_large: bool,
}

impl Row {
    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> u64 {
        let data = self.data.as_ref().map_or(0, Vec::len);
        (self.id.len() + data + self.kept.as_ref().map_or(0, |(text, _)| text.len())) as u64
    }

    /// The milestone that it holds. `table` is where it stands, as people read it.
    pub(crate) fn milestone(self, table: &str) -> Milestone {
        self.with_text(table, |value, data, kept| {
            let given = kept::said(value, data, kept);
            let is_given = given.is_some();
            (given.unwrap_or_else(|| yaml::write::write(value).into_bytes()), is_given)
        })
    }

    /// The same with the text that `text` makes of value, data and what was kept, with whether somebody has given it, and it may
    /// read the value anew; where that cannot be read, with its data.
    fn with_text(
        self,
        table: &str,
        text: impl FnOnce(&mut Value, &[u8], Option<(Vec<u8>, String)>) -> (Vec<u8>, bool),
    ) -> Milestone {
        let id = String::from_utf8_lossy(&self.id).into_owned();
        let data = self.data.unwrap_or_default();
        let mut value = if self.is_too_large { Err(too_large()) } else { value(&data) };
        let said = value.as_mut().ok().map(|value| text(value, &data, self.kept));
        let (text, is_given) = match said {
            Some((text, is_given)) if text.len() as u64 <= yaml::SIZE_LIMIT => (text, is_given),
            // Nobody could read the file.
            Some(_) => {
                value = Err(yaml::too_large_to_write());
                (data, true)
            }
            None => (data, true),
        };
        let mut columns = match &value {
            Ok(value) => Columns::of(&id, value),
            Err(_) => Columns::unreadable(&id),
        };
        columns.created_at = columns.created_at.or_else(|| self.created_at.as_deref().and_then(instant));
        let updated_at = self.updated_at.as_deref().and_then(instant);
        Milestone { place: place(table, &id), id, text, is_given, value, columns, updated_at }
    }

    /// Its outline, where it is taken; its text is there only where it cannot be read.
    pub(crate) fn found(self, table: &str, wanted: &Wanted) -> Option<Outline> {
        let milestone = self.with_text(table, |value, data, kept| {
            let given = kept::said(value, data, kept);
            (Vec::new(), given.is_some())
        });
        wanted.takes(&milestone).then(|| Outline::of(milestone))
    }

    /// What it adds to the figures.
    pub(crate) fn adds(&self) -> Adds {
        let read = || value(self.data.as_deref().unwrap_or_default());
        match if self.is_too_large { Err(too_large()) } else { read() } {
            Ok(value) => Adds::of(&value),
            Err(flaw) => Adds { flaw: Some(Box::new(flaw)), ..Adds::default() },
        }
    }
}

fn too_large() -> Flaw {
    Flaw { position: None, reason: TOO_LARGE.to_owned() }
}

/// What is the matter with a row whose texts were not read.
pub(crate) const TOO_LARGE: &str = "it is larger than a milestone may be";

fn bytes(rows: &[Row]) -> u64 {
    rows.iter().map(Row::bytes).sum()
}

/// Works on rows as milestones, each with its number.
pub(crate) fn work_on(rows: Vec<Row>, table: &str, work: &(dyn Fn(usize, Milestone) + Sync)) {
    let bytes = bytes(&rows);
    in_threads(rows.into_iter().enumerate().collect(), bytes, |(number, row)| work(number, row.milestone(table)));
}

/// The outlines of those rows that are taken, in their order.
pub(crate) fn outlines(rows: Vec<Row>, table: &str, wanted: &Wanted) -> Vec<Outline> {
    let bytes = bytes(&rows);
    in_threads(rows, bytes, |row| row.found(table, wanted)).into_iter().flatten().collect()
}

/// A row's place as people read it.
pub(crate) fn place(table: &str, id: &str) -> String {
    let cut: String = id.chars().take(80).collect();
    format!("{table}, row {:?}", harmless(&cut))
}

/// That a milestone is there which was to be a new one, and how to replace it.
pub(crate) fn there_already(id: &str) -> String {
    format!(
        "{id} is there already; to replace it, pass --if-match with the digest that `milescale milestone show --digest {}` prints",
        in_command(id)
    )
}

/// A name in a statement, which both databases quote alike.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// That a write would take milestones with it that it does not mean.
pub(crate) fn takes_others(place: &str, lost: impl std::fmt::Display) -> StoreError {
    let cause = format!(
        "a trigger, a constraint or a reference of the table would take {lost} other milestones with it, which are kept nowhere; nothing \
         was written. Drop that, or use another table"
    );
    StoreError::new(Problem::Refused, place, cause)
}

/// What a text begins with that keeps what a row had in columns of other programs.
pub(crate) const COLUMNS_OF_OTHERS: &str = "# columns of other programs that went with it: ";

/// Bytes that a value in a column of another program may have, to be kept where its row goes.
pub(crate) const LARGEST_BESIDE: i64 = 1 << 20;

/// That a row that is to go has more in a column of another program than is kept.
pub(crate) fn is_too_large_beside(place: &str, id: &str, column: &str) -> StoreError {
    let cause = format!(
        "what {id} has in {column}, of another program, is larger than 1 MiB, and would be kept nowhere; nothing was written. Take it out yourself"
    );
    StoreError::new(Problem::Refused, place, harmless(&cause))
}

/// That rows of other tables would go with rows that are to go, or change.
pub(crate) fn takes_along(place: &str, which: &str, count: impl std::fmt::Display) -> StoreError {
    let cause = format!(
        "{count} rows of other tables that refer to {which} would go too, or change, and are kept nowhere; nothing was written. Take them out \
         yourself, or let them refer to something else"
    );
    StoreError::new(Problem::Refused, place, cause)
}

/// That a row was to go, and a trigger leaves the deletion out.
pub(crate) fn stays(place: &str, id: &str) -> StoreError {
    let cause =
        format!("a trigger of the table does not let {id} go; nothing was written. Drop that, or let it let rows go");
    StoreError::new(Problem::Refused, place, cause)
}

/// The error of a compare-and-set that found something else.
pub(crate) fn changed(place: &str, id: &Id, is_there: bool, seen: Seen) -> StoreError {
    let cause = match (is_there, seen) {
        (true, Seen::Nothing) => there_already(id.as_str()),
        (true, Seen::Text(_)) => {
            format!("{id} was changed meanwhile; read it again, and name the digest of what you then see")
        }
        (false, _) => format!("the milestone {id} is gone meanwhile"),
    };
    StoreError::new(Problem::Changed, place, cause)
}

/// What stands in a row after it was written, where that is not what was to stand there.
#[derive(Debug)]
pub(crate) struct Altered {
    id: Id,
    /// Keys whose values differ.
    keys: Vec<String>,
}

/// Keys named; the rest is left out.
const KEYS: usize = 5;

impl Altered {
    /// Compares the row's data with what was written.
    pub(crate) fn of(draft: &Draft, data: &[u8]) -> Option<Self> {
        let there = value(data);
        if there.as_ref().is_ok_and(|there| there.digest() == draft.value.digest()) {
            return None;
        }
        let digest = |value: Option<&Value>| value.map(Value::digest);
        let keys = match (&draft.value, &there) {
            (Value::Mapping(ours), Ok(theirs @ Value::Mapping(entries))) => {
                let all = ours.iter().chain(entries).map(|(key, _)| key);
                let differ = all.filter(|key| digest(draft.value.get(key)) != digest(theirs.get(key)));
                differ.map(|key| harmless(key)).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
            }
            _ => Vec::new(),
        };
        Some(Self { id: draft.id.clone(), keys })
    }

    fn keys(&self) -> String {
        let more = if self.keys.len() > KEYS { ", …" } else { "" };
        let named = self.keys.iter().take(KEYS).cloned().collect::<Vec<_>>().join(", ");
        if named.is_empty() { String::new() } else { format!(" ({named}{more})") }
    }

    /// It was written all the same, and the caller has to know.
    pub(crate) fn told(&self, place: &str) -> StoreError {
        let cause = format!(
            "{} was written, and a trigger of the table has made something else of it{}; `milescale milestone show {}` \
             shows what stands there",
            self.id,
            self.keys(),
            in_command(self.id.as_str())
        );
        StoreError::new(Problem::Altered, place, cause)
    }

    /// It was not written: what is brought over has to be the same on both sides.
    pub(crate) fn refused(&self, place: &str) -> StoreError {
        let cause = format!(
            "a trigger of the table makes something else of {}{}; nothing was written. Drop the trigger, or let it leave data \
             as it is",
            self.id,
            self.keys()
        );
        StoreError::new(Problem::Refused, place, cause)
    }
}

/// The error of a write that a trigger has left out.
pub(crate) fn suppressed(place: &str, id: &Id) -> StoreError {
    let cause =
        format!("a trigger of the table leaves out what is written to {id}; nothing was written. Drop the trigger");
    StoreError::new(Problem::Refused, place, cause)
}

fn value(data: &[u8]) -> Result<Value, Flaw> {
    let text = std::str::from_utf8(data)
        .map_err(|_| Flaw { position: None, reason: "data is not UTF-8; write JSON into it".to_owned() })?;
    if text.trim().is_empty() {
        return Err(Flaw { position: None, reason: "data is empty; write JSON into it".to_owned() });
    }
    match Value::from_json(text) {
        Ok(value @ Value::Mapping(_)) => Ok(value),
        Ok(_) => Err(Flaw { position: None, reason: "data is no JSON object; write one into it".to_owned() }),
        Err(flaw) => Err(Flaw { position: flaw.position, reason: format!("data is no JSON: {}", flaw.reason) }),
    }
}

/// What one row adds to the figures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Adds {
    pub(crate) archived: bool,
    pub(crate) kiro_enabled: u32,
    pub(crate) requires: u32,
    /// Rare, so boxed.
    pub(crate) flaw: Option<Box<Flaw>>,
}

impl Adds {
    fn of(value: &Value) -> Self {
        let Facts { kiro_enabled, requires, .. } = Facts::of(value);
        let archived = value.get("status").and_then(Tree::scalar).is_some_and(|status| status == ARCHIVED);
        Self { archived, kiro_enabled, requires, flaw: None }
    }

    /// Adds itself to a sum, unless it is archived.
    pub(crate) fn add_to(&self, figures: &mut StoreFigures) {
        if !self.archived {
            figures.milestone_count += 1;
            figures.kiro_enabled_count += u64::from(self.kiro_enabled);
            figures.dependency_count += u64::from(self.requires);
        }
    }
}
