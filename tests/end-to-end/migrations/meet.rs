//! Another program acts, a disk fails, or milescale dies, at each call of each command (`tests/faults/meet`): a sample of
//! the points, drawn by the commit.

use super::harness;

/// The columns of what was lost, and of what is wrong and no loss: a conflict too many, something left behind.
const LOST_AND_WRONG: std::ops::Range<usize> = 6..8;

#[test]
fn nothing_is_lost_or_wrong_where_somebody_else_acts_at_a_call() {
    let (out, said) = harness("faults/meet", &["--quiet", "--seconds", "45"]);
    let all = out.lines().find(|line| line.starts_with("all ")).unwrap_or_else(|| {
        panic!("{out}{}", String::from_utf8_lossy(&said.stderr));
    });
    let counts: Vec<&str> = all.split_whitespace().collect();
    assert_eq!(counts[LOST_AND_WRONG], ["0", "0"], "{out}");
}

#[test]
fn the_shim_sees_what_strace_sees_of_each_command_and_the_cutover_is_among_it() {
    let commands = r"@(file|hybrid|sqlite|postgresql)(<file)?(\+(retire|pending|conflict|batch))?$";
    let (out, said) = harness("faults/meet", &["--strace", "--commands", commands]);
    assert!(said.status.success(), "{out}{}", String::from_utf8_lossy(&said.stderr));
    assert!(out.lines().count() > 40, "{out}");
}
