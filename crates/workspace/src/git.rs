//! Whether git keeps files of a folder, read from git's own index. No program runs: a repository says in its configuration what
//! git runs, and that is whatever its author wants (contract §10).

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::folder::{Folder, system};
use crate::read::read_regular;
use crate::{Place, Workspace};

/// Bytes of an index that are read: one of two million files has about 200 MB.
const LIMIT: u64 = 256 << 20;

/// The longest name in an index that is read.
const LONGEST_NAME: u64 = 1 << 16;

/// Bytes of an entry before its object's number: times, device, inode, mode, owner, size.
const BEFORE_NUMBER: usize = 40;

/// Entries between two looks whether to go on.
const LOOKS_UP: u32 = 1024;

/// Bytes of a file that names a folder.
const SHORT: u64 = 1 << 16;

/// The bytes of an object's number, with SHA-1 and with SHA-256.
const NUMBERS: [usize; 2] = [20, 32];

/// How long an index is read at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether git keeps files below a folder of a workspace, which is given from its root. Where a stop is asked for meanwhile, or it takes
/// too long to tell: no.
pub fn keeps(workspace: &Workspace, below: &Path) -> bool {
    let root = workspace.root();
    let Some((top, folder)) = root.ancestors().find_map(|top| Some((top, folder_of(top)?))) else { return false };
    let Ok(inside) = root.strip_prefix(top) else { return false };
    let mut wanted = inside.join(below).into_os_string().into_encoded_bytes();
    wanted.push(b'/');
    let (stop, began) = (workspace.stop(), Instant::now());
    let goes_on = || !stop.is_asked() && began.elapsed() < PATIENCE;
    let look = |name: &str, number| look_in(&folder.join(name), number, &wanted, &goes_on);
    NUMBERS.iter().any(|number| {
        let found = look("index", *number).unwrap_or_default();
        // Of an index that is split, most entries are in the one that it links to.
        found.has_it || found.shared.is_some_and(|name| look(&name, *number).is_ok_and(|it| it.has_it))
    })
}

/// The folder in which git keeps the index of a working tree: `.git`, or what the file of that name says. Neither is followed where it is
/// a symlink; and a file of that name is believed where git has written the same into the folder that it names.
fn folder_of(top: &Path) -> Option<Place> {
    let git = Folder::named(top).place().join(".git");
    if git.is_folder() {
        return Some(git);
    }
    let (text, _) = read_regular(&git, SHORT).ok()?;
    let named = top.join(OsStr::from_bytes(text.strip_prefix(b"gitdir:")?.trim_ascii()));
    if !is_where_git_keeps_one(&named) {
        return None;
    }
    // A symlink on the way may lead to any other folder.
    let named = system::real_path(named).ok().filter(|named| is_where_git_keeps_one(named))?;
    let place = Folder::named(&named).place();
    let is_of_a_worktree = || {
        let (back, _) = read_regular(&place.join("gitdir"), SHORT).ok()?;
        let back = named.join(OsStr::from_bytes(back.trim_ascii()));
        (system::real_path(back).ok()? == system::real_path(git.path()).ok()?).then_some(())
    };
    // A submodule's is kept by the repository that it is a part of.
    let is_of_a_submodule = top.ancestors().skip(1).any(|above| named.starts_with(above.join(".git/modules")));
    (is_of_a_submodule || is_of_a_worktree().is_some()).then_some(place)
}

/// Whether a path looks like one at which git keeps what a file `.git` names: of anything else nothing is opened.
fn is_where_git_keeps_one(named: &Path) -> bool {
    let parts: Vec<_> = named.components().collect();
    let is_of_a_worktree = named.parent().is_some_and(|folder| folder.ends_with("worktrees"));
    is_of_a_worktree || parts.windows(2).any(|two| two[0].as_os_str() == ".git" && two[1].as_os_str() == "modules")
}

/// What an index says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// It has files below the folder.
    has_it: bool,
    /// The name of the index that it links to.
    shared: Option<String>,
}

