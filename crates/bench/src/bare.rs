//! The least that looking at files can cost: loops that do nothing else.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, statat};

/// Every name in a folder, and the folder.
fn names(folder: &Path) -> (OwnedFd, Vec<CString>) {
    let opened = openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let names = Dir::read_from(&opened).unwrap().map(|entry| entry.unwrap().file_name().to_owned());
    let names = names.filter(|name| !name.to_bytes().starts_with(b".")).collect();
    (opened, names)
}

fn with_each(folder: &Path, each: impl Fn(&OwnedFd, &CStr, &mut [u8]) + Sync) {
    let (folder, names) = names(folder);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = names.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        for part in names.chunks(share) {
            let (folder, each) = (&folder, &each);
            scope.spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                for name in part {
                    each(folder, name, &mut buffer);
                }
            });
        }
    });
}

/// Opens, reads and closes every file of a folder, with as many threads as the machine has.
pub(crate) fn read(folder: &Path) {
    with_each(folder, |folder, name, buffer| {
        let file = openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        while rustix::io::read(&file, &mut *buffer).unwrap() == buffer.len() {}
    });
}

/// Asks the system about every file of a folder.
pub(crate) fn stat(folder: &Path) {
    with_each(folder, |folder, name, _| {
        statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    });
}
