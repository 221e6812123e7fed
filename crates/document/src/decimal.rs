//! Exact decimal numbers, for comparisons that must not depend on binary fractions (contract §4, `performance_trend`).

/// Digits after the point that are kept; what is smaller than a billionth of a millisecond is cut off.
const SCALE: u32 = 9;

/// A decimal number with nine digits after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Decimal(i128);

impl Decimal {
    /// A whole number.
    pub const fn whole(number: i64) -> Self {
        Self(number as i128 * 10_i128.pow(SCALE))
    }

    /// Reads a JSON number's own text (`3`, `-3.60`, `1.2e3`); `None` for what is none or lies beyond ±10^24.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Places to move the digits' point by, so that the number becomes a count of 10^-SCALE.
        let shift =
            exponent.checked_add(i32::try_from(SCALE).ok()?)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let digits: String = [whole, fraction].concat();
        let digits = digits.trim_start_matches('0');
        let places = i32::try_from(digits.len()).ok()?.checked_add(shift)?;
        if digits.is_empty() || places <= 0 {
            return Some(Self(0));
        }
        if places > 33 {
            return None;
        }
        let kept = usize::try_from(places).ok()?.min(digits.len());
        let value: i128 = digits[..kept].parse().ok()?;
        let value = value.checked_mul(10_i128.checked_pow(u32::try_from(shift.max(0)).ok()?)?)?;
        Some(Self(if negative { -value } else { value }))
    }

    /// The sum, saturating.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The product with a small whole number, saturating.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        Self(self.0.saturating_mul(i128::from(factor)))
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn reads_every_spelling_of_a_json_number() {
        assert_eq!(Decimal::parse("3"), Some(Decimal::whole(3)));
        assert_eq!(Decimal::parse("3.000"), Some(Decimal::whole(3)));
        assert_eq!(Decimal::parse("-12e2"), Some(Decimal::whole(-1200)));
        assert_eq!(Decimal::parse("1500e-2"), Some(Decimal::whole(15)));
        assert_eq!(Decimal::parse("0.0"), Some(Decimal::whole(0)));
        assert_eq!(Decimal::parse("1e-400"), Some(Decimal::whole(0)));
        assert_eq!(Decimal::parse("1e400"), None);
        assert_eq!(Decimal::parse("abc"), None);
        assert_eq!(Decimal::parse(""), None);
    }

    #[test]
    fn three_times_one_point_two_is_three_point_six() {
        let (a, b) = (Decimal::parse("3").unwrap(), Decimal::parse("3.6").unwrap());
        assert_eq!(a.times(12), b.times(10));
    }
}
