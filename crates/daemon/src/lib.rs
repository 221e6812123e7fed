//! The cycle of milescale and the daemon around it.
//!
//! [`engine::Engine`] looks, decides, says and remembers; it is plain blocking code, so that `check` runs exactly what
//! the daemon runs. [`run`] is the event loop that calls it.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look with their own eyes"))]

mod access;
pub mod config;
pub mod engine;
mod follow;
mod moves;
mod note;
mod output;
mod run;
mod signals;
mod sources;
mod state;
pub mod status;
mod supervisor;
mod sweeps;

pub use access::Access;
pub use engine::{Cycle, Engine, Mode, Stop};
pub use moves::{Gone, Mover, Unproven};

pub use run::{Options, RunError, run, take_lock};
pub use signals::{outlive_limits, stop_on_signals};
pub use sources::Patience;
