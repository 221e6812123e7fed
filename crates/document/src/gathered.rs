//! What figures and indexes need of a document, gathered while it is read, without a tree.
//!
//! The same as [`Facts::of`] and [`crate::columns::Columns::of`] say of the tree: a hundred thousand milestones are looked at in a start, and
//! most of that would be the making of trees that nobody looks at.

use std::borrow::Cow;

use crate::columns::instant;
use crate::facts::Facts;
use crate::scalar::is_null;
use crate::tree::{Shape, Tree};

/// What was gathered of one document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gathered<'t> {
    /// As in [`Facts`].
    pub kiro_enabled: u32,
    /// As in [`Facts`].
    pub requires: u32,
    /// The document's own `id:`, where it has one.
    pub id: Option<Cow<'t, str>>,
    /// Its title, where it says something.
    pub title: Option<Cow<'t, str>>,
    /// Its status, where it says something.
    pub status: Option<Cow<'t, str>>,
    /// Its priority, where it says something.
    pub priority: Option<Cow<'t, str>>,
    created_at: Option<Cow<'t, str>>,
    start: Option<Cow<'t, str>>,
}

impl<'t> Gathered<'t> {
    /// Reads it off a document's root.
    pub fn of(root: impl Tree<'t>) -> Self {
        let Facts { kiro_enabled, requires, .. } = Facts::of(root);
        let text = |key: &str| root.get(key).and_then(Tree::text);
        Self {
            kiro_enabled,
            requires,
            id: root.get("id").and_then(Tree::scalar).filter(|id| !id.is_empty()),
            title: text("title"),
            status: text("status"),
            priority: text("priority"),
            created_at: text("created_at"),
            start: root.get("timeline").and_then(|it| it.get("estimated_start")).and_then(Tree::text),
        }
    }

    /// The same, borrowed from nothing.
    pub fn into_owned(self) -> Gathered<'static> {
        let owned = |text: Option<Cow<'t, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        let Self { kiro_enabled, requires, id, title, status, priority, created_at, start } = self;
        Gathered {
            kiro_enabled,
            requires,
            id: owned(id),
            title: owned(title),
            status: owned(status),
            priority: owned(priority),
            created_at: owned(created_at),
            start: owned(start),
        }
    }

    /// When it came to be, as [`crate::columns::Columns::created_at`].
    pub fn created_at(&self) -> Option<String> {
        self.created_at.as_ref().or(self.start.as_ref()).and_then(|text| instant(text))
    }
}

/// What a value is for the figures, by where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Root,
    Id,
    Title,
    Status,
    Priority,
    CreatedAt,
    Timeline,
    Start,
    Tasks,
    Task,
    Kiro,
    Enabled,
    Dependencies,
    Requires,
    /// One of a list of requirements.
    Item,
    /// One of a mapping of requirements.
    Entry,
    Nothing,
}

/// A collection that is open.
#[derive(Debug, Clone, Copy)]
struct Open {
    slot: Slot,
    /// What the next value in it is.
    next: Slot,
}

/// Gathers what a reader tells, in the order of the text.
#[derive(Debug)]
pub struct Gatherer<'t> {
    open: Vec<Open>,
    gathered: Gathered<'t>,
}

impl Default for Gatherer<'_> {
    fn default() -> Self {
        Self { open: Vec::with_capacity(16), gathered: Gathered::default() }
    }
}

impl<'t> Gatherer<'t> {
    /// What was gathered, once the document has ended.
    pub fn finish(self) -> Gathered<'t> {
        self.gathered
    }

    fn next(&self) -> Slot {
        self.open.last().map_or(Slot::Root, |open| open.next)
    }

    /// A list or mapping begins.
    pub fn start(&mut self, shape: Shape) {
        let slot = self.next();
        if matches!(slot, Slot::Item | Slot::Entry) {
            self.gathered.requires += 1;
        }
        let next = match (slot, shape) {
            (Slot::Tasks, Shape::List) => Slot::Task,
            (Slot::Requires, Shape::List) => Slot::Item,
            _ => Slot::Nothing,
        };
        self.open.push(Open { slot, next });
    }

    /// It ends.
    pub fn end(&mut self) {
        self.open.pop();
    }

    /// A key of the innermost mapping.
    pub fn key(&mut self, key: &str) {
        let Some(open) = self.open.last_mut() else { return };
        open.next = match (open.slot, key) {
            (Slot::Root, "id") => Slot::Id,
            (Slot::Root, "title") => Slot::Title,
            (Slot::Root, "status") => Slot::Status,
            (Slot::Root, "priority") => Slot::Priority,
            (Slot::Root, "created_at") => Slot::CreatedAt,
            (Slot::Root, "timeline") => Slot::Timeline,
            (Slot::Root, "tasks") => Slot::Tasks,
            (Slot::Root, "dependencies") => Slot::Dependencies,
            (Slot::Timeline, "estimated_start") => Slot::Start,
            (Slot::Tasks, _) => Slot::Task,
            (Slot::Task, "kiro_workflow") => Slot::Kiro,
            (Slot::Kiro, "enabled") => Slot::Enabled,
            (Slot::Dependencies, "requires") => Slot::Requires,
            (Slot::Requires, _) => Slot::Entry,
            _ => Slot::Nothing,
        };
    }

    /// A scalar that is no key.
    pub fn scalar(&mut self, text: Cow<'t, str>, plain: bool) {
        let (slot, gathered) = (self.next(), &mut self.gathered);
        let says_something = || !(text.is_empty() || plain && is_null(&text));
        match slot {
            Slot::Enabled => gathered.kiro_enabled += u32::from(text == "true"),
            Slot::Requires => gathered.requires += u32::from(says_something()),
            Slot::Item => gathered.requires += u32::from(!(plain && is_null(&text))),
            Slot::Entry => gathered.requires += 1,
            Slot::Id => gathered.id = (!text.is_empty()).then_some(text),
            Slot::Title => gathered.title = says_something().then_some(text),
            Slot::Status => gathered.status = says_something().then_some(text),
            Slot::Priority => gathered.priority = says_something().then_some(text),
            Slot::CreatedAt => gathered.created_at = says_something().then_some(text),
            Slot::Start => gathered.start = says_something().then_some(text),
            _ => {}
        }
    }
}
