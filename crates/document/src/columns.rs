//! What lists and indexes show of a milestone (contract §2).

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil;
use serde::Serialize;

use crate::gathered::Gathered;
use crate::timestamp;
use crate::tree::Tree;
use crate::value::Value;

/// The priority of a milestone that names none.
pub const DEFAULT_PRIORITY: &str = "medium";

/// The status of a milestone that counts no more.
pub const ARCHIVED: &str = "archived";

/// What archiving may change in a document.
const CHANGED_BY_ARCHIVING: [&str; 3] = ["status", "updated_at", "completed_at"];

/// Whether two documents of one id are the same milestone, archived or not: equal but for what archiving may change.
pub fn is_same_milestone(one: &Value, other: &Value) -> bool {
    let rest = |value: &Value| match value {
        Value::Mapping(entries) => {
            let rest = entries.iter().filter(|(key, _)| !CHANGED_BY_ARCHIVING.contains(&key.as_str()));
            Value::Mapping(rest.cloned().collect())
        }
        other => other.clone(),
    };
    rest(one) == rest(other)
}

/// The columns of a milestone, read off its document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Columns {
    /// The document's title; where it has none, the id.
    pub title: String,
    /// The document's status, where it has one.
    pub status: Option<String>,
    /// The document's priority, else `medium`.
    pub priority: String,
    /// `created_at` of the document, else its `timeline.estimated_start`, as `YYYY-MM-DDTHH:MM:SSZ` where it is a time.
    pub created_at: Option<String>,
}

impl Columns {
    /// Reads them off a document's root.
    pub fn of<'a>(id: &str, root: impl Tree<'a>) -> Self {
        let text = |key: &str| root.get(key).and_then(Tree::text).map(Cow::into_owned);
        let start = || root.get("timeline")?.get("estimated_start")?.text().map(Cow::into_owned);
        Self::of_texts(id, [text("title"), text("status"), text("priority"), text("created_at").or_else(start)])
    }

    /// Makes them of a document's texts: title, status, priority, and what says when it came to be.
    pub fn of_texts(id: &str, texts: [Option<String>; 4]) -> Self {
        let [title, status, priority, created_at] = texts;
        Self {
            title: title.unwrap_or_else(|| id.to_owned()),
            status,
            priority: priority.unwrap_or_else(|| DEFAULT_PRIORITY.to_owned()),
            created_at: created_at.as_deref().and_then(instant),
        }
    }

    /// The same of what was gathered.
    pub fn of_gathered(id: &str, gathered: &Gathered<'_>) -> Self {
        let Gathered { title, status, priority, .. } = gathered;
        Self {
            title: title.as_deref().unwrap_or(id).to_owned(),
            status: status.as_deref().map(str::to_owned),
            priority: priority.as_deref().unwrap_or(DEFAULT_PRIORITY).to_owned(),
            created_at: gathered.created_at(),
        }
    }

    /// Those of a document that cannot be read.
    pub fn unreadable(id: &str) -> Self {
        Self { title: id.to_owned(), priority: DEFAULT_PRIORITY.to_owned(), ..Self::default() }
    }
}

/// A time as lists and columns write it, from any spelling that people and programs use: RFC 3339, `YYYY-MM-DD HH:MM:SS`
/// (UTC) or a date. `None` for what is no time.
pub fn instant(text: &str) -> Option<String> {
    read_instant(text).map(timestamp::to_text)
}

/// A time from any spelling that people and programs use.
pub fn read_instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(instant) = timestamp::from_text(text) {
        return Some(instant);
    }
    let civil = text.parse::<civil::DateTime>().ok().or_else(|| {
        let date: civil::Date = text.parse().ok()?;
        Some(date.at(0, 0, 0, 0))
    })?;
    timestamp::from_text(&format!("{civil}Z"))
}

#[cfg(test)]
mod tests {
    use super::{instant, is_same_milestone};
    use crate::value::Value;

    #[test]
    fn archiving_makes_no_other_milestone() {
        let value = |text: &str| Value::from_json(text).unwrap();
        let active = value(r#"{"id":"a","status":"active","n":1}"#);
        let archived = value(r#"{"n":1,"id":"a","status":"archived","updated_at":"x","completed_at":"y"}"#);
        assert!(is_same_milestone(&active, &archived) && is_same_milestone(&active, &value(r#"{"id":"a","n":1.0}"#)));
        assert!(!is_same_milestone(&active, &value(r#"{"id":"a","status":"active","n":2}"#)));
        assert!(!is_same_milestone(&active, &value(r#"{"id":"a","status":"active","n":1,"more":null}"#)));
    }

    #[test]
    fn every_spelling_of_a_time_becomes_one() {
        for text in
            ["2026-11-22T09:30:00Z", "2026-11-22T10:30:00.5+01:00", "2026-11-22 09:30:00", "2026-11-22T09:30:00"]
        {
            assert_eq!(instant(text).as_deref(), Some("2026-11-22T09:30:00Z"), "{text}");
        }
        assert_eq!(instant("2026-11-22").as_deref(), Some("2026-11-22T00:00:00Z"));
        for text in ["", "soon", "Q3", "12:30"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
