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
    folder: Stat,
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
        })
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

    /// Whether somebody who listens there may be anybody: every user may make a socket there, once the one before is gone, and it is neither
    /// the folder's owner, nor root, nor the process's own user who runs it.
    pub fn may_be_anybodys(&self, runs_it: u32) -> bool {
        let known = [0, rustix::process::geteuid().as_raw(), self.folder.st_uid];
        self.folder.st_mode & 0o002 != 0 && !known.contains(&runs_it)
    }
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
