//! Editing a document that people wrote: one value changes, and every comment, blank and quote stays.

use std::ops::Range;

use crate::document::Flaw;
use crate::value::Value;
use granit_parser::{Event, Parser};

use super::{flaw, parse, write};

/// Sets a key of the root mapping to a text: in its place where it is there, else before the first key.
///
/// # Errors
/// When the text cannot be read, or the value stands where it cannot be replaced without touching anything else: the
/// edit is checked by reading what it makes, and nothing but this key may differ.
pub fn set(text: &str, key: &str, value: &str) -> Result<String, Flaw> {
    set_at(text, &[key], value)
}

/// Like [`set`], for a key within mappings: `path` names them from the root.
///
/// # Errors
/// As for [`set`].
pub fn set_at(text: &str, path: &[&str], value: &str) -> Result<String, Flaw> {
    let key = path.join(".");
    let before = Value::of(&parse(text.as_bytes())?)?;
    let expected = with(before, path, value);
    let written = write::write(&Value::Text(value.to_owned()));
    let written = written.trim_end();
    let mut edited = text.to_owned();
    match find(text, path)? {
        Place::Value(range) => edited.replace_range(range, written),
        Place::Nothing { after, missing } => edited.insert_str(after, &format!(" {}", in_flow(missing, written))),
        Place::Before { at, in_flow: true, missing } => {
            edited.insert_str(at, &format!("{}: {}, ", missing[0], in_flow(&missing[1..], written)));
        }
        Place::Before { at, in_flow: false, missing } => {
            let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
            let blanks = text.get(line..at).unwrap_or_default().trim_start_matches('\u{feff}');
            let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
            edited.insert_str(at, &format!("{}: {}{end}{blanks}", missing[0], in_flow(&missing[1..], written)));
        }
    }
    let same = parse(edited.as_bytes()).is_ok_and(|document| Value::of(&document).is_ok_and(|value| value == expected));
    if same {
        return Ok(edited);
    }
    let reason = format!("{key} cannot be set here without touching anything else; set it to {value} in an editor");
    Err(flaw(None, reason))
}

/// The value that a document has once the key is set.
fn with(value: Value, path: &[&str], text: &str) -> Value {
    let Some((key, rest)) = path.split_first() else { return Value::Text(text.to_owned()) };
    let inner = match value.get(key) {
        Some(inner @ Value::Mapping(_)) => inner.clone(),
        _ => Value::Mapping(Vec::new()),
    };
    value.with(key, with(inner, rest, text))
}

/// Keys that are not there yet, as mappings on one line.
fn in_flow(missing: &[&str], written: &str) -> String {
    missing.iter().rev().fold(written.to_owned(), |inner, key| format!("{{{key}: {inner}}}"))
}

/// Where a key's value stands, or where the key could.
enum Place<'a> {
    Value(Range<usize>),
    /// The key is there, and nothing behind its colon.
    Nothing {
        after: usize,
        missing: &'a [&'a str],
    },
    Before {
        at: usize,
        in_flow: bool,
        missing: &'a [&'a str],
    },
}

type Events<'a> = Vec<(Event<'a>, Range<usize>)>;

fn find<'a>(text: &str, path: &'a [&'a str]) -> Result<Place<'a>, Flaw> {
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut events = Events::new();
    for event in Parser::new_from_str(&text[mark..]) {
        let (event, span) = event.map_err(|error| flaw(None, error.info()))?;
        let range = span.byte_range().ok_or_else(|| flaw(None, "the parser gives no places"))?;
        events.push((event, range.start + mark..range.end + mark));
    }
    let root = events.iter().position(|(event, _)| matches!(event, Event::MappingStart(..)));
    root.and_then(|root| find_in(text, &events, root, path))
        .ok_or_else(|| flaw(None, format!("there is no key yet to put {} before; set it in an editor", path.join("."))))
}

/// Looks for a key in the mapping that starts at this event.
fn find_in<'a>(text: &str, events: &Events<'_>, mapping: usize, path: &'a [&'a str]) -> Option<Place<'a>> {
    let in_flow = text.get(events[mapping].1.start..)?.starts_with('{');
    let (mut at, mut first) = (mapping + 1, None);
    while let Some((event, key)) = events.get(at).filter(|(event, _)| !matches!(event, Event::MappingEnd)) {
        let value = after(events, at);
        if let Event::Scalar(name, ..) = event {
            first.get_or_insert(key.start);
            if *name == path[0] {
                let (event, range) = events.get(value)?;
                return match event {
                    Event::Scalar(..) if range.is_empty() => {
                        let colon = text.get(key.end..).and_then(|rest| rest.find(':'));
                        let after = colon.map_or(key.end, |colon| key.end + colon + 1);
                        Some(Place::Nothing { after, missing: &path[1..] })
                    }
                    Event::Scalar(..) if path.len() == 1 => Some(Place::Value(range.clone())),
                    Event::MappingStart(..) if path.len() > 1 => find_in(text, events, value, &path[1..]),
                    // Setting it here would touch more than this key: the check of the result says so.
                    _ => Some(Place::Before { at: key.start, in_flow, missing: path }),
                };
            }
        }
        at = after(events, value);
    }
    first.map(|at| Place::Before { at, in_flow, missing: path })
}