fn look_in(index: &Place, number: usize, wanted: &[u8], goes_on: &dyn Fn() -> bool) -> io::Result<Found> {
    let (file, _) = index.open()?;
    read(&mut BufReader::new(file.take(LIMIT)), number, wanted, goes_on)
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn number_of(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Reads entries until one lies below the folder (gitformat-index: versions 2 to 4).
fn read(index: &mut impl BufRead, number: usize, wanted: &[u8], goes_on: &dyn Fn() -> bool) -> io::Result<Found> {
    let mut head = [0; 12];
    index.read_exact(&mut head)?;
    let (version, count) = (number_of(&head[4..8]), number_of(&head[8..]));
    if &head[..4] != b"DIRC" || !(2..=4).contains(&version) {
        return Err(damaged());
    }
    let mut name = Vec::new();
    let mut fixed = vec![0; BEFORE_NUMBER + number + 2];
    for at in 0..count {
        if at % LOOKS_UP == 0 && !goes_on() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        index.read_exact(&mut fixed)?;
        let flags = number_of(&fixed[BEFORE_NUMBER + number..]);
        let is_extended = flags & 0x4000 != 0;
        if is_extended {
            index.read_exact(&mut [0; 2])?;
        }
        if version == 4 {
            let cut = offset(index)?;
            let kept = name.len().checked_sub(cut).ok_or_else(damaged)?;
            name.truncate(kept);
        } else {
            name.clear();
        }
        index.by_ref().take(LONGEST_NAME).read_until(0, &mut name)?;
        if name.pop() != Some(0) || name.len() as u64 > LONGEST_NAME {
            return Err(damaged());
        }
        let told = usize::try_from(flags & 0xfff).unwrap_or_default();
        if told != name.len().min(0xfff) {
            return Err(damaged());
        }
        if version < 4 {
            // Zeros fill each entry up to a multiple of eight.
            let length = fixed.len() + if is_extended { 2 } else { 0 } + name.len() + 1;
            index.read_exact(&mut [0; 8][..length.next_multiple_of(8) - length])?;
        }
        // A folder that is left out of a sparse checkout stands as one entry.
        if name.starts_with(wanted) || (name.ends_with(b"/") && wanted.starts_with(&name)) {
            return Ok(Found { has_it: true, shared: None });
        }
    }
    Ok(Found { has_it: false, shared: linked(index, number) })
}

/// How many bytes of the name before are not in the next one.
fn offset(index: &mut impl BufRead) -> io::Result<usize> {
    let mut offset = 0_usize;
    for round in 0..4 {
        let mut byte = [0];
        index.read_exact(&mut byte)?;
        offset = if round == 0 { 0 } else { (offset + 1) << 7 } | usize::from(byte[0] & 0x7f);
        if byte[0] & 0x80 == 0 {
            return Ok(offset);
        }
    }
    Err(damaged())
}

/// The name of the index that this one links to, by its extension `link`, which comes first.
fn linked(index: &mut impl BufRead, number: usize) -> Option<String> {
    let (mut head, mut shared) = ([0; 8], vec![0; number]);
    index.read_exact(&mut head).ok()?;
    if &head[..4] != b"link" {
        return None;
    }
    index.read_exact(&mut shared).ok()?;
    let digits: String = shared.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("sharedindex.{digits}"))
}

#[cfg(test)]
mod tests {
    use super::{Found, Workspace, keeps, read};
    use proptest::prelude::*;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    fn git(folder: &Path, arguments: &[&str]) {
        let ran = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    fn kept(root: &Path) -> bool {
        keeps(&Workspace::at(root), Path::new(".milestones/active"))
    }

    #[test]
    fn says_what_git_says_of_each_version_layout_and_format() {
        for format in ["sha1", "sha256"] {
            for version in ["2", "3", "4"] {
                let folder = tempfile::tempdir().unwrap();
                let root = folder.path().join("sub");
                fs::create_dir_all(root.join(".milestones/active")).unwrap();
                git(folder.path(), &["init", "-q", "--object-format", format]);
                assert!(!kept(&root), "nothing is kept yet");
                for number in 0..50 {
                    fs::write(folder.path().join(format!("file-{number}")), "").unwrap();
                }
                fs::write(root.join(".milestones/activeness"), "").unwrap();
                git(folder.path(), &["add", "."]);
                git(folder.path(), &["update-index", "--index-version", version]);
                assert!(!kept(&root), "{format} {version}: another name");
                fs::write(root.join(".milestones/active/a.yaml"), "").unwrap();
                assert!(!kept(&root), "{format} {version}: not added");
                // Of an entry that is only intended the flags are extended.
                git(folder.path(), &["add", if version == "3" { "-N" } else { "-A" }, "."]);
                assert!(kept(&root), "{format} {version}");
                assert!(!kept(folder.path()), "another workspace in the same repository");
                git(folder.path(), &["commit", "-qam", "x"]);
                git(folder.path(), &["worktree", "add", "-q", "../other-tree"]);
                let tree = folder.path().parent().unwrap().join("other-tree");
                assert!(kept(&tree.join("sub")), "{format} {version}: a working tree");
                git(folder.path(), &["worktree", "remove", "--force", "../other-tree"]);
                git(folder.path(), &["update-index", "--split-index"]);
                assert!(kept(&root), "{format} {version}: split");
            }
        }
    }

    #[test]
    fn a_folder_that_only_looks_like_a_repository_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["objects", "refs", ".milestones/active"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("HEAD"), "ref: refs/heads/main\n").unwrap();
        let config = "[core]\n\tbare = false\n\tworktree = \".\"\n\tfsmonitor = \"touch PWNED; false\"\n";
        fs::write(folder.path().join("config"), config).unwrap();
        assert!(!kept(folder.path()) && !folder.path().join("PWNED").exists());
        fs::write(folder.path().join(".git"), "gitdir: /dev/zero\n").unwrap();
        assert!(!kept(folder.path()));
    }

    #[test]
    fn a_repository_elsewhere_is_believed_where_it_knows_of_the_folder() {
        let elsewhere = tempfile::tempdir().unwrap();
        let top = elsewhere.path().join("top");
        fs::create_dir_all(top.join(".milestones/active")).unwrap();
        fs::write(top.join(".milestones/active/a.yaml"), "").unwrap();
        git(&top, &["init", "-q"]);
        git(&top, &["add", "."]);
        git(&top, &["commit", "-qm", "one"]);
        assert!(kept(&top));
        // What a clone says of it: nothing is read there.
        let clone = elsewhere.path().join("clone");
        fs::create_dir_all(clone.join(".milestones/active")).unwrap();
        let said = format!("gitdir: {}\n", top.join(".git").display());
        fs::write(clone.join(".git"), &said).unwrap();
        assert!(!kept(&clone));
        fs::remove_file(clone.join(".git")).unwrap();
        std::os::unix::fs::symlink(top.join(".git"), clone.join(".git")).unwrap();
        assert!(!kept(&clone));
        fs::remove_file(clone.join(".git")).unwrap();
        fs::create_dir(clone.join(".git")).unwrap();
        std::os::unix::fs::symlink(top.join(".git/index"), clone.join(".git/index")).unwrap();
        assert!(!kept(&clone));
        // A worktree and a submodule are known there.
        let worktree = elsewhere.path().join("worktree");
        git(&top, &["worktree", "add", "-q", worktree.to_str().unwrap()]);
        assert!(kept(&worktree));
        let above = elsewhere.path().join("above");
        fs::create_dir(&above).unwrap();
        git(&above, &["init", "-q"]);
        git(&above, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", top.to_str().unwrap(), "sub"]);
        assert!(kept(&above.join("sub")));
    }

    proptest! {
        #[test]
        fn what_is_no_index_is_an_error_or_nothing(mut bytes in prop::collection::vec(any::<u8>(), 0..400), head in any::<bool>()) {
            if head && bytes.len() >= 12 {
                bytes[..8].copy_from_slice(b"DIRC\0\0\0\x04");
            }
            for number in super::NUMBERS {
                if let Ok(Found { has_it, .. }) = read(&mut &*bytes, number, b"x/", &|| true) {
                    prop_assert!(!has_it || bytes.windows(2).any(|pair| pair == b"x/") || bytes.contains(&b'/'));
                }
            }
        }
    }
}
