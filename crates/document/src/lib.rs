//! Milestones as texts and values: YAML and JSON in and out, numbers, ids, timestamps, digests, and what a milestone adds to
//! the figures.
//!
//! Everything here is a pure function of what it is given: no files, clock, environment, tasks or logging. A text is read
//! into a [`document::Document`] by [`yaml`], which is what milestones mean as a [`value::Value`]; a [`milestone::Milestone`]
//! is one as a store holds it, a [`milestone::Draft`] one that every store can keep.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look with their own eyes"))]

pub mod columns;
pub mod content;
pub mod decimal;
pub mod digest;
pub mod document;
pub mod facts;
pub mod gathered;
pub mod id;
pub mod kept;
pub mod milestone;
pub mod scalar;
pub mod text;
pub mod timestamp;
pub mod tree;
pub mod value;
pub mod word;
pub mod yaml;
