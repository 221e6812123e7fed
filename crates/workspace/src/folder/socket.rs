//! Sockets that programs listen on: what connects to one talks to that program, whatever it is.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode as Rights, Stat};

#[cfg(target_os = "linux")]
use super::acts::{HANDLE, by_descriptor};

/// A socket by its name, held as long as somebody connects to it: no other one can take its place.
#[derive(Debug)]
pub struct Socket {
    #[cfg(target_os = "linux")]
    handle: rustix::fd::OwnedFd,
    path: PathBuf,
    /// What the system says of the folder that it lies in.
    folder: Stat,
    /// Whether every user could have made one of the folders on the way to it.
    is_anybodys: bool,
}

impl Socket {
    /// Looks at what has a name. A symlink there is not followed: a server makes none, and it would lead to a program that is none.
    ///
    /// # Errors
    /// Where nothing is there, or no socket.
    pub fn at(path: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        let (status, handle) = {
            let handle = rustix::fs::open(path, HANDLE, Rights::empty())?;
            (rustix::fs::fstat(&handle)?, handle)
        };
        #[cfg(not(target_os = "linux"))]
        let status = rustix::fs::lstat(path)?;
        if kind(&status) != FileType::Socket {
            let what = if kind(&status) == FileType::Symlink { "a symlink" } else { "no socket" };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is {what}", path.display())));
        }
        Ok(Self {
            #[cfg(target_os = "linux")]
            handle,
            path: path.to_owned(),
            folder: rustix::fs::stat(path.parent().unwrap_or(Path::new("/")))?,
            is_anybodys: is_anybodys(path)?,
        })
    }

    /// The same in a folder that no workspace brings: there a symlink of root's is followed, as people make them between the folders in which
    /// clients and servers look.
    ///
    /// # Errors
    /// As [`Socket::at`].
    pub fn in_folder_of_the_system(path: &Path) -> io::Result<Self> {
        let status = rustix::fs::lstat(path)?;
        if kind(&status) == FileType::Symlink && status.st_uid == 0 {
            return Self::at(&super::system::real_path(path)?);
        }
        Self::at(path)
    }

    /// Where to connect to.
    pub fn path(&self) -> PathBuf {
        // Without /proc, only its name is left.
        #[cfg(target_os = "linux")]
        if let held = by_descriptor(&self.handle)
            && super::system::exists(&held)
        {
            return held;
        }
        self.path.clone()
    }

    /// Whether somebody who listens there may be anybody: every user may make it, or a folder on the way, once the one before is gone, and it is
    /// neither root, nor the process's own user who runs it, nor the owner of a folder that nobody else could have made.
    pub fn may_be_anybodys(&self, runs_it: u32) -> bool {
        let is_open = self.folder.st_mode & 0o002 != 0;
        let is_owners = !self.is_anybodys && runs_it == self.folder.st_uid && runs_it != unknown_user();
        (self.is_anybodys || is_open) && ![0, rustix::process::geteuid().as_raw()].contains(&runs_it) && !is_owners
    }
}

/// Whether every user could have made one of the folders on the way to a socket: it lies in one that all may write, and is neither root's nor the
/// process's own user's.
fn is_anybodys(path: &Path) -> io::Result<bool> {
    let path = super::system::real_path(path.parent().unwrap_or(Path::new("/")))?;
    let own = [0, rustix::process::geteuid().as_raw()];
    for folder in path.ancestors() {
        let Some(above) = folder.parent() else { continue };
        if rustix::fs::stat(above)?.st_mode & 0o002 != 0 && !own.contains(&rustix::fs::stat(folder)?.st_uid) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Who all users are who have no number in this process's namespace.
pub fn unknown_user() -> u32 {
    super::system::text("/proc/sys/kernel/overflowuid").ok().and_then(|it| it.trim().parse().ok()).unwrap_or(65534)
}

#[allow(clippy::useless_conversion, reason = "the types differ by platform")]
fn kind(status: &Stat) -> FileType {
    FileType::from_raw_mode(status.st_mode.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::Socket;

    #[test]
    fn a_socket_is_one_by_itself_and_stays_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let _listener = UnixListener::bind(at("s")).unwrap();
        let socket = Socket::at(&at("s")).unwrap();
        assert!(!socket.may_be_anybodys(12345));
        symlink("s", at("link")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        for (name, why) in [("link", "a symlink"), ("file", "no socket")] {
            let error = Socket::at(&at(name)).unwrap_err().to_string();
            assert!(error.ends_with(why), "{error}");
        }
        assert!(Socket::at(&at("none")).is_err());
        let of_root = Socket::in_folder_of_the_system(&at("link"));
        assert_eq!(of_root.is_ok(), rustix::process::geteuid().is_root());
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).unwrap();
        let socket = Socket::at(&at("s")).unwrap();
        let own = rustix::process::geteuid().as_raw();
        assert!(socket.may_be_anybodys(12345) && !socket.may_be_anybodys(own) && !socket.may_be_anybodys(0));
        // What takes its name meanwhile is not connected to.
        if cfg!(target_os = "linux") {
            std::fs::rename(at("s"), at("other")).unwrap();
            UnixStream::connect(socket.path()).unwrap();
        }
    }
}
