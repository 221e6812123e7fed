//! What the machine has to say before a migration: room on the disk, the kind of file system.

use milescale_workspace::Place;
use rustix::fs::{fstatfs, fstatvfs};

/// File systems over a network, by their magic numbers: renames and locks are not what they are on a disk.
const OVER_A_NETWORK: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB 2"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9P"),
];

/// Bytes that can be written to the file system of a folder.
pub(crate) fn free_bytes(folder: &Place) -> Option<u64> {
    fstatvfs(folder.open_folder().ok()?).ok().map(|it| it.f_bavail.saturating_mul(it.f_frsize))
}

/// The kind of file system, where it is one over a network.
pub fn network_file_system(folder: &Place) -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    {
        let kind = u64::try_from(fstatfs(folder.open_folder().ok()?).ok()?.f_type).ok()? & 0xffff_ffff;
        OVER_A_NETWORK.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (folder, OVER_A_NETWORK);
        None
    }
}
