//! One file a verb.

pub(crate) mod backups;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod conflicts;
pub(crate) mod dashboard;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod init;
pub(crate) mod manual;
pub(crate) mod migrate;
pub(crate) mod milestone;
pub(crate) mod old_stores;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod trust;

/// The first of some ids, as many as are named at most, and how many more there are.
fn some_of(ids: &[String], most: usize) -> String {
    let named = ids[..ids.len().min(most)].join(", ");
    match ids.len().saturating_sub(most) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
