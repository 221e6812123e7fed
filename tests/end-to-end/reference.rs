//! Figures and decision against the reference document.

use std::process::Command;

use milescale_testkit::Postgres;

use super::{BINARY, repository};

fn workspaces(arguments: &[&str]) {
    let script = repository().join("tests/workspaces.py");
    let server = Postgres::start();
    let output = Command::new("python3")
        .arg(script)
        .args(arguments)
        .env("MILESCALE_TEST_POSTGRESQL", server.url())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", text.lines().last().unwrap_or_default());
}

#[test]
fn every_vector_agrees_with_what_the_reference_said() {
    workspaces(&["vectors", BINARY]);
}

/// Where the reference document is at hand: `tests/run` says where and leaves this out otherwise.
#[test]
fn random_workspaces_agree_with_the_reference_run_here() {
    let reference = std::env::var("MILESCALE_REFERENCE").expect("tests/run sets MILESCALE_REFERENCE");
    workspaces(&["random", BINARY, &reference, "40"]);
}