/// The event after the node that starts at this one.
fn after(events: &Events<'_>, mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some((event, _)) = events.get(at) {
        at += 1;
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
            Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
            Event::Scalar(..) | Event::Alias(_) => {}
            // Comments and the like are no nodes.
            _ if depth == 0 => continue,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::{set, set_at};

    #[test]
    fn a_value_changes_and_all_else_stays() {
        for (before, after) in [
            ("# note\nid: a\nstatus: active  # soon\n", "# note\nid: a\nstatus: archived  # soon\n"),
            ("id: a\nstatus: 'in progress'\nx: [1,  2]", "id: a\nstatus: archived\nx: [1,  2]"),
            ("\u{feff}id: a\r\nstatus: active\r\n", "\u{feff}id: a\r\nstatus: archived\r\n"),
            ("{id: a, status: \"x\", t: {status: y}}\n", "{id: a, status: archived, t: {status: y}}\n"),
            ("tasks:\n  - status: open\nstatus: active\n", "tasks:\n  - status: open\nstatus: archived\n"),
            ("{id: a}\n", "{status: archived, id: a}\n"),
            ("# head\n\nid: a\ntasks: []\n", "# head\n\nstatus: archived\nid: a\ntasks: []\n"),
            ("---\n  id: a\n  b: c\n", "---\n  status: archived\n  id: a\n  b: c\n"),
            ("id: a\r\nb: c", "status: archived\r\nid: a\r\nb: c"),
            ("status:\nid: a\n", "status: archived\nid: a\n"),
            ("é: ü\nstatus: \"🔄\" # é\n", "é: ü\nstatus: archived # é\n"),
            ("base: &s active\nstatus: done\nz: *s\n", "base: &s active\nstatus: archived\nz: *s\n"),
        ] {
            assert_eq!(set(before, "status", "archived").as_deref(), Ok(after), "{before}");
        }
    }

    #[test]
    fn a_key_within_mappings_changes_and_all_else_stays() {
        let path = ["storage", "database", "type"];
        for (before, after) in [
            (
                "storage:\n  database:\n    type: sqlite  # x\n    url: u\n",
                "storage:\n  database:\n    type: postgresql  # x\n    url: u\n",
            ),
            (
                "storage:\n  database: { type: sqlite, url: \"\" }\n",
                "storage:\n  database: { type: postgresql, url: \"\" }\n",
            ),
            ("storage:\n  database:\n    url: u\n", "storage:\n  database:\n    type: postgresql\n    url: u\n"),
            (
                "storage:\n  # note\n  backend: auto\n",
                "storage:\n  # note\n  database: {type: postgresql}\n  backend: auto\n",
            ),
            (
                "# c\nother: [type, database]\n",
                "# c\nstorage: {database: {type: postgresql}}\nother: [type, database]\n",
            ),
            ("storage:\n  database:\n", "storage:\n  database: {type: postgresql}\n"),
            ("storage: {}\na: b\n", "storage: {}\na: b\n"),
        ] {
            match set_at(before, &path, "postgresql") {
                Ok(edited) => assert_eq!(edited, after),
                Err(_) => assert_eq!(before, after),
            }
        }
    }

    #[test]
    fn what_cannot_be_edited_in_place_is_left_alone() {
        for text in [
            "status: [a, b]\nid: a\n",
            "status: {a: b}\n",
            "{}",
            "base: &b x\nstatus: *b\n",
            "status: &s active\nother: *s\n",
            "id: [\n",
        ] {
            assert!(set(text, "status", "archived").is_err(), "{text}");
        }
    }
}
