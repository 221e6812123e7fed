//! Editing a document that people wrote: one value changes, and every comment, blank and quote stays.

use std::ops::Range;

use granit_parser::{Event, Parser};
use milescale_core::document::Flaw;
use milescale_core::value::Value;

use super::{flaw, parse, write};

/// Sets a key of the root mapping to a text: in its place where it is there, else before the first key.
///
/// # Errors
/// When the text cannot be read, or the value stands where it cannot be replaced without touching anything else: the
/// edit is checked by reading what it makes, and nothing but this key may differ.
pub fn set(text: &str, key: &str, value: &str) -> Result<String, Flaw> {
    let before = Value::of(&parse(text.as_bytes())?)?;
    let expected = before.with(key, Value::Text(value.to_owned()));
    let written = write::write(&Value::Text(value.to_owned()));
    let written = written.trim_end();
    let found = find(text, key)?;
    let mut edited = text.to_owned();
    match found {
        Place::Value(range) => edited.replace_range(range, written),
        Place::Nothing { after } => edited.insert_str(after, &format!(" {written}")),
        Place::Before { at, in_flow: true } => edited.insert_str(at, &format!("{key}: {written}, ")),
        Place::Before { at, in_flow: false } => {
            let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
            let blanks = text.get(line..at).unwrap_or_default().trim_start_matches('\u{feff}');
            let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
            edited.insert_str(at, &format!("{key}: {written}{end}{blanks}"));
        }
    }
    let same = parse(edited.as_bytes()).is_ok_and(|document| Value::of(&document).is_ok_and(|value| value == expected));
    if same {
        return Ok(edited);
    }
    let reason = format!("{key} cannot be set here without touching anything else; set it to {value} in an editor");
    Err(flaw(None, reason))
}

/// Where a key's value stands, or where the key could.
enum Place {
    Value(Range<usize>),
    /// The key is there, and nothing behind its colon.
    Nothing {
        after: usize,
    },
    Before {
        at: usize,
        in_flow: bool,
    },
}

fn find(text: &str, key: &str) -> Result<Place, Flaw> {
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let body = &text[mark..];
    let (mut depth, mut first, mut in_flow) = (0_usize, None, false);
    // The root's children come in pairs; of the pair under way, whether its key is the one.
    let (mut is_key, mut wanted, mut key_end) = (true, false, 0);
    for event in Parser::new_from_str(body) {
        let (event, span) = event.map_err(|error| flaw(None, error.info()))?;
        let range = span.byte_range().ok_or_else(|| flaw(None, "the parser gives no places"))?;
        let range = range.start + mark..range.end + mark;
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if depth == 0 {
                    in_flow = body.get(range.start - mark..).is_some_and(|rest| rest.starts_with('{'));
                    depth += 1;
                    continue;
                }
                if depth == 1 {
                    is_key = !is_key;
                }
                depth += 1;
            }
            Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
            Event::Scalar(name, ..) if depth == 1 => {
                if is_key {
                    first.get_or_insert(range.start);
                    (wanted, key_end) = (name == key, range.end);
                } else if wanted && range.is_empty() {
                    let colon = text.get(key_end..).and_then(|rest| rest.find(':'));
                    return Ok(Place::Nothing { after: colon.map_or(key_end, |colon| key_end + colon + 1) });
                } else if wanted {
                    return Ok(Place::Value(range));
                }
                is_key = !is_key;
            }
            Event::Alias(_) if depth == 1 => is_key = !is_key,
            _ => {}
        }
    }
    first
        .map(|at| Place::Before { at, in_flow })
        .ok_or_else(|| flaw(None, format!("there is no key yet to put {key} before; set it in an editor")))
}

#[cfg(test)]
mod tests {
    use super::set;

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
