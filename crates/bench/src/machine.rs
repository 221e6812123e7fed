//! Where and of what was measured.

use std::process::Command;

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Date, commit, machine, in Markdown.
pub(crate) fn describe() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |it| it.1);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    format!(
        "Measured on {} at commit {}{}: {model}, {cores} cores, {} GiB, Linux {}, file system {}.\n",
        said("date", &["-u", "+%Y-%m-%d"]),
        said("git", &["rev-parse", "--short=12", "HEAD"]),
        if said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { " with changes" },
        memory.unwrap_or_default() >> 20,
        said("uname", &["-r"]),
        said("stat", &["-f", "-c", "%T", &std::env::temp_dir().to_string_lossy()]),
    )
}
