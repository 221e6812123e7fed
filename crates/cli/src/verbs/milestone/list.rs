//! `milestone list` and `milestone search`.

use milescale_core::milestone::ARCHIVED;
use milescale_storage::outline::Wanted;
use milescale_storage::store::Milestone;

use super::{Desk, collect, outlines, print};
use crate::args::{ListOptions, SearchOptions};
use crate::context::Failure;

pub(super) fn list(desk: &mut Desk, options: &ListOptions) -> Result<(), Failure> {
    let ListOptions { status, priority, all, output } = options;
    let wanted = Wanted { status: status.clone(), priority: priority.clone(), all: *all };
    let found = if output.json {
        // Programs get the digest of each text, so the texts are read.
        collect(desk, |milestone| wanted.takes(&milestone.columns))?
    } else {
        outlines(|show| desk.access.store.list(&wanted, show))?
    };
    print(&found, output.json);
    Ok(())
}

pub(super) fn search(desk: &mut Desk, options: &SearchOptions) -> Result<(), Failure> {
    let wanted = options.text.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    let takes = |milestone: &Milestone| {
        let in_text = match &milestone.value {
            Ok(value) => value.texts().into_iter().any(has),
            Err(_) => has(&String::from_utf8_lossy(&milestone.text)),
        };
        (options.all || !is_archived(milestone)) && (in_text || has(&milestone.id))
    };
    let found = if options.output.json {
        collect(desk, takes)?
    } else {
        outlines(|show| desk.access.store.find(&takes, show))?
    };
    print(&found, options.output.json);
    Ok(())
}

fn is_archived(milestone: &Milestone) -> bool {
    milestone.columns.status.as_deref() == Some(ARCHIVED)
}
