//! The words and the rules of milescale.
//!
//! Everything here is plain data and pure functions: no files, clock, environment, tasks or logging. What the rest of
//! the program senses ends up in an [`figures::Observation`]; [`decision::decide`] turns one into a
//! [`decision::Decision`]; [`mod@line`] holds the shapes of what people tail.

pub mod backend;
pub mod base;
pub mod chain;
pub mod config;
pub mod days;
pub mod decimal;
pub mod decision;
pub mod digest;
pub mod document;
pub mod facts;
pub mod figures;
pub mod gathered;
pub mod id;
pub mod line;
pub mod migration;
pub mod milestone;
pub mod notification;
pub mod scalar;
pub mod text;
pub mod timestamp;
pub mod tree;
pub mod trend;
pub mod value;
pub mod word;
