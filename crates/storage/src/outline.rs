//! What lists show of milestones, without their texts.

use milescale_core::document::Flaw;
use milescale_core::milestone::{ARCHIVED, Columns};

use crate::store::Milestone;

/// Which milestones a list is to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Only those of this status.
    pub status: Option<String>,
    /// Only those of this priority.
    pub priority: Option<String>,
    /// Archived ones too, where no status is asked for.
    pub all: bool,
}

impl Wanted {
    /// Whether a milestone with these columns is to be shown.
    pub fn takes(&self, columns: &Columns) -> bool {
        let is_archived = columns.status.as_deref() == Some(ARCHIVED);
        let of_status = match &self.status {
            Some(status) => columns.status.as_ref() == Some(status),
            None => self.all || !is_archived,
        };
        of_status && self.priority.as_ref().is_none_or(|priority| columns.priority == *priority)
    }
}

/// What a list shows of a milestone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Its id.
    pub id: String,
    /// Title, status, priority, creation.
    pub columns: Columns,
    /// When it was last written, where that is known.
    pub updated_at: Option<String>,
    /// Where it is, as people read it.
    pub place: String,
    /// Why it cannot be read, where that is so.
    pub flaw: Option<Flaw>,
}

impl Outline {
    /// The outline of a milestone.
    pub fn of(milestone: Milestone) -> Self {
        let Milestone { id, value, columns, updated_at, place, .. } = milestone;
        Self { id, columns, updated_at, place, flaw: value.err() }
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;
    use milescale_core::milestone::Columns;

    #[test]
    fn archived_ones_are_shown_where_they_are_asked_for() {
        let columns = |status: &str| Columns { status: Some(status.to_owned()), ..Columns::default() };
        let status = |status: &str| Wanted { status: Some(status.to_owned()), ..Wanted::default() };
        assert!(Wanted::default().takes(&columns("active")) && !Wanted::default().takes(&columns("archived")));
        assert!(Wanted { all: true, ..Wanted::default() }.takes(&columns("archived")));
        assert!(status("archived").takes(&columns("archived")) && !status("active").takes(&columns("archived")));
        assert!(!Wanted { priority: Some("high".to_owned()), ..Wanted::default() }.takes(&columns("active")));
    }
}
