//! One test for each case that was found from outside, named by its number: `l01_…`, `p08_…`, `e03_…`. The harness of foreign
//! acts is judged with these switched off (`-E 'not test(cases::)'`).

mod archive;
mod connections;
mod death;
mod gone;
mod identity;
mod locks;
mod memory;
mod moves;
mod named;
mod plans;
mod restoring;
mod sweeps;
mod switch;
mod undone;
mod values;
mod words;

use std::fs;

use milescale_testkit::Workspace;

/// The texts that are kept as conflicts.
fn kept(workspace: &Workspace) -> Vec<String> {
    let Ok(kept) = fs::read_dir(workspace.path(".milescale/conflicts")) else { return Vec::new() };
    let texts = kept.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "yaml"));
    texts.map(|path| fs::read_to_string(path).unwrap()).collect()
}
