//! What a milestone's document adds to the figures (contract §4).

use crate::document::{Content, Document};

/// The facts of one milestone that figures are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Tasks whose `kiro_workflow.enabled` is the scalar `true` in that spelling, quoted or not.
    pub kiro_enabled: u32,
    /// Entries of `dependencies.requires`.
    pub requires: u32,
    /// The document's own `id:`, where it has one.
    pub declared_id: Option<Box<str>>,
}

impl Facts {
    /// Reads the facts off a document. Never fails: a shape that is not the expected one adds nothing.
    pub fn of(document: &Document) -> Self {
        Self {
            kiro_enabled: count(kiro_enabled(document)),
            requires: count(requires(document)),
            declared_id: document
                .get(document.root(), "id")
                .and_then(|id| document.scalar(id))
                .filter(|id| !id.is_empty())
                .map(Into::into),
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn kiro_enabled(document: &Document) -> usize {
    let Some(tasks) = document.get(document.root(), "tasks") else { return 0 };
    document
        .children(tasks)
        .into_iter()
        .filter_map(|task| document.get(task, "kiro_workflow"))
        .filter_map(|workflow| document.get(workflow, "enabled"))
        .filter(|&enabled| document.scalar(enabled) == Some("true"))
        .count()
}

fn requires(document: &Document) -> usize {
    let found =
        document.get(document.root(), "dependencies").and_then(|dependencies| document.get(dependencies, "requires"));
    let Some(requires) = found else { return 0 };
    match &document.node(requires).content {
        Content::Sequence(items) => items.iter().filter(|&&item| !document.is_null(item)).count(),
        Content::Mapping(entries) => entries.len(),
        Content::Scalar { text, .. } => usize::from(!text.is_empty() && !document.is_null(requires)),
    }
}
