//! Pages that lead on. In a damaged file, the last row of one page may lead back to where its reader has been, and he would go round for
//! ever: whatever the order is that a table says, nobody comes to the same place twice.

use sqlx::Error;

/// What is said of a file that leads in a circle.
const IN_A_CIRCLE: &str = "its rows are in no order: an index leads back to where it has been";

/// The place that a reader of pages has come to.
#[derive(Debug)]
pub(crate) struct Onward<T> {
    at: Option<T>,
    /// A place that he has left, and after how many steps the next one is marked: twice as many each time, so that a circle of any
    /// length is found within three rounds.
    mark: Option<T>,
    steps: u64,
    until: u64,
}

impl<T: Clone + PartialEq> Onward<T> {
    /// At the beginning.
    pub(crate) const fn new() -> Self {
        Self { at: None, mark: None, steps: 0, until: 1 }
    }

    /// The last row of the page before; `None` at the beginning.
    pub(crate) const fn at(&self) -> Option<&T> {
        self.at.as_ref()
    }

    /// Goes on to the last row of a page; where that has none, it stays.
    ///
    /// # Errors
    /// When it was there before.
    pub(crate) fn to(&mut self, last: Option<T>) -> Result<(), Error> {
        let Some(last) = last else { return Ok(()) };
        if self.mark.as_ref() == Some(&last) {
            return Err(Error::Protocol(IN_A_CIRCLE.to_owned()));
        }
        if self.steps == self.until {
            self.mark = Some(last.clone());
            (self.steps, self.until) = (0, self.until * 2);
        }
        self.steps += 1;
        self.at = Some(last);
        Ok(())
    }
}

/// Whether an error says that.
pub(super) fn goes_round(error: &Error) -> bool {
    matches!(error, Error::Protocol(text) if text == IN_A_CIRCLE)
}

#[cfg(test)]
mod tests {
    use super::Onward;

    #[test]
    fn a_circle_of_any_length_is_found_and_a_line_is_none() {
        for (before, round) in [(0, 1), (0, 7), (3, 1), (10, 100), (100, 3)] {
            let mut onward = Onward::new();
            let places = (0_u32..).map(|step| if step < before { step } else { before + (step - before) % round });
            let steps = places.take(10_000).take_while(|place| onward.to(Some(*place)).is_ok()).count();
            assert!(steps <= 4 * (before + round) as usize + 4, "{before}, {round}: {steps}");
        }
        let mut onward = Onward::new();
        assert!((0..10_000).all(|place| onward.to(Some(place)).is_ok()) && onward.to(None).is_ok());
        assert_eq!(onward.at(), Some(&9999));
    }
}
