//! The load of the machine: processors, memory, the workspace's disk.

use std::path::Path;
use std::time::{Duration, Instant};

use milescale_core::figures::MachineFigures;
use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::disk::Disk;

/// The machine, sampled now and then. Shares are those since the sample before.
#[derive(Debug)]
pub struct Machine {
    /// `None` on a system that tells nothing of itself.
    system: Option<System>,
    disk: Option<Disk>,
    sampled: Instant,
    /// The figures of the last sample but the first.
    figures: Option<MachineFigures>,
}

impl Machine {
    /// Takes the first sample, which gives no figures yet. `folder` tells the disk.
    pub fn new(folder: &Path) -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_usage();
        }
        Self { system, disk: Disk::of(folder), sampled: Instant::now(), figures: None }
    }

    /// How long until a sample makes sense: a share needs some time between two samples.
    pub fn ready_in(&self) -> Duration {
        MINIMUM_CPU_UPDATE_INTERVAL.saturating_sub(self.sampled.elapsed())
    }

    /// The figures since the last sample. The first time it waits for [`Machine::ready_in`], at most 200 ms; later, when
    /// asked again within that time, it answers as before.
    pub fn sample(&mut self) -> MachineFigures {
        if let Some(figures) = self.figures
            && !self.ready_in().is_zero()
        {
            return figures;
        }
        std::thread::sleep(self.ready_in());
        self.sampled = Instant::now();
        let figures = self.measured();
        self.figures = Some(figures);
        figures
    }

    fn measured(&mut self) -> MachineFigures {
        let disk_io_percent = self.disk.as_mut().and_then(Disk::busy_percent);
        let Some(system) = &mut self.system else {
            return MachineFigures { disk_io_percent, ..MachineFigures::default() };
        };
        system.refresh_cpu_usage();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        MachineFigures {
            cpu_usage_percent: Some(whole_percent(system.global_cpu_usage())),
            memory_usage_percent: memory_percent(system),
            disk_io_percent,
        }
    }
}

fn memory_percent(system: &mut System) -> Option<u64> {
    let (total, available) = (system.total_memory(), system.available_memory());
    match group_memory(system) {
        Some((limit, used)) if limit < total => percent(used, limit),
        _ => percent(total.checked_sub(available)?, total),
    }
}

/// Limit and use of the control group that this process runs in.
fn group_memory(system: &mut System) -> Option<(u64, u64)> {
    let own = sysinfo::get_current_pid().ok()?;
    let only = ProcessesToUpdate::Some(std::slice::from_ref(&own));
    system.refresh_processes_specifics(only, true, ProcessRefreshKind::nothing().without_tasks());
    let limits = system.process(own)?.cgroup_limits()?;
    Some((limits.total_memory, limits.rss))
}

fn percent(part: u64, whole: u64) -> Option<u64> {
    part.saturating_mul(100).checked_div(whole).map(|percent| percent.min(100))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 to 100")]
fn whole_percent(share: f32) -> u64 {
    share.clamp(0.0, 100.0) as u64
}

#[cfg(test)]
mod tests {
    use super::Machine;
    use std::time::Duration;

    #[test]
    fn measures_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = Machine::new(folder.path());
        assert!(machine.ready_in() > Duration::ZERO, "the first sample alone says nothing");
        let figures = machine.sample();
        assert!(figures.cpu_usage_percent.unwrap() <= 100);
        assert!((1..=100).contains(&figures.memory_usage_percent.unwrap()));
        assert!(figures.disk_io_percent.is_none_or(|percent| percent <= 100));
    }

    #[test]
    fn busy_processors_show() {
        let folder = tempfile::tempdir().unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().unwrap().get() {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let mut machine = Machine::new(folder.path());
            let busy = machine.sample().cpu_usage_percent;
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(busy >= Some(25), "{busy:?}");
        });
    }
}
