//! YAML in and out: the one module that knows a parser.
//!
//! Two readers: the plain one (`plain`) is about ten times as fast and either gives exactly what the full one gives or
//! abstains.
//!
//! YAML 1.2, with limits on size, nesting, values and what aliases expand to. What cannot be read is a [`Flaw`] with its
//! place: no mapping at the root, a key twice, a key that is no scalar, several documents, text that is not UTF-8. A
//! milestone is also flawed where it says what not every store keeps: a tag of somebody's own, a key that is no text.

pub mod edit;
mod plain;
pub mod write;

use std::collections::{HashMap, HashSet};
use std::panic::catch_unwind;

use crate::document::{Content, Document, Flaw, Node, NodeId, Position};
use crate::gathered::Gathered;
use crate::scalar;
use granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

/// The largest text that is read, in bytes.
pub const SIZE_LIMIT: u64 = 16 << 20;

/// The deepest nesting.
const DEPTH_LIMIT: usize = 100;

/// The most values a document may have, aliases expanded.
const VALUE_LIMIT: u64 = 1_000_000;

/// Reads a document.
///
/// # Errors
/// The first flaw, with its place.
pub fn parse(text: &[u8]) -> Result<Document<'_>, Flaw> {
    let text = checked(text)?;
    if let Ok(Some(document)) = catch_unwind(|| plain::read(text)) {
        return Ok(document);
    }
    // A parser that panics on one file must not take the others along.
    let built = catch_unwind(|| build(text))
        .unwrap_or_else(|_| Err(flaw(None, "the parser fails on it, which is a fault of milescale; please report it")));
    built.map_err(|flaw| conflict_marker(text).unwrap_or(flaw))
}

/// Reads a milestone: a document that every store keeps.
///
/// # Errors
/// As [`parse`]; and the first thing that not every store keeps, with its place.
pub fn milestone(text: &[u8]) -> Result<Document<'_>, Flaw> {
    let document = parse(text)?;
    match document.unkept() {
        Some(flaw) => Err(flaw.clone()),
        None => Ok(document),
    }
}

/// Reads what figures and indexes need of a milestone.
///
/// # Errors
/// As [`milestone`].
pub fn gather(text: &[u8]) -> Result<Gathered<'_>, Flaw> {
    let checked = checked(text)?;
    match catch_unwind(|| plain::gather(checked)) {
        Ok(Some(gathered)) => Ok(gathered),
        _ => milestone(text).map(|document| Gathered::of(document.tree()).into_owned()),
    }
}

/// That the text made of a value would be larger than what is read.
pub fn too_large_to_write() -> Flaw {
    flaw(None, format!("as YAML it is larger than the limit of {} MiB; split it up", SIZE_LIMIT >> 20))
}

