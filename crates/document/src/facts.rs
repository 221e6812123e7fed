//! What a milestone's document adds to the figures (contract §4).

use crate::tree::{Shape, Tree};

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
    /// Reads the facts off a document's root. Never fails: a shape that is not the expected one adds nothing.
    pub fn of<'a>(root: impl Tree<'a>) -> Self {
        Self {
            kiro_enabled: count(kiro_enabled(root)),
            requires: count(requires(root)),
            declared_id: root.get("id").and_then(Tree::scalar).filter(|id| !id.is_empty()).map(Into::into),
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn kiro_enabled<'a>(root: impl Tree<'a>) -> usize {
    let Some(tasks) = root.get("tasks") else { return 0 };
    tasks
        .children()
        .into_iter()
        .filter_map(|task| task.get("kiro_workflow")?.get("enabled")?.scalar())
        .filter(|enabled| enabled == "true")
        .count()
}

fn requires<'a>(root: impl Tree<'a>) -> usize {
    let Some(requires) = root.get("dependencies").and_then(|dependencies| dependencies.get("requires")) else {
        return 0;
    };
    match requires.shape() {
        Shape::List => requires.children().into_iter().filter(|item| !item.is_null()).count(),
        Shape::Mapping => requires.children().len(),
        Shape::Scalar => usize::from(requires.text().is_some()),
    }
}
