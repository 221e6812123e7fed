//! Names in `active/` that look meant and are no milestones', or are ones whose id is not their name.

use std::ffi::OsStr;
use std::path::Path;

use milescale_workspace::Workspace;
use milescale_workspace::folder::Kind;

use super::{id_of, is_hidden};

/// Entries that are looked at.
const LOOKED_AT: usize = 100_000;

/// A name that a person should see to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Odd {
    /// The file, as people read it.
    pub place: String,
    /// What is the matter with it.
    pub why: String,
}

/// The odd names below `active/`, sorted. A folder that cannot be listed is another look's matter.
pub fn odd_names(workspace: &Workspace) -> Vec<Odd> {
    let (mut folders, mut found, mut looked_at) = (vec![workspace.active()], Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        for entry in folder.entries_or_none() {
            looked_at += 1;
            if looked_at > LOOKED_AT || is_hidden(&entry.name) {
                continue;
            }
            let place = folder.join(&entry.name);
            found.extend(oddity(&entry.name, entry.kind).map(|why| Odd { place: workspace.shown(&place), why }));
            if entry.kind == Kind::Folder {
                folders.push(place);
            }
        }
    }
    found.sort();
    found
}

fn oddity(name: &OsStr, kind: Kind) -> Option<String> {
    let has_ending = |endings: &[&str]| {
        let name = name.as_encoded_bytes().to_ascii_lowercase();
        endings.iter().any(|ending| name.ends_with(ending.as_bytes()))
    };
    let counts_by_name = name.as_encoded_bytes().ends_with(b".yaml");
    if counts_by_name && kind == Kind::Link {
        Some("it does not count: it is a symlink, and none is followed".to_owned())
    } else if counts_by_name && kind == Kind::Other {
        Some("it does not count: it is no regular file".to_owned())
    } else if counts_by_name && kind == Kind::File && name.to_str().is_none() {
        let id = id_of(Path::new(name));
        Some(format!("its name is not UTF-8, so it counts under the id {id}, which is not its name"))
    } else if !counts_by_name && kind == Kind::File && has_ending(&[".yaml", ".yml"]) {
        Some("it does not count: its name does not end in .yaml".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::odd_names;
    use milescale_workspace::Workspace;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn what_looks_meant_is_named_in_subfolders_too() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        fs::create_dir_all(workspace.active().join("sub/.hidden").path()).unwrap();
        let odd: [&[u8]; 6] = [b"c.YAML", b"e.yml", b"f.Yml", b"sub/g.yml", b"x\xff.yaml", b"sub/\xfe.yaml"];
        let usual: [&[u8]; 5] = [b"a.yaml", b"readme.md", b".b.yml", b"sub/.hidden/h.yml", b"yaml"];
        for name in odd.iter().chain(&usual) {
            fs::write(workspace.active().join(OsStr::from_bytes(name)).path(), "").unwrap();
        }
        std::os::unix::fs::symlink("a.yaml", workspace.active().join("link.yaml").path()).unwrap();
        let found = odd_names(&workspace);
        assert_eq!(found.len(), odd.len() + 1, "{found:?}");
        let not_utf8 = found.iter().find(|odd| odd.place.contains("x\u{fffd}")).unwrap();
        assert!(not_utf8.why.contains("not UTF-8") && not_utf8.why.contains("the id x\u{fffd}"), "{not_utf8:?}");
    }
}
