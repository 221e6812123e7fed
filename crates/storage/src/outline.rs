//! What lists show of milestones, without their texts.

use milescale_document::columns::{ARCHIVED, Columns, DEFAULT_PRIORITY};
use milescale_document::document::Flaw;
use milescale_document::milestone::Milestone;
use milescale_document::value::Number;

/// Which milestones a list is to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Only those of this status.
    pub status: Option<String>,
    /// Only those of this priority.
    pub priority: Option<String>,
    /// Archived ones too, where no status is asked for.
    pub all: bool,
    /// Only those in which this stands.
    pub text: Option<Needle>,
}

/// What is searched for, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    /// A text to search for.
    pub fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    fn is_in(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.0)
    }

    /// Whether it stands in a text of a milestone or in its id; of one that cannot be read, in what stands there.
    fn is_in_milestone(&self, milestone: &Milestone) -> bool {
        self.is_in(&milestone.id)
            || match &milestone.value {
                Ok(value) => value.texts().into_iter().any(|text| self.is_in(text)),
                Err(_) => self.is_in(&String::from_utf8_lossy(&milestone.text)),
            }
    }

    /// The pattern of LIKE without regard to ASCII's case, with `escape` before what stands for itself: it is in each JSON in
    /// which the needle stands, but where characters are spelled by their numbers, and but for [`Needle::has_strange_capitals`].
    /// `None` where JSON may spell the needle in another way.
    pub(crate) fn pattern(&self, escape: char) -> Option<String> {
        let is_spelled_one_way = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'/');
        self.0.bytes().all(is_spelled_one_way).then(|| {
            let mut pattern = String::from("%");
            for character in self.0.chars() {
                pattern.extend((matches!(character, '%' | '_') || character == escape).then_some(escape));
                pattern.push(character);
            }
            pattern + "%"
        })
    }

    /// Whether one of its letters has a capital that is not ASCII: `K` (U+212A) and `İ` (U+0130).
    pub(crate) fn has_strange_capitals(&self) -> bool {
        self.0.contains(['k', 'i'])
    }
}

impl Wanted {
    /// Whether archived ones may be among what is to be shown.
    pub fn asks_for_archived(&self) -> bool {
        self.status.as_deref().map_or(self.all, |status| self.all || status == ARCHIVED)
    }

    /// Whether a milestone is to be shown.
    pub fn takes(&self, milestone: &Milestone) -> bool {
        self.takes_columns(&milestone.columns)
            && self.text.as_ref().is_none_or(|needle| needle.is_in_milestone(milestone))
    }

    /// Whether one with these columns is, as far as they tell.
    pub(crate) fn takes_columns(&self, columns: &Columns) -> bool {
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

    /// Whether it says no more than what it would of a milestone that cannot be read.
    pub(crate) fn says_nothing(&self) -> bool {
        let Columns { title, status, priority, .. } = &self.columns;
        *title == self.id && status.is_none() && priority == DEFAULT_PRIORITY
    }

    /// Whether something in it is spelled like a number.
    pub(crate) fn has_number(&self) -> bool {
        let Columns { title, status, priority, .. } = &self.columns;
        [Some(title), status.as_ref(), Some(priority)].into_iter().flatten().any(|text| Number::is_spelled(text))
    }
}

#[cfg(test)]
mod tests {
    use super::{Needle, Wanted};
    use milescale_document::columns::Columns;

    #[test]
    fn archived_ones_are_shown_where_they_are_asked_for() {
        let columns = |status: &str| Columns { status: Some(status.to_owned()), ..Columns::default() };
        let status = |status: &str| Wanted { status: Some(status.to_owned()), ..Wanted::default() };
        assert!(
            Wanted::default().takes_columns(&columns("active"))
                && !Wanted::default().takes_columns(&columns("archived"))
        );
        assert!(Wanted { all: true, ..Wanted::default() }.takes_columns(&columns("archived")));
        assert!(
            status("archived").takes_columns(&columns("archived"))
                && !status("active").takes_columns(&columns("archived"))
        );
        assert!(!Wanted { priority: Some("high".to_owned()), ..Wanted::default() }.takes_columns(&columns("active")));
    }
    #[test]
    fn a_needle_is_a_pattern_where_json_spells_it_in_one_way() {
        let pattern = |text: &str| Needle::new(text).pattern('!');
        assert_eq!(pattern("Number 1").as_deref(), Some("%number 1%"));
        assert_eq!(pattern("100%_!").as_deref(), Some("%100!%!_!!%"));
        for text in ["a\"b", "a\\b", "a/b", "a\nb", "ü"] {
            assert_eq!(pattern(text), None, "{text:?}");
        }
    }

    #[test]
    fn two_letters_have_capitals_that_are_not_ascii() {
        let capitals =
            (0x80..=0x0010_ffff).filter_map(char::from_u32).filter(|it| it.to_lowercase().any(|it| it.is_ascii()));
        assert_eq!(capitals.collect::<String>(), "\u{130}\u{212a}");
        assert!(["Kite", "silt", "K"].iter().all(|text| Needle::new(text).has_strange_capitals()));
        assert!(!Needle::new("number 1").has_strange_capitals());
    }
}
