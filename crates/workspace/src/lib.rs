//! The folder of a workspace: everything that milescale keeps in it, or finds there, apart from the milestones themselves.
//!
//! [`Workspace`] names the places. Writing files is the matter of [`durable`] and, for lines, of [`jsonl`]; what must hold between
//! processes that of [`lock`] and [`locks`]. The rest is one file of milescale's each: marker, configuration, record of moves, identity,
//! backups, conflicts, what was displaced. Nothing here reads the clock or the environment.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look with their own eyes"))]

pub mod backup;
mod config_exchange;
pub mod config_file;
pub mod conflicts;
pub mod displaced;
pub mod durable;
pub mod error;
pub mod folder;
pub mod git;
pub mod identity;
pub mod jsonl;
pub mod keeping;
pub mod known;
pub mod layout;
pub mod lock;
pub mod locks;
pub mod looked;
pub mod marker;
pub mod move_journal;
pub mod notification;
mod process;
mod random;
pub mod read;
pub mod readers;
pub mod record;
pub mod restoring;
pub mod rights;
mod short;
pub mod stop;
pub mod switch;
pub mod switches;
pub mod tail;
pub mod tokens;
pub mod trial;
pub mod trust;
pub mod ways;

pub use folder::Place;
pub use layout::Workspace;
