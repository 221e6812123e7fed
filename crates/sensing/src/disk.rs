//! The busy share of the device that holds a folder.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use milescale_workspace::folder::system;

/// A device's counter of busy milliseconds, read twice.
#[derive(Debug)]
pub(crate) struct Disk {
    counters: PathBuf,
    last: (Instant, u64),
}

impl Disk {
    /// The device of `folder`; `None` where there is none (memory, network) or the kernel counts nothing.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let counters = counters(system::status(folder).ok()?.dev())?;
        let busy = busy_milliseconds(&counters)?;
        Some(Self { counters, last: (Instant::now(), busy) })
    }

    /// Whole percent since the last call.
    pub(crate) fn busy_percent(&mut self) -> Option<u64> {
        let (then, before) = self.last;
        let (now, busy) = (Instant::now(), busy_milliseconds(&self.counters)?);
        self.last = (now, busy);
        let elapsed = u64::try_from(now.duration_since(then).as_millis()).ok()?.max(1);
        Some((busy.saturating_sub(before).saturating_mul(100) / elapsed).min(100))
    }
}

fn counters(device: u64) -> Option<PathBuf> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    if let Some(path) = existing(major, minor) {
        return Some(path);
    }
    // A file system with device numbers of its own (btrfs) names its device in the table of mounts.
    let mounts = system::text("/proc/self/mountinfo").ok()?;
    let source = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let is_it = fields.nth(2) == Some(&format!("{major}:{minor}"));
        is_it.then(|| line.split(" - ").nth(1)?.split(' ').nth(1)).flatten()
    })?;
    let device = system::status(source).ok().filter(|_| source.starts_with("/dev/"))?.rdev();
    existing(rustix::fs::major(device), rustix::fs::minor(device))
}

fn existing(major: u32, minor: u32) -> Option<PathBuf> {
    Some(PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"))).filter(|path| system::exists(path))
}

/// The tenth field of the kernel's block statistics: milliseconds with at least one request under way.
fn busy_milliseconds(counters: &Path) -> Option<u64> {
    system::text(counters).ok()?.split_whitespace().nth(9)?.parse().ok()
}
