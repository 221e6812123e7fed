//! Standard error that cannot be written, and a terminal that goes.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use milescale_testkit::{Workspace, until};

use crate::{BINARY, workspace};

/// Waits for cycles beyond those that were.
fn cycles(workspace: &Workspace, more: usize) {
    let before = workspace.events_named("scale_status").len();
    until("more cycles", || (workspace.events_named("scale_status").len() >= before + more).then_some(()));
}

fn stops_in_order(workspace: &Workspace, mut daemon: Child) {
    cycles(workspace, 3);
    assert!(daemon.try_wait().unwrap().is_none(), "it goes on");
    Command::new("kill").arg(daemon.id().to_string()).status().unwrap();
    let status = until("the daemon's end", || daemon.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn e07_a_daemon_goes_on_where_standard_error_cannot_be_written() {
    for format in ["text", "json"] {
        let workspace = workspace();
        let run = || {
            let mut command = workspace.command(["run", "--interval", "0.1", "--log-format", format]);
            command.stdout(Stdio::null());
            command
        };
        let full = File::options().write(true).open("/dev/full").unwrap();
        stops_in_order(&workspace, run().stderr(full).spawn().unwrap());
        let mut closed = run().stderr(Stdio::piped()).spawn().unwrap();
        drop(closed.stderr.take());
        stops_in_order(&workspace, closed);
    }
}

/// A daemon on a terminal of its own, and who holds the terminal.
fn on_a_terminal(workspace: &Workspace, before: &str) -> (Child, u32) {
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &format!("exec {before} {BINARY} run --interval 0.1"), "/dev/null"]);
    script.current_dir(workspace.root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let terminal = script.spawn().unwrap();
    let pid = until("the daemon's number", || {
        let published: serde_json::Value = serde_json::from_str(&workspace.read(".milescale/status.json")).ok()?;
        let pid = published["daemon"]["pid"].as_u64()?.try_into().ok()?;
        is_alive(pid).then_some(pid)
    });
    cycles(workspace, 2);
    (terminal, pid)
}

fn is_alive(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[test]
fn e07_a_daemon_ends_with_its_terminal_and_not_under_nohup() {
    let workspace = workspace();
    let (mut terminal, pid) = on_a_terminal(&workspace, "");
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    until("the daemon's end", || (!is_alive(pid)).then_some(()));
    assert_eq!(workspace.status()["daemon"]["running"], false);
    let (mut terminal, pid) = on_a_terminal(&workspace, "nohup");
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    cycles(&workspace, 5);
    assert!(is_alive(pid));
    Command::new("kill").arg(pid.to_string()).status().unwrap();
    until("the daemon's end", || (!is_alive(pid)).then_some(()));
}
