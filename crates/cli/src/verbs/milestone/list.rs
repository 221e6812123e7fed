//! `milestone list` and `milestone search`.

use milescale_core::milestone::ARCHIVED;
use milescale_storage::store::Milestone;

use super::{Desk, collect, print};
use crate::args::{ListOptions, SearchOptions};
use crate::context::Failure;

pub(super) fn list(desk: &mut Desk, options: &ListOptions) -> Result<(), Failure> {
    let found = collect(desk, |milestone| {
        let columns = &milestone.columns;
        options.status.as_ref().is_none_or(|status| columns.status.as_ref() == Some(status))
            && options.priority.as_ref().is_none_or(|priority| columns.priority == *priority)
            && (options.all || options.status.as_deref() == Some(ARCHIVED) || !is_archived(milestone))
    })?;
    print(&found, options.output.json);
    Ok(())
}

pub(super) fn search(desk: &mut Desk, options: &SearchOptions) -> Result<(), Failure> {
    let wanted = options.text.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    let found = collect(desk, |milestone| {
        let in_text = match &milestone.value {
            Ok(value) => value.texts().into_iter().any(has),
            Err(_) => has(&String::from_utf8_lossy(&milestone.text)),
        };
        (options.all || !is_archived(milestone)) && (in_text || has(&milestone.id))
    })?;
    print(&found, options.output.json);
    Ok(())
}

fn is_archived(milestone: &Milestone) -> bool {
    milestone.columns.status.as_deref() == Some(ARCHIVED)
}
