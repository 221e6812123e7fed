//! Power cuts on loop images, in the short form of `tests/faults/power`.

use std::process::Command;

use super::{BINARY, repository};

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged_needs_root() {
    let loops = Command::new("losetup").arg("--find").output();
    if !loops.is_ok_and(|found| found.status.success()) {
        println!("there are no loop devices: skipped");
        return;
    }
    let said = Command::new(repository().join("tests/faults/power"))
        .args([BINARY, "--cuts", "12", "--controls", "1"])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    println!("{out}");
    assert!(said.status.success(), "{out}{err}");
}
