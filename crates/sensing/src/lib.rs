//! What milescale senses besides the stores: changes of files ([`watch`]), the lines of adapters ([`log`]), its own
//! metrics entries ([`metrics`]) and the load of the machine ([`machine`]).
//!
//! Nothing here reads the wall clock: the caller says what time it is.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look with their own eyes"))]

pub mod log;
pub mod machine;
pub mod metrics;
pub mod watch;

mod disk;
