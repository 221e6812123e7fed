//! The stores of milescale.
//!
//! [`store::Store`] is what each of them can do: milestone [`files`], files with an index ([`hybrid`]), documents in
//! [`sqlite`] and in [`postgres`]. Nothing here reads the clock or the environment.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look with their own eyes"))]

pub mod archive;
pub mod archived_before;
mod beside;
pub mod budget;
pub mod configured;
mod difference;
pub mod files;
pub mod hybrid;
pub mod ledger;
pub mod open;
pub mod outline;
pub mod postgres;
pub mod presence;
mod row;
mod runtime;
pub mod scan;
pub mod sqlite;
pub mod store;
mod threads;