/// The text without its byte order mark, if it is one of a size that is read.
fn checked(text: &[u8]) -> Result<&str, Flaw> {
    if text.len() as u64 > SIZE_LIMIT {
        return Err(flaw(None, format!("it is larger than the limit of {} MiB", SIZE_LIMIT >> 20)));
    }
    let text = std::str::from_utf8(text).map_err(|error| not_utf8(text, error.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn flaw(position: Option<Position>, reason: impl Into<String>) -> Flaw {
    Flaw { position, reason: reason.into() }
}

fn not_utf8(text: &[u8], at: usize) -> Flaw {
    let before = &text[..at];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    let position = Position { line: small(line), column: small(column) };
    flaw(Some(position), "it is not UTF-8 from here on; save it as UTF-8")
}

/// The commonest reason why a file of a repository is no YAML, said plainly.
fn conflict_marker(text: &str) -> Option<Flaw> {
    let line = text.lines().position(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "))?;
    let position = Position { line: small(line + 1), column: 1 };
    Some(flaw(Some(position), "a conflict marker of git stands here; resolve the conflict"))
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A list or mapping whose end has not come yet.
struct Open {
    id: NodeId,
    children: Vec<NodeId>,
    is_mapping: bool,
    anchor: usize,
}

/// Values, and bytes of their texts.
#[derive(Debug, Clone, Copy)]
struct Weight {
    values: u64,
    bytes: u64,
}

/// By how much aliases may make a document larger: a text of a few bytes that stands for many megabytes would be them in every store.
const GROWS_BY: u64 = 10;
const GROWS_ANYWAY: u64 = 1 << 20;

/// Bytes of texts that a document of so many bytes may stand for, aliases expanded.
pub fn most_expanded(bytes: u64) -> u64 {
    bytes.saturating_mul(GROWS_BY).saturating_add(GROWS_ANYWAY).min(SIZE_LIMIT.max(bytes))
}

#[derive(Default)]
struct Builder<'t> {
    nodes: Vec<Node<'t>>,
    /// What the node at the same index stands for, aliases expanded.
    weights: Vec<Weight>,
    /// Bytes of texts that the document may stand for.
    most_bytes: u64,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    root: Option<NodeId>,
    documents: usize,
    /// The first thing that not every store keeps.
    unkept: Option<Flaw>,
}

fn build(text: &str) -> Result<Document<'_>, Flaw> {
    let mut options = Options::default();
    options.flow_nesting_limit = DEPTH_LIMIT;
    options.block_nesting_limit = DEPTH_LIMIT;
    // Where the text ends within a line, there is no break to keep: so do libyaml and PyYAML read it.
    options.block_scalar_eof_without_line_feed = true;
    let mut builder = Builder { most_bytes: most_expanded(text.len() as u64), ..Builder::default() };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            flaw(Some(position(mark.line(), mark.col())), error.info())
        })?;
        builder.event(event, &span)?;
    }
    let root = builder.root.ok_or_else(|| flaw(None, "it is empty; expected a mapping, such as `id: …`"))?;
    Ok(Document::new(builder.nodes, root, builder.unkept))
}

fn position(line: usize, column: usize) -> Position {
    Position { line: small(line.max(1)), column: small(column + 1) }
}

