//! `milestone list` and `milestone search`.

use milescale_storage::outline::{Needle, Wanted};

use super::{Desk, collect, outlines, print};
use crate::args::{ListOptions, SearchOptions};
use crate::context::Failure;

pub(super) fn list(desk: &mut Desk, options: &ListOptions) -> Result<(), Failure> {
    let ListOptions { status, priority, all, output } = options;
    let wanted = Wanted { status: status.clone(), priority: priority.clone(), all: *all, text: None };
    show(desk, &wanted, output.json)
}

pub(super) fn search(desk: &mut Desk, options: &SearchOptions) -> Result<(), Failure> {
    let wanted = Wanted { all: options.all, text: Some(Needle::new(&options.text)), ..Wanted::default() };
    show(desk, &wanted, options.output.json)
}

fn show(desk: &mut Desk, wanted: &Wanted, json: bool) -> Result<(), Failure> {
    // Programs get the digest of each text, so the texts are read.
    let found = if json { collect(desk, wanted)? } else { outlines(desk, wanted)? };
    print(&found, json);
    Ok(())
}
