//! A YAML document as data: a tree whose nodes know where they stand in the text.
//!
//! The tree is an arena: an alias is simply a second reference to the same node, so a document is never larger in
//! memory than its text, whatever its aliases would expand to. Scalars that stand in the text as they are, are borrowed
//! from it.

use std::borrow::Cow;

use crate::scalar::is_null;
use crate::tree::{Shape, Tree};

/// A place in a text. Both numbers start at 1; a column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// The index of a node in its [`Document`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub u32);

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'t> {
    /// A scalar: its text after escapes, and whether it was written without quotes and tag.
    Scalar {
        /// The text.
        text: Cow<'t, str>,
        /// Written plain, so that `true`, `5` and `~` mean more than their letters.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<NodeId>),
    /// A mapping, in the order of the text. Keys are scalars, each once.
    Mapping(Vec<(NodeId, NodeId)>),
}

/// A node and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'t> {
    /// What it holds.
    pub content: Content<'t>,
    /// Where it begins.
    pub position: Position,
}

/// A parsed document with a mapping at its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<'t> {
    nodes: Vec<Node<'t>>,
    root: NodeId,
    unkept: Option<Flaw>,
}

/// A text that is not a document milescale can use: where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Flaw {
    /// Where, if the flaw has a place.
    pub position: Option<Position>,
    /// What is wrong, in words for a person.
    pub reason: String,
}

impl Flaw {
    /// The same without the words of the text: for events and files that all may read who may not read the text.
    #[must_use]
    pub fn without_words(self) -> Self {
        let quoted = self.reason.find('"').zip(self.reason.rfind('"')).filter(|(first, last)| first < last);
        let reason = match quoted {
            Some((first, last)) => format!("{}…{}", &self.reason[..=first], &self.reason[last..]),
            None => self.reason,
        };
        Self { reason, ..self }
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "line {line}, column {column}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl<'t> Document<'t> {
    /// Puts a parser's nodes together. `root` must be one of them, as must every child. `unkept` is the first thing in
    /// the text that not every store keeps: a tag of somebody's own, a key that is no text, an infinity.
    pub fn new(nodes: Vec<Node<'t>>, root: NodeId, unkept: Option<Flaw>) -> Self {
        Self { nodes, root, unkept }
    }

    /// The first thing in the text that not every store keeps. Without one, the document has a value.
    pub fn unkept(&self) -> Option<&Flaw> {
        self.unkept.as_ref()
    }

    /// The root as a [`Tree`].
    pub fn tree(&self) -> Branch<'_> {
        Branch { document: self, id: self.root }
    }

    /// The root mapping.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The node behind an id of this document.
    pub fn node(&self, id: NodeId) -> &Node<'t> {
        &self.nodes[id.0 as usize]
    }

    /// All nodes, in the order in which they begin.
    pub fn nodes(&self) -> &[Node<'t>] {
        &self.nodes
    }

    /// The scalar text of a node, or `None` for a list or mapping.
    pub fn scalar(&self, id: NodeId) -> Option<&str> {
        match &self.node(id).content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether a node is null: a plain `~`, `null` or nothing at all.
    pub fn is_null(&self, id: NodeId) -> bool {
        matches!(&self.node(id).content, Content::Scalar { text, plain: true } if is_null(text))
    }

    /// The entries of a mapping as (key, key's node, value); nothing for other nodes.
    pub fn entries(&self, id: NodeId) -> impl Iterator<Item = (&str, NodeId, NodeId)> {
        let pairs = match &self.node(id).content {
            Content::Mapping(pairs) => pairs.as_slice(),
            _ => &[],
        };
        pairs.iter().map(|&(key, value)| (self.scalar(key).unwrap_or_default(), key, value))
    }

    /// The value under `key` of a mapping; `None` for a missing key and for nodes that are no mapping.
    pub fn get(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.entries(id).find(|(name, _, _)| *name == key).map(|(_, _, value)| value)
    }

    /// The items of a list or the values of a mapping; nothing for a scalar.
    pub fn children(&self, id: NodeId) -> Vec<NodeId> {
        match &self.node(id).content {
            Content::Sequence(items) => items.clone(),
            Content::Mapping(pairs) => pairs.iter().map(|&(_, value)| value).collect(),
            Content::Scalar { .. } => Vec::new(),
        }
    }
}

/// A node together with its document.
#[derive(Debug, Clone, Copy)]
pub struct Branch<'a> {
    document: &'a Document<'a>,
    id: NodeId,
}

impl<'a> Tree<'a> for Branch<'a> {
    fn get(self, key: &str) -> Option<Self> {
        self.document.get(self.id, key).map(|id| Self { id, ..self })
    }

    fn children(self) -> Vec<Self> {
        self.document.children(self.id).into_iter().map(|id| Self { id, ..self }).collect()
    }

    fn scalar(self) -> Option<Cow<'a, str>> {
        self.document.scalar(self.id).map(Cow::Borrowed)
    }

    fn is_null(self) -> bool {
        self.document.is_null(self.id)
    }

    fn shape(self) -> Shape {
        match &self.document.node(self.id).content {
            Content::Scalar { .. } => Shape::Scalar,
            Content::Sequence(_) => Shape::List,
            Content::Mapping(_) => Shape::Mapping,
        }
    }
}
