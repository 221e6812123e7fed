//! What milestones are compared by.

use crate::digest::Digest;

/// A content, for comparing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The digest of its value; of what cannot be read, that of its bytes.
    pub value: Digest,
    /// The digest of its text, comments and layout included.
    pub text: Digest,
}

impl Content {
    /// Whether both are the same milestone. Equal texts are, whatever their values: a milescale of before may have read one of
    /// them otherwise.
    pub fn is_same(&self, other: &Self) -> bool {
        self.value == other.value || self.text == other.text
    }

    /// What it is compared as, where nobody has given its text: with that one of these contents which has its value, for a text
    /// that is made of values takes no comments out.
    #[must_use]
    pub fn as_said(self, among: impl IntoIterator<Item = Self>) -> Self {
        among.into_iter().find(|other| other.value == self.value).unwrap_or(self)
    }
}
