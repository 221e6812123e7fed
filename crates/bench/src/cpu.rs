//! Processor time: of this process, of another one, and of another one to the microsecond.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process.
pub(crate) fn own_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).unwrap())
}

/// Processor time of a process, to ten milliseconds.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// What a process uses from now on, with all that it starts.
pub(crate) enum Meter {
    /// A control group of its own counts microseconds. It goes when this is dropped, if its processes are gone.
    Group(PathBuf),
    /// Where none can be made (no root, no `cgroup2`): its ticks, and those of before.
    Ticks(u32, Duration),
}

impl Meter {
    pub(crate) fn of(pid: u32) -> Self {
        Self::group(pid).map_or_else(|| Self::Ticks(pid, cpu(pid)), Self::Group)
    }

    fn group(pid: u32) -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let fields = mounts.lines().map(|line| line.split(' '));
        let root = fields.filter_map(|mut it| Some((it.nth(1)?, it.next()?))).find(|(_, kind)| *kind == "cgroup2")?.0;
        let group = PathBuf::from(root).join(format!("milescale-bench-{pid}"));
        fs::create_dir(&group).ok()?;
        let moved = fs::write(group.join("cgroup.procs"), pid.to_string()).is_ok() && used(&group).is_some();
        if !moved {
            let _ = fs::remove_dir(&group);
        }
        moved.then_some(group)
    }

    /// Processor time since it was made.
    pub(crate) fn used(&self) -> Duration {
        match self {
            Self::Group(group) => used(group).unwrap(),
            Self::Ticks(pid, before) => cpu(*pid) - *before,
        }
    }

    /// What is counted.
    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::Group(_) => "to the microsecond, by control groups",
            Self::Ticks(..) => "in ticks of 10 ms",
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Self::Group(group) = self {
            let _ = fs::remove_dir(group);
        }
    }
}

/// A group starts with nothing used.
fn used(group: &std::path::Path) -> Option<Duration> {
    let stat = fs::read_to_string(group.join("cpu.stat")).ok()?;
    let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(micros.parse().ok()?))
}
