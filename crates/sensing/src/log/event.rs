//! One line of the log: which of its fields matter, in every shape that adapters give them (contract §4).

use std::borrow::Cow;
use std::fmt;

use milescale_document::timestamp;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Characters that are kept of a stamp that cannot be read.
const SHOWN: usize = 40;

/// The operations that figures are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
    Query,
}

/// What a line says; what it does not say is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Event {
    /// Seconds since 1970, cut to the second.
    pub(super) second: Option<i64>,
    /// Why there is no second: a stamp that cannot be read, as it is written; empty where there is none.
    pub(super) no_stamp: Option<Box<str>>,
    pub(super) user: Option<Box<str>>,
    pub(super) operation: Option<Operation>,
    /// 0 where it is missing.
    pub(super) duration_ms: f64,
}

impl Event {
    /// Reads a line; `None` where it is not a whole JSON object.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let fields: Fields<'_> = serde_json::from_slice(line).ok()?;
        let Fields { timestamp, user, operation, details } = fields;
        let (inner_user, inner_operation) = (details.user, details.operation);
        let text = |scalar: Scalar<'_>| match scalar {
            Scalar::Text(text) if !text.is_empty() => Some(text.into_owned()),
            _ => None,
        };
        let operation = text(inner_operation).or_else(|| text(operation));
        let instant = timestamp::from_text(timestamp.text());
        Some(Self {
            second: instant.map(|instant| timestamp::cut_to_second(instant).as_second()),
            no_stamp: instant.is_none().then(|| timestamp.shown().into()),
            user: text(user).or_else(|| text(inner_user)).map(Into::into),
            operation: match operation.as_deref() {
                Some("read") => Some(Operation::Read),
                Some("write") => Some(Operation::Write),
                Some("query") => Some(Operation::Query),
                _ => None,
            },
            duration_ms: details.duration.number(),
        })
    }
}

/// A value of which only texts and numbers matter.
#[derive(Debug, Default)]
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    #[default]
    Other,
}

impl Scalar<'_> {
    /// The text that a key is: one of `Cow` would be copied.
    fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// What is written there, for a person; cut where it is long.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.chars().take(SHOWN).collect(),
            Self::Number(number) => number.to_string(),
            Self::Other => String::new(),
        }
    }

    fn number(&self) -> f64 {
        let number = match self {
            Self::Number(number) => *number,
            // Only what is a number in JSON: Rust would also take "inf" and "nan".
            Self::Text(text) => serde_json::from_str(text.trim()).unwrap_or_default(),
            Self::Other => 0.0,
        };
        if number.is_finite() { number } else { 0.0 }
    }
}

#[derive(Debug, Default)]
struct Details<'a> {
    user: Scalar<'a>,
    operation: Scalar<'a>,
    duration: Scalar<'a>,
}

#[derive(Debug, Default)]
struct Fields<'a> {
    timestamp: Scalar<'a>,
    user: Scalar<'a>,
    operation: Scalar<'a>,
    details: Details<'a>,
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }

    #[allow(clippy::cast_precision_loss, reason = "milliseconds beyond 2^53 mean nothing")]
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    #[allow(clippy::cast_precision_loss, reason = "milliseconds beyond 2^53 mean nothing")]
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// The root: an object, or the line is none of ours. A key that stands twice: the last one counts, as for `jq`.
impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some(key) = entries.next_key::<Scalar<'de>>()? {
                    match key.text() {
                        "timestamp" => fields.timestamp = entries.next_value()?,
                        "user" => fields.user = entries.next_value()?,
                        "operation" => fields.operation = entries.next_value()?,
                        "details" => fields.details = entries.next_value()?,
                        _ => drop(entries.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// The details: an object, or nothing that matters.
impl<'de> Deserialize<'de> for Details<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DetailsVisitor;
        impl<'de> Visitor<'de> for DetailsVisitor {
            type Value = Details<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut details = Details::default();
                while let Some(key) = entries.next_key::<Scalar<'de>>()? {
                    match key.text() {
                        "user" => details.user = entries.next_value()?,
                        "operation" => details.operation = entries.next_value()?,
                        "duration_ms" => details.duration = entries.next_value()?,
                        _ => drop(entries.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(details)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                ScalarVisitor.visit_seq(items).map(|_| Details::default())
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Details::default())
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Details::default())
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Details::default())
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Details::default())
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Details::default())
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Details::default())
            }
        }
        deserializer.deserialize_any(DetailsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Operation};

    fn parse(line: &str) -> Event {
        Event::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn reads_every_shape_of_a_line() {
        let line = r#"{"timestamp":"2026-10-09T11:00:02.250+02:00","user":"lin","operation":"read","details":{"duration_ms":8}}"#;
        let event = parse(line);
        assert_eq!(event.second, Some(1_791_536_402));
        assert_eq!(
            (event.user.as_deref(), event.operation, event.duration_ms),
            (Some("lin"), Some(Operation::Read), 8.0)
        );
        let event = parse(
            r#"{ "user" : "", "details" : { "user" : "ada", "operation":"query", "duration_ms":"12.5" }, "operation":"x" }"#,
        );
        assert_eq!(
            (event.user.as_deref(), event.operation, event.duration_ms),
            (Some("ada"), Some(Operation::Query), 12.5)
        );
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_nothing() {
        for line in [
            "{}",
            r#"{"user":5,"details":[1,{"a":2}],"timestamp":"yesterday","operation":null}"#,
            r#"{"details":null,"user":{"name":"x"}}"#,
            r#"{"details":{"duration_ms":"inf","operation":["read"]},"user":""}"#,
            r#"{"details":3.5,"timestamp":true}"#,
        ] {
            assert_eq!(Event { no_stamp: None, ..parse(line) }, Event::default(), "{line}");
        }
        assert_eq!(parse(r#"{"user":"a","user":"b"}"#).user.as_deref(), Some("b"));
    }

    #[test]
    fn a_stamp_that_cannot_be_read_is_kept_for_people() {
        for (line, shown) in [
            ("{}", ""),
            (r#"{"timestamp":"yesterday"}"#, "yesterday"),
            (r#"{"timestamp":1795838706123}"#, "1795838706123"),
            (r#"{"timestamp":null}"#, ""),
        ] {
            assert_eq!(parse(line).no_stamp.as_deref(), Some(shown), "{line}");
        }
        assert_eq!(parse(r#"{"timestamp":"2026-11-28 04:05:06"}"#).no_stamp, None);
    }

    #[test]
    fn what_is_no_whole_object_is_no_line() {
        for line in ["", "{", "[]", "5", "{}{}", "{\"a\":}", "{\"user\":\"ada\",\"det", "null"] {
            assert_eq!(Event::parse(line.as_bytes()), None, "{line}");
        }
    }
}
