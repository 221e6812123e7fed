//! Whom the folders on the way to a file let in, each of them looked at once.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::folder::{Folder, Metadata, Place, folders_up_to, numbers};
use crate::layout::OWN_FOLDER;
use crate::readers::Readers;

/// What the folders on the ways to files of one folder say, for as long as one look lasts.
#[derive(Debug, Default)]
pub struct Ways {
    of: Option<Of>,
}

#[derive(Debug)]
struct Of {
    folder: Folder,
    /// The folder itself; `None`: whom it lets in is not known.
    outer: Option<Metadata>,
    /// The folders in which messages are kept, where a symlink leads to one elsewhere.
    elsewhere: Vec<Option<Metadata>>,
    /// The folders above it, by device and inode, once a symlink leads elsewhere: they keep others out of all that lies in it.
    above: Option<Vec<(u64, u64)>>,
    /// The ways to folders inside.
    known: HashMap<PathBuf, Way>,
}

/// The last of the folders on a way that do not let in the same as the outermost does.
type Way = Option<Arc<Step>>;

#[derive(Debug)]
struct Step {
    /// `None`: nobody knows.
    folder: Option<Metadata>,
    next: Way,
}

impl Ways {
    /// Those of a file at a place, as far as the folders on the way to it let them in. One that lets in the same as the workspace itself
    /// keeps nobody out of what else lies in that. Behind a trusted symlink the folders above its target count as well.
    pub fn readers(&mut self, readers: Readers, file: &Place) -> Readers {
        if let Some(numbers_of_it) = readers.file() {
            // What has its name by now may be another one: then nobody knows where it lies.
            let Some(outer) = self.outer(file) else { return Readers::NONE };
            match file.lies_in() {
                Ok(None) => {}
                Ok(Some((it, folders))) if numbers(&it) == numbers_of_it => return readers.in_folders(&folders, outer),
                Ok(Some(_)) | Err(_) => return Readers::NONE,
            }
        }
        let way = self.of(file).way_of(file);
        let (mut readers, mut way) = (readers, &way);
        while let Some(step) = way {
            readers = step.folder.as_ref().map_or(Readers::NONE, |folder| readers.within(folder));
            way = &step.next;
        }
        readers
    }

    /// Those of files in an open folder, which was found at a place.
    pub fn readers_in(&mut self, readers: Readers, folder: impl AsFd, at: &Place) -> Readers {
        let Some(outer) = self.outer(at) else { return Readers::NONE };
        match folders_up_to(folder, numbers(outer)) {
            Ok(Some(folders)) => readers.wherever().in_folders(&folders, outer),
            // A symlink that is trusted leads there.
            Ok(None) => self.readers(readers.wherever(), &at.join("any")),
            Err(_) => Readers::NONE,
        }
    }

    /// What the system says of the outermost folder of a file's; `None`: nobody knows.
    pub(crate) fn outer(&mut self, file: &Place) -> Option<&Metadata> {
        self.of(file).outer.as_ref()
    }

    /// The folders in which messages are kept, where a symlink leads to one elsewhere; `None`: whom it lets in is not known.
    pub(crate) fn elsewhere(&mut self, file: &Place) -> &[Option<Metadata>] {
        &self.of(file).elsewhere
    }

    fn of(&mut self, file: &Place) -> &mut Of {
        let of = self.of.take().filter(|of| of.folder == *file.folder());
        self.of.insert(of.unwrap_or_else(|| {
            let folder = file.folder().clone();
            let kept = [OWN_FOLDER, "config", "logs"].map(|name| folder.place().join(name));
            let elsewhere = kept.iter().filter(|it| leads_elsewhere(it)).map(|it| it.status().ok()).collect();
            Of { outer: folder.place().status().ok(), folder, elsewhere, above: None, known: HashMap::new() }
        }))
    }
}

impl Of {
    fn way_of(&mut self, file: &Place) -> Way {
        let Some(outer) = self.outer.clone() else { return step(None, None) };
        let way = self.way_to(file.parent(), &outer);
        if file.status_of_name().is_ok_and(|it| it.is_symlink()) { self.behind(file, way, false) } else { way }
    }

    fn way_to(&mut self, folder: Place, outer: &Metadata) -> Way {
        let (mut at, mut unknown) = (folder, Vec::new());
        let mut way = loop {
            if at.inside().as_os_str().is_empty() {
                break None;
            }
            if let Some(way) = self.known.get(at.inside()) {
                break way.clone();
            }
            let parent = at.parent();
            unknown.push(at);
            at = parent;
        };
        for at in unknown.into_iter().rev() {
            way = match at.status_of_name() {
                Ok(link) if link.is_symlink() => self.behind(&at, way, true),
                Ok(folder) if folder.lets_in_the_same(outer) => way,
                Ok(folder) => step(Some(folder), way),
                Err(_) => step(None, way),
            };
            self.known.insert(at.inside().to_owned(), way.clone());
        }
        way
    }

    /// The way on through a trusted symlink: its target, where that is a folder, and all above it that are not above the workspace too.
    fn behind(&mut self, link: &Place, way: Way, is_folder: bool) -> Way {
        let Ok(real) = link.real() else { return step(None, way) };
        if self.above.is_none() {
            let above = self.folder.place().with_those_above();
            self.above = above.ok().map(|above| above.iter().map(numbers).collect());
        }
        let end = if is_folder { real } else { real.parent() };
        let (Some(shared), Ok(folders)) = (&self.above, end.with_those_above()) else {
            return step(None, way);
        };
        let mut way = way;
        for folder in folders.into_iter().rev().filter(|it| !shared.contains(&numbers(it))) {
            way = step(Some(folder), way);
        }
        way
    }
}

/// Whether a symlink lies on the way to what has this place, or is it itself.
pub fn leads_elsewhere(place: &Place) -> bool {
    let mut at = place.clone();
    while !at.inside().as_os_str().is_empty() {
        if at.status_of_name().is_ok_and(|it| it.is_symlink()) {
            return true;
        }
        at = at.parent();
    }
    false
}

fn step(folder: Option<Metadata>, next: Way) -> Way {
    Some(Arc::new(Step { folder, next }))
}
