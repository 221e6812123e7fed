use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use super::{Identity, Kept, Place, Settled};
use crate::Workspace;
use crate::tokens::Tokens;

fn place(path: &str, device: u64) -> Place {
    Place { path: path.to_owned(), device }
}

#[test]
fn what_raises_a_doubt_and_what_does_not() {
    let mut kept = Kept { format: 2, number: "0".repeat(32), folder: 7, places: vec![place("/plans", 1)] };
    let doubt = |kept: &Kept, folder, path, device| kept.doubt(folder, &place(path, device)).is_some();
    assert!(!doubt(&kept, 7, "/plans", 1));
    assert!(!doubt(&kept, 7, "/plans", 2), "a restart gives devices other numbers");
    assert!(!doubt(&kept, 7, "/work", 1), "moved, or mounted into a container");
    assert!(doubt(&kept, 7, "/copy", 2), "a copied image");
    assert!(doubt(&kept, 8, "/plans", 1), "restored in its place");
    // A container's view stays known when the device gets another number.
    assert!(kept.remember(place("/work", 1)) && kept.remember(place("/plans", 2)));
    assert!(!doubt(&kept, 7, "/work", 2) && !kept.remember(place("/plans", 2)));
}

fn workspace(folder: &std::path::Path) -> Workspace {
    let workspace = Workspace::at(folder.join("one"));
    fs::create_dir_all(workspace.own().path()).unwrap();
    workspace
}

fn copied(from: &Workspace) -> Workspace {
    let to = Workspace::at(from.root().with_file_name("two"));
    assert!(Command::new("cp").arg("-a").arg(from.root()).arg(to.root()).status().unwrap().success());
    to
}

#[test]
fn a_copy_is_doubted_until_a_person_says_which_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let one = workspace(folder.path());
    let first = Identity::of_or_drawn(&one).unwrap();
    assert_eq!((first.doubt.clone(), Identity::of(&one).unwrap()), (None, Some(first.clone())));
    Tokens::of(&one).draw("a").unwrap();
    let two = copied(&one);
    let doubted = Identity::of_or_drawn(&two).unwrap();
    assert!(doubted.doubt.is_some() && doubted.number == first.number);
    assert!(Identity::of(&two).unwrap().unwrap().doubt.is_some(), "asking ends no doubt");
    let kept = Identity::settle(&two, Settled::GoesOn).unwrap();
    assert_eq!((kept.number, kept.doubt), (first.number.clone(), None));
    assert!(Tokens::of(&two).is_there());
    let apart = Identity::settle(&two, Settled::Separate).unwrap();
    assert!(apart.number != first.number && !Tokens::of(&two).is_there());
    assert_eq!(Identity::of(&one).unwrap(), Some(first), "the original is as it was");
}

#[test]
fn a_copy_with_nothing_on_a_server_draws_its_own_number() {
    let folder = tempfile::tempdir().unwrap();
    let one = workspace(folder.path());
    let first = Identity::of_or_drawn(&one).unwrap();
    let second = Identity::of_or_drawn(&copied(&one)).unwrap();
    assert!(second.number != first.number && second.doubt.is_none());
}

#[test]
fn the_first_shape_is_taken_over_whatever_the_machine_and_not_read_by_what_wrote_it() {
    let folder = tempfile::tempdir().unwrap();
    let one = workspace(folder.path());
    let number = "0123456789abcdef0123456789abcdef";
    fs::write(one.identity().path(), "").unwrap();
    let inode = fs::metadata(one.identity().path()).unwrap().ino();
    fs::write(one.identity().path(), format!("{number} {inode}@another-machine\n")).unwrap();
    Tokens::of(&one).draw("a").unwrap();
    let identity = Identity::of_or_drawn(&one).unwrap();
    assert_eq!((identity.number.as_str(), identity.doubt), (number, None));
    let text = fs::read_to_string(one.identity().path()).unwrap();
    assert_ne!(text.split_ascii_whitespace().next().unwrap().len(), 32);
    assert_eq!(Identity::of_or_drawn(&one).unwrap().number, number);
    // A copy of the first shape is doubted as well.
    fs::write(one.identity().path(), format!("{number} {}@another-machine\n", inode + 1)).unwrap();
    assert!(Identity::of_or_drawn(&one).unwrap().doubt.is_some());
    // What a newer one has written is refused, as is what nobody has written.
    for text in ["{\"format\":3,\"number\":\"\",\"folder\":1,\"places\":[]}", "hello"] {
        fs::write(one.identity().path(), text).unwrap();
        assert!(Identity::of(&one).is_err(), "{text}");
    }
}
