//! The real binary on real workspaces. One module a subject; a test whose name has `needs_root` in it is skipped by
//! `tests/run` where there is no root or there are no namespaces.

#![allow(clippy::disallowed_methods, reason = "tests look with their own eyes")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, reason = "figures of a run")]

mod architecture;
mod backends;
mod bad_config;
mod bad_log;
mod bad_milestones;
mod bad_workspace;
mod cases;
mod commands;
mod config;
mod daemon;
mod day;
mod doors;
mod faults;
mod migrations;
mod milestones;
mod power;
mod recommendation;
mod reference;
mod service_manager;
mod systemd;
mod taking_over;
mod unseen;

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_milescale");

/// The root of the repository.
fn repository() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/cli lies two below")
}

/// An initialised workspace.
fn workspace() -> milescale_testkit::Workspace {
    milescale_testkit::Workspace::new(BINARY)
}
