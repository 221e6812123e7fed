//! The document as a tree.

use std::borrow::Cow;

use crate::document::{Content, Document, Node, NodeId, Position};
use crate::tree::Shape;

use super::{Sink, Spot};

/// A collection that is open.
struct Open {
    id: NodeId,
    shape: Shape,
    /// Where its children begin.
    base: usize,
}

pub(super) struct Builder<'t> {
    bytes: &'t [u8],
    is_ascii: bool,
    nodes: Vec<Node<'t>>,
    open: Vec<Open>,
    /// Children of the collections that are open, the innermost one's last.
    children: Vec<NodeId>,
    root: Option<NodeId>,
}

impl<'t> Builder<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            bytes: text.as_bytes(),
            is_ascii: text.is_ascii(),
            nodes: Vec::with_capacity(text.len() / 16 + 8),
            open: Vec::with_capacity(16),
            children: Vec::with_capacity(64),
            root: None,
        }
    }

    pub(super) fn finish(self) -> Option<Document<'t>> {
        Some(Document::new(self.nodes, self.root?, None))
    }

    fn position(&self, spot: Spot) -> Position {
        let before = &self.bytes[spot.start..spot.at];
        let characters =
            if self.is_ascii { before.len() } else { before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() };
        Position { line: spot.line, column: u32::try_from(characters + 1).unwrap_or(u32::MAX) }
    }

    fn add(&mut self, content: Content<'t>, spot: Spot) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let position = self.position(spot);
        self.nodes.push(Node { content, position });
        id
    }
}

impl<'t> Sink<'t> for Builder<'t> {
    fn start(&mut self, shape: Shape, spot: Spot) {
        let content = if shape == Shape::List { Content::Sequence(Vec::new()) } else { Content::Mapping(Vec::new()) };
        let id = self.add(content, spot);
        self.open.push(Open { id, shape, base: self.children.len() });
    }

    fn end(&mut self) {
        let Some(Open { id, shape, base }) = self.open.pop() else { return };
        let children = &self.children[base..];
        self.nodes[id.0 as usize].content = if shape == Shape::List {
            Content::Sequence(children.to_vec())
        } else {
            Content::Mapping(children.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
        };
        self.children.truncate(base);
        if self.open.is_empty() {
            self.root = Some(id);
        } else {
            self.children.push(id);
        }
    }

    fn key(&mut self, text: &'t str, plain: bool, spot: Spot) {
        self.scalar(Cow::Borrowed(text), plain, spot);
    }

    fn scalar(&mut self, text: Cow<'t, str>, plain: bool, spot: Spot) {
        let id = self.add(Content::Scalar { text, plain }, spot);
        self.children.push(id);
    }
}
