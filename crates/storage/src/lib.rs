//! The stores of milescale, and everything that touches a file on their behalf.
//!
//! [`store::Store`] is what each of them can do: milestone [`files`], files with an index ([`hybrid`]), documents in
//! [`sqlite`] and in [`postgres`]. Writing files is the matter of [`durable`] and, for lines, of
//! [`jsonl`]. Nothing here reads the clock or the environment.

pub mod archive;
pub mod archived_before;
pub mod backup;
pub mod budget;
mod config_exchange;
pub mod config_file;
pub mod conflicts;
mod difference;
pub mod durable;
pub mod error;
pub mod files;
pub mod hybrid;
pub mod identity;
pub mod jsonl;
pub mod keeping;
mod known;
pub mod ledger;
pub mod lock;
pub mod locks;
pub mod marker;
pub mod move_journal;
pub mod notification;
pub mod open;
pub mod outline;
pub mod postgres;
mod process;
mod random;
pub mod read;
pub mod record;
pub mod restoring;
mod row;
mod runtime;
pub mod scan;
mod short;
pub mod sqlite;
pub mod stop;
pub mod store;
pub mod switch;
mod threads;
mod tokens;
pub mod trial;
pub mod workspace;
