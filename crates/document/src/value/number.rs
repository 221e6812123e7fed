//! Numbers, exact: neither 64 bits nor binary fractions bound what a plan may say.

use std::fmt;

/// The most places before the point, and after it. Every binary fraction of 64 bits lies within; so do files, SQLite and
/// PostgreSQL, which spells a number out.
const PLACES: i64 = 400;

/// The most characters of a number: more than it has when it is spelled out.
const LENGTH: usize = 1000;

/// A spelling of so few characters and without an exponent has no more places than [`PLACES`].
const FEW: usize = 400;

/// A number in the spelling of JSON. Equal to every other spelling of the same number.
#[derive(Debug, Clone)]
pub struct Number(Box<str>);

impl Number {
    /// A number of JSON as it is written; `None` for another text and beyond what every store keeps.
    pub fn from_json(text: &str) -> Option<Self> {
        (Self::is_spelled(text) && Self::is_kept(text)).then(|| Self(text.into()))
    }

    /// Whether a text is a number as JSON spells it, however large.
    pub fn is_spelled(text: &str) -> bool {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let Some(mut rest) = after_digits(unsigned) else { return false };
        if unsigned.starts_with('0') && unsigned.len() - rest.len() > 1 {
            return false;
        }
        if let Some(fraction) = rest.strip_prefix('.') {
            let Some(after) = after_digits(fraction) else { return false };
            rest = after;
        }
        match rest.strip_prefix(['e', 'E']) {
            Some(exponent) => after_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)) == Some(""),
            None => rest.is_empty(),
        }
    }

    /// Whether every store keeps a number of this spelling exactly.
    pub fn is_kept(spelling: &str) -> bool {
        if spelling.len() <= FEW && !spelling.contains(['e', 'E']) {
            return true;
        }
        let Some((_, digits, exponent)) = parts(spelling) else { return false };
        let leading = i64::try_from(digits.len()).unwrap_or(i64::MAX).saturating_add(exponent);
        spelling.len() <= LENGTH && leading <= PLACES && exponent >= -PLACES
    }

    /// The text, as JSON writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A whole number that is spelled with an exponent, without it.
    pub fn spelled_out(&self) -> Option<String> {
        if !self.0.contains(['e', 'E']) {
            return None;
        }
        let (negative, digits, exponent) = parts(&self.0)?;
        let zeros = usize::try_from(exponent).ok()?;
        Some(format!("{}{digits}{}", if negative { "-" } else { "" }, "0".repeat(zeros)))
    }

    /// One text for all spellings of the same number.
    pub(super) fn normal(&self) -> String {
        match parts(&self.0) {
            Some((negative, digits, exponent)) => format!("{}{digits}e{exponent}", if negative { "-" } else { "" }),
            None => self.0.to_string(),
        }
    }
}

/// What follows the digits that a text begins with; `None` where it begins with none.
fn after_digits(text: &str) -> Option<&str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| &text[digits..])
}

/// Sign, digits without zeros at either end, and the power of ten that they count; zero has no sign and no digits.
fn parts(spelling: &str) -> Option<(bool, String, i64)> {
    let (negative, rest) = spelling.strip_prefix('-').map_or((false, spelling), |rest| (true, rest));
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?.into()),
        None => (rest, 0_i64),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let kept = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - kept.len()).ok()?;
    let exponent = exponent - i64::try_from(fraction.len()).ok()? + dropped;
    let kept = kept.trim_start_matches('0');
    Some(if kept.is_empty() { (false, String::new(), 0) } else { (negative, kept.to_owned(), exponent) })
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || parts(&self.0) == parts(&other.0)
    }
}

impl Eq for Number {}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
