//! Mounts and attributes: what keeps a file in its place.

use crate::Place;

/// Whether a file cannot be replaced by a rename, and why: a mount of its own, an attribute.
pub(super) fn held_in_place(path: &Place) -> Option<(&'static str, &'static str)> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
        let status = statx(path.handle().ok()?, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).ok()?;
        let has = |attribute| status.stx_attributes.contains(attribute);
        if has(StatxAttributes::MOUNT_ROOT) {
            return Some((
                "it is a mount of its own, and no rename replaces a mount",
                "mount its folder or all of the workspace instead of this one file",
            ));
        }
        (has(StatxAttributes::IMMUTABLE) || has(StatxAttributes::APPEND))
            .then_some(("an attribute of the file keeps it from being replaced", "take it away: chattr -i -a"))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

/// The number of the mount that a path lies in, where the system tells.
pub(super) fn mount(path: &Place) -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, StatxFlags, statx};
        statx(path.handle().ok()?, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok().map(|status| status.stx_mnt_id)
    }
    #[cfg(not(target_os = "linux"))]
    {
        path.status_of_name().ok().map(|metadata| metadata.dev())
    }
}
