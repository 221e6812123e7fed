//! Numbers, exact: neither 64 bits nor binary fractions bound what a plan may say.

use std::fmt;

/// The most places before the point, and after it. Every binary fraction of 64 bits lies within; so do files, SQLite and
/// PostgreSQL, which spells a number out.
const PLACES: i64 = 400;

/// The most characters of a number: more than it has when it is spelled out.
const LENGTH: usize = 1000;

/// A number in the spelling of JSON. Equal to every other spelling of the same number.
#[derive(Debug, Clone)]
pub struct Number(Box<str>);

impl Number {
    /// A number of JSON as it is written; `None` for another text and beyond what every store keeps.
    pub fn from_json(text: &str) -> Option<Self> {
        let number = Self(text.into());
        let rest = text.strip_prefix('-').unwrap_or(text);
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let leading_zero = whole > 1 && rest.starts_with('0');
        let mut rest = &rest[whole..];
        if whole == 0 || leading_zero {
            return None;
        }
        if rest.is_empty() && i64::try_from(whole).is_ok_and(|places| places <= PLACES) {
            return Some(number);
        }
        if let Some(fraction) = rest.strip_prefix('.') {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            rest = &fraction[digits..];
            if digits == 0 {
                return None;
            }
        }
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
        } else if !rest.is_empty() {
            return None;
        }
        let (_, digits, exponent) = number.parts()?;
        let leading = i64::try_from(digits.len()).ok()? + exponent;
        let within = text.len() <= LENGTH && leading <= PLACES && exponent >= -PLACES;
        within.then_some(number)
    }

    /// A plain scalar of YAML 1.2 as a number, in the spelling of JSON; `None` where it is no number there, or one that
    /// JSON cannot write.
    pub fn from_yaml(text: &str) -> Option<Self> {
        if let Some(digits) = text.strip_prefix("0x") {
            return u128::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')).map(Self::from_whole);
        }
        if let Some(digits) = text.strip_prefix("0o") {
            return u128::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with('+')).map(Self::from_whole);
        }
        let (sign, rest) = match text.as_bytes().first()? {
            b'-' => ("-", &text[1..]),
            b'+' => ("", &text[1..]),
            _ => ("", text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(a, b)| (a, Some(b)));
        if whole.is_empty() && fraction.is_none_or(str::is_empty) {
            return None;
        }
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            rest => rest,
        };
        let mut json = format!("{sign}{whole}");
        if let Some(fraction) = fraction {
            json.push('.');
            json.push_str(if fraction.is_empty() { "0" } else { fraction });
        }
        if let Some(exponent) = exponent {
            json.push('e');
            json.push_str(exponent);
        }
        Self::from_json(&json)
    }

    /// A whole number.
    pub fn from_whole(number: u128) -> Self {
        Self(number.to_string().into())
    }

    /// The text, as JSON writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One text for all spellings of the same number.
    pub(super) fn normal(&self) -> String {
        match self.parts() {
            Some((negative, digits, exponent)) => format!("{}{digits}e{exponent}", if negative { "-" } else { "" }),
            None => self.0.to_string(),
        }
    }

    /// Sign, digits without zeros at either end, and the power of ten that they count; zero has no sign and no digits.
    fn parts(&self) -> Option<(bool, String, i64)> {
        let (negative, rest) = self.0.strip_prefix('-').map_or((false, &*self.0), |rest| (true, rest));
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
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.parts() == other.parts()
    }
}

impl Eq for Number {}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
