//! The words and the rules of milescale, apart from what a milestone is (`milescale_document`).
//!
//! Everything here is plain data and pure functions: no files, clock, environment, tasks or logging. What the rest of
//! the program senses ends up in an [`figures::Observation`]; [`decision::decide`] turns one into a
//! [`decision::Decision`]; [`mod@line`] holds the shapes of what people tail.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look with their own eyes"))]

pub mod backend;
pub mod base;
pub mod chain;
pub mod config;
pub mod days;
pub mod decision;
pub mod figures;
pub mod line;
pub mod migration;
pub mod notification;
pub mod trend;
