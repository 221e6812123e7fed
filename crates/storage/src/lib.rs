//! The stores of milescale, and everything that touches a file on their behalf.
//!
//! In this version: milestone files ([`files`]). Reading YAML is the matter of [`yaml`] alone, writing files that of
//! [`durable`] and, for lines, [`jsonl`]. Nothing here reads the clock or the environment.

pub mod config_file;
pub mod durable;
pub mod files;
pub mod jsonl;
pub mod lock;
pub mod marker;
pub mod notification;
pub mod read;
pub mod workspace;
pub mod yaml;
