//! What stands for an id in the names of milescale's own files: they have to fit a file system whatever else is in them.
//!
//! An id that is long, or cannot be a file's name, stands there as `row-DIGEST`. Where nothing else beside the file says
//! which id that is, `.milescale/displaced/row-DIGEST.id` does.

use std::io;

use milescale_document::digest::Digest;
use milescale_document::id::Id;

use crate::durable;
use crate::read::read_regular;
use crate::{Place, Workspace};

/// The longest id that stands in a name, in bytes.
const LONGEST: usize = 160;

/// Hexadecimal digits of a digest in a name.
pub(crate) const DIGITS: usize = 16;

/// The first digits of the digest of a text, as they stand in names.
pub(crate) fn digits(digest: Digest) -> String {
    let mut digits = digest.to_string();
    digits.truncate(DIGITS);
    digits
}

/// What stands for an id in a name.
pub(crate) fn in_name(id: &str) -> String {
    if id.len() <= LONGEST && id.parse::<Id>().is_ok() {
        id.to_owned()
    } else {
        format!("row-{}", digits(Digest::of(id.as_bytes())))
    }
}

/// The same, and writes down, durably, which id it is where it does not tell itself. The record stays: it is small, and
/// there is one an id.
pub(crate) fn noted_name(workspace: &Workspace, id: &str) -> io::Result<String> {
    let name = in_name(id);
    if name != id {
        durable::create(&record(workspace, &name), id.as_bytes())?;
    }
    Ok(name)
}

/// The id that stands so in a name, where that can be told; else what stands there.
pub(crate) fn id_of(workspace: &Workspace, name: &str) -> String {
    if !name.starts_with("row-") || name.contains('/') {
        return name.to_owned();
    }
    let noted = read_regular(&record(workspace, name), 1 << 16).ok();
    let noted = noted.and_then(|(id, _)| String::from_utf8(id).ok());
    // A record that says something else is none.
    noted.filter(|id| in_name(id) == name).unwrap_or_else(|| name.to_owned())
}

fn record(workspace: &Workspace, name: &str) -> Place {
    workspace.displaced().join(format!("{name}.id"))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, id_of, in_name, noted_name};
    use crate::Workspace;
    use std::fs;

    #[test]
    fn every_id_stands_in_a_name_that_is_short_and_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        fs::create_dir_all(workspace.displaced().path()).unwrap();
        let long =
            ["x".repeat(160), "x".repeat(161), "x".repeat(200), "ü".repeat(80), "ü".repeat(100), "🔄".repeat(50)];
        for id in ["a", "row-a", "a.b", "a/b", ""].map(str::to_owned).iter().chain(&long) {
            let name = noted_name(&workspace, id).unwrap();
            assert!(name.len() <= LONGEST && !name.contains('/'), "{name}");
            assert_eq!(&id_of(&workspace, &name), id);
        }
        assert_ne!(in_name(&long[1]), in_name(&long[2]));
        assert_eq!(id_of(&workspace, "row-0123456789abcdef"), "row-0123456789abcdef", "nothing says which it is");
    }
}
