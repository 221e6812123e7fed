//! From a document to a configuration: every problem at once, each with its place.

use std::fmt;

use milescale_document::document::{Content, Document, NodeId, Position};
use milescale_document::text::{counted, glimpse};
use serde::{Deserialize, Serialize};

use super::keys::{KEYS, Key, Kind, Value, key};
use super::{Config, Steps};

/// Something in a configuration that a person should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, if it has a place.
    pub position: Option<Position>,
    /// The key's path, where one is meant.
    pub key: Option<String>,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "line {line}, column {column}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// A configuration read off a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreted {
    /// The values: the document's, and the defaults for the rest.
    pub config: Config,
    /// The keys that the document sets.
    pub set: Vec<&'static str>,
    /// Unknown keys; not fatal.
    pub warnings: Vec<Problem>,
    /// Where the values stand of the keys that the document sets.
    pub places: Vec<(&'static str, Position)>,
}

impl Interpreted {
    /// Something wrong with the value of a key that the document sets.
    pub fn problem(&self, key: &str, message: String) -> Problem {
        let place = self.places.iter().rev().find(|(path, _)| *path == key);
        Problem { position: place.map(|&(_, position)| position), key: Some(key.to_owned()), message }
    }
}

/// Reads a configuration off a document.
///
/// # Errors
/// All values that are not what their key takes, and thresholds the wrong way round. Unknown keys are warnings.
pub fn interpret(document: &Document<'_>) -> Result<Interpreted, Vec<Problem>> {
    let (found, errors) = examine(document);
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// The same, with what can be read and all that is wrong side by side: for whoever shows both.
pub fn examine(document: &Document<'_>) -> (Interpreted, Vec<Problem>) {
    let mut reading = Reading {
        document,
        found: Interpreted { config: Config::default(), set: Vec::new(), warnings: Vec::new(), places: Vec::new() },
        errors: Vec::new(),
        unknown: 0,
    };
    reading.mapping(document.root(), "");
    if let Some(more) = reading.unknown.checked_sub(MOST_UNKNOWN).filter(|more| *more > 0) {
        let message =
            format!("{} without effect", counted(more as u64, "more unknown key is", "more unknown keys are"));
        reading.found.warnings.push(Problem { position: None, key: None, message });
    }
    reading.thresholds();
    (reading.found, reading.errors)
}

/// Unknown keys that are named, each with what it may have been meant for.
const MOST_UNKNOWN: usize = 100;

struct Reading<'a> {
    document: &'a Document<'a>,
    found: Interpreted,
    errors: Vec<Problem>,
    unknown: usize,
}

impl Reading<'_> {
    fn mapping(&mut self, node: NodeId, prefix: &str) {
        for (name, name_node, value) in self.document.entries(node) {
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            let position = self.document.node(name_node).position;
            // A dot in a name leads into no section: other programs would read the key that stands in one.
            let is_one = !name.contains('.');
            if let Some(key) = key(&path).filter(|_| is_one) {
                self.leaf(key, value);
            } else if is_one && is_section(&path) {
                self.section(value, &path);
            } else {
                self.unknown += 1;
                if self.unknown <= MOST_UNKNOWN {
                    let warning = if is_one { unknown(&path, position) } else { dotted(&path, position) };
                    self.found.warnings.push(warning);
                }
            }
        }
    }

    fn section(&mut self, value: NodeId, path: &str) {
        match self.document.node(value).content {
            Content::Mapping(_) => self.mapping(value, path),
            // `storage:` with everything below it commented out.
            _ if self.document.is_null(value) => {}
            _ => self.error(value, path, "expected a section: keys on the lines below, indented".to_owned()),
        }
    }

    fn leaf(&mut self, key: &'static Key, node: NodeId) {
        match value(self.document, node, key.kind) {
            Ok(value) => {
                (key.set)(&mut self.found.config, value);
                self.found.set.push(key.path);
                self.found.places.push((key.path, self.document.node(node).position));
            }
            Err(found) => {
                self.error(node, key.path, format!("found {found}, expected {}", key.kind.expected()));
            }
        }
    }

    fn thresholds(&mut self) {
        let config = &self.found.config;
        for (section, steps) in
            [("milestone_count", config.milestone_count), ("concurrent_users", config.concurrent_users)]
        {
            let Steps { file_to_hybrid, hybrid_to_database } = steps;
            if file_to_hybrid >= hybrid_to_database {
                let section = format!("storage.thresholds.{section}");
                let place = self.found.places.iter().rev().find(|(path, _)| path.starts_with(&section));
                self.errors.push(Problem {
                    position: place.map(|&(_, position)| position),
                    key: Some(section),
                    message: format!(
                        "file_to_hybrid is {file_to_hybrid} and hybrid_to_database is {hybrid_to_database}; \
                         expected file_to_hybrid to be the smaller one"
                    ),
                });
            }
        }
    }

    fn error(&mut self, node: NodeId, path: &str, message: String) {
        let position = Some(self.document.node(node).position);
        self.errors.push(Problem { position, key: Some(path.to_owned()), message });
    }
}

fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn unknown(path: &str, position: Position) -> Problem {
    let nearest = nearest(path).map(|near| format!("; the nearest known one is {near}")).unwrap_or_default();
    Problem {
        position: Some(position),
        // A value without its colon is a part of the key: an address, perhaps.
        key: Some(glimpse(path)),
        message: format!("unknown key, without effect{nearest}"),
    }
}

/// That a key is written with dots.
fn dotted(path: &str, position: Position) -> Problem {
    Problem {
        position: Some(position),
        key: Some(glimpse(path)),
        message: "unknown key, without effect: a dot leads into no section; write each section on a line of its own, and what is in it \
                  indented below"
            .to_owned(),
    }
}

/// The known key or section most like `path`, if one is at all like it.
fn nearest(path: &str) -> Option<String> {
    let (last, most) = (last_part(path), strsim::normalized_damerau_levenshtein);
    let sections = KEYS
        .iter()
        .flat_map(|key| key.path.match_indices('.').map(|(at, _)| &key.path[..at]).chain(std::iter::once(key.path)));
    sections
        .map(|known| (most(path, known).max(most(last, last_part(known)) - 0.05), known))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.to_owned())
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The node's value as `kind` takes it, or what was found instead.
fn value(document: &Document<'_>, node: NodeId, kind: Kind) -> Result<Value, String> {
    let (text, plain) = match &document.node(node).content {
        Content::Scalar { text, plain } => (&**text, *plain),
        Content::Sequence(_) => return Err("a list".to_owned()),
        Content::Mapping(_) => return Err("a section".to_owned()),
    };
    if document.is_null(node) {
        return Err("nothing".to_owned());
    }
    let found = || {
        if plain { glimpse(text) } else { format!("the quoted text \"{}\"", glimpse(text)) }
    };
    match kind {
        Kind::Word(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Flag if plain && matches!(text, "true" | "True" | "TRUE") => Ok(Value::Flag(true)),
        Kind::Flag if plain && matches!(text, "false" | "False" | "FALSE") => Ok(Value::Flag(false)),
        Kind::Count { least, most } if plain && text.bytes().all(|byte| byte.is_ascii_digit()) => text
            .parse::<u64>()
            .ok()
            // `010` is 8 to one reader of YAML and 10 to another.
            .filter(|count| (least..=most).contains(count) && (text.len() == 1 || !text.starts_with('0')))
            .map(Value::Count)
            .ok_or_else(found),
        _ => Err(found()),
    }
}
