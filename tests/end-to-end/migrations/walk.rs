//! Ordinary things, many in a row (`tests/faults/walk`): some walks, drawn by the commit.

use super::harness;

/// Some seconds of walks; an hour in the long form.
#[test]
fn nothing_is_lost_or_wrong_where_one_thing_follows_another() {
    let seconds = if std::env::var_os("MILESCALE_LONG").is_some() { "3600" } else { "20" };
    let (out, said) = harness("faults/walk", &["--seconds", seconds, "--jobs", "4"]);
    assert!(said.status.success(), "{out}{}", String::from_utf8_lossy(&said.stderr));
    let walks: u32 = out.lines().last().and_then(|line| line.split(' ').next()).unwrap().parse().unwrap();
    assert!(walks > 0, "{out}");
}