impl<'t> Builder<'t> {
    fn event(&mut self, event: Event<'t>, span: &Span) -> Result<(), Flaw> {
        let place = position(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(flaw(Some(place), "a second document begins here; expected one"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                self.tagged(tag.as_deref(), "str", place);
                self.look_at(&text, plain, place);
                let weight = Weight { values: 1, bytes: text.len() as u64 };
                let id = self.add(Content::Scalar { text, plain }, place, weight)?;
                self.finish(id, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tagged(tag.as_deref(), "seq", place);
                self.start(Content::Sequence(Vec::new()), anchor, place)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tagged(tag.as_deref(), "map", place);
                self.start(Content::Mapping(Vec::new()), anchor, place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => {
                let id = *self
                    .anchors
                    .get(&anchor)
                    .ok_or_else(|| flaw(Some(place), "an alias stands within what it refers to"))?;
                self.place(id)?;
            }
            Event::UnresolvedAlias(name) => {
                return Err(flaw(Some(place), format!("the alias *{name} refers to nothing")));
            }
            _ => {}
        }
        Ok(())
    }

    /// Remembers the first thing that not every store keeps.
    fn unkept(&mut self, position: Position, reason: impl Into<String>) {
        if self.unkept.as_ref().is_none_or(|first| Some(position) < first.position) {
            self.unkept = Some(flaw(Some(position), reason));
        }
    }

    /// Looks for a tag that says more than the tree does.
    fn tagged(&mut self, tag: Option<&Tag>, told: &str, position: Position) {
        let Some(tag) = tag else { return };
        if !tag.is_yaml_core_schema_tag(told) && tag.original() != "!" {
            self.unkept(position, format!("the tag {tag} has no meaning outside of YAML; remove it"));
        }
    }

    fn look_at(&mut self, text: &str, plain: bool, position: Position) {
        if text.contains('\0') {
            self.unkept(position, "it has a NUL character in it, which PostgreSQL cannot keep");
        } else if plain && let Some(reason) = scalar::flaw(text) {
            self.unkept(position, reason);
        }
    }

    fn add(&mut self, content: Content<'t>, position: Position, weight: Weight) -> Result<NodeId, Flaw> {
        let id = NodeId(small(self.nodes.len()));
        if u64::from(id.0) >= VALUE_LIMIT {
            return Err(too_many(position));
        }
        self.nodes.push(Node { content, position });
        self.weights.push(weight);
        Ok(id)
    }

    fn start(&mut self, content: Content<'t>, anchor: usize, position: Position) -> Result<(), Flaw> {
        let is_mapping = matches!(content, Content::Mapping(_));
        let id = self.add(content, position, Weight { values: 1, bytes: 0 })?;
        if self.open.len() >= DEPTH_LIMIT {
            return Err(flaw(Some(position), format!("it is nested deeper than {DEPTH_LIMIT} levels")));
        }
        self.open.push(Open { id, children: Vec::new(), is_mapping, anchor });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Flaw> {
        let Some(Open { id, children, is_mapping, anchor }) = self.open.pop() else { return Ok(()) };
        let place = self.nodes[id.0 as usize].position;
        let weight = children.iter().fold(Weight { values: 1, bytes: 0 }, |sum, child| {
            let child = self.weights[child.0 as usize];
            Weight { values: sum.values.saturating_add(child.values), bytes: sum.bytes.saturating_add(child.bytes) }
        });
        if weight.values > VALUE_LIMIT {
            return Err(too_many(place));
        }
        if weight.bytes > self.most_bytes {
            let most = self.most_bytes >> 10;
            return Err(flaw(
                Some(place),
                format!("its aliases stand for more than {most} KiB of text, {GROWS_BY} times its own"),
            ));
        }
        self.weights[id.0 as usize] = weight;
        self.nodes[id.0 as usize].content =
            if is_mapping { Content::Mapping(self.pairs(&children)?) } else { Content::Sequence(children) };
        self.finish(id, anchor)
    }

    fn pairs(&mut self, children: &[NodeId]) -> Result<Vec<(NodeId, NodeId)>, Flaw> {
        let (mut seen, mut no_texts) = (HashSet::new(), Vec::new());
        let mut pairs = Vec::with_capacity(children.len() / 2);
        for pair in children.chunks_exact(2) {
            let key = &self.nodes[pair[0].0 as usize];
            let Content::Scalar { text, plain } = &key.content else {
                return Err(flaw(Some(key.position), "a key here is a list or mapping; expected a text"));
            };
            if !seen.insert(text) {
                let cut: String = text.chars().take(40).collect();
                return Err(flaw(Some(key.position), format!("the key {cut:?} stands here a second time")));
            }
            if *plain && let Some(reason) = scalar::key_flaw(text) {
                no_texts.push((key.position, reason));
            }
            pairs.push((pair[0], pair[1]));
        }
        for (position, reason) in no_texts {
            self.unkept(position, reason);
        }
        Ok(pairs)
    }

    /// A node is complete: aliases may refer to it, and it takes its place in what is open.
    fn finish(&mut self, id: NodeId, anchor: usize) -> Result<(), Flaw> {
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        self.place(id)
    }

    fn place(&mut self, id: NodeId) -> Result<(), Flaw> {
        if let Some(open) = self.open.last_mut() {
            open.children.push(id);
            return Ok(());
        }
        let node = &self.nodes[id.0 as usize];
        if !matches!(node.content, Content::Mapping(_)) {
            let what = if matches!(node.content, Content::Sequence(_)) { "a list" } else { "a single value" };
            return Err(flaw(Some(node.position), format!("it is {what}; expected a mapping, such as `id: …`")));
        }
        self.root = Some(id);
        Ok(())
    }
}

fn too_many(position: Position) -> Flaw {
    flaw(Some(position), format!("it has more than {VALUE_LIMIT} values, aliases expanded"))
}

#[cfg(test)]
mod tests;
