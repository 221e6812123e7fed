//! A day's worth of cycles.

use std::fs;

use milescale_testkit::until;

use super::workspace;

/// Cycles of a day at the default interval of five minutes.
const CYCLES: usize = 288;

#[test]
fn a_day_of_cycles_with_changes_keeps_memory_and_open_files_flat() {
    let workspace = workspace();
    workspace.milestones("m", 100);
    let daemon = workspace.daemon(["--interval", "0.05", "--log-level", "error"]);
    let resident = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let open_files = || fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    // A cycle's number of lines is constant, so the file's length counts cycles; it stays far below its limit.
    let cycles = || workspace.read("logs/performance-metrics.jsonl").lines().count();
    let mut changes = 0;
    let mut change = || {
        changes += 1;
        let name = format!("active/changing-{}.yaml", changes % 7);
        match changes % 4 {
            0 => workspace.write(&name, "tasks: [\n"),
            1 => workspace.write(&name, "id: x\ntasks: [{kiro_workflow: {enabled: true}}]\n"),
            2 => workspace.save("active/saved.yaml", format!("id: saved\nnote: {changes}\n")),
            _ => drop(fs::remove_file(workspace.path(&name))),
        }
        let event = "{\"timestamp\":\"2999-01-01T00:00:00Z\",\"user\":\"u\",\"details\":{\"operation\":\"query\",\"duration_ms\":5}}\n";
        workspace.append("logs/storage-events.jsonl", event);
        if changes % 50 == 0 {
            let config = format!("storage: {{monitoring: {{interval: {changes}}}}}\n");
            workspace.save("config/storage-config.yaml", config);
        }
    };
    // Answers with the files that stay open: the fewest seen on the way, for every look opens some in passing.
    let mut run_to = |target: usize| {
        let (mut last, mut lasting) = (0, usize::MAX);
        until(&format!("cycle {target}"), || {
            lasting = lasting.min(open_files());
            let now = cycles();
            if now > last {
                last = now;
                change();
            }
            (now >= target).then_some(())
        });
        lasting
    };
    run_to(CYCLES / 8);
    let files = run_to(CYCLES / 4);
    let memory = resident();
    run_to(CYCLES / 2);
    run_to(CYCLES * 3 / 4);
    let files_after = run_to(CYCLES + 2);
    let memory_after = resident();
    println!("{CYCLES} cycles: {memory} → {memory_after} kB resident, {files} → {files_after} open files");
    assert!(memory_after <= memory + 512, "{memory} → {memory_after} kB");
    assert!(files_after <= files, "{files} → {files_after} open files");
    let state = fs::metadata(workspace.path(".milescale/state.json")).unwrap().len();
    assert!(state < 4096, "the memory on disk does not grow: {state} bytes");
    assert_eq!(daemon.stop().0, 0);
    // Once it has stopped: a file that is being replaced is for a moment there twice.
    let left = fs::read_dir(workspace.path(".milescale")).unwrap().count();
    assert!(left <= 9, "{left} files in .milescale");
}
