//! Plain scalars by exhaustion: every one of up to four characters that matter, and every neighbour of what YAML 1.1 and 1.2
//! take for more than a text, through both readers and the writer, against a table of its own; and what is written, read by
//! `PyYAML`.
//!
//! A run takes a part of the longer ones, another one for each commit. All of them:
//! `MILESCALE_CASES=3000000 cargo test --release -p milescale-storage --lib yaml::tests::exhaustion`.

use std::collections::BTreeSet;
use std::process::Command;

use crate::gathered::Gathered;
use crate::scalar::{Meaning, meaning};
use crate::value::{Number, Value};

use crate::yaml::{build, gather, plain, write};

/// The characters that matter, forty of them.
const LETTERS: &str = "01379+-._:~# xXbtruefalsynoiTRUEFALSYNOI";

/// What some reader of YAML takes for more than a text.
const MORE_THAN_TEXTS: &[&str] = &[
    "0",
    "-7",
    "+12",
    "1_000",
    "0b1010",
    "0b1_0",
    "0o17",
    "017",
    "0x1F",
    "-0xff",
    "190:20:30",
    "1:30",
    "190:20:30.15",
    "1.5",
    ".5",
    "5.",
    "-.5",
    "6.02e23",
    "1e3",
    "1E-3",
    "1.0e+3",
    "685_230.15",
    ".inf",
    "-.Inf",
    "+.INF",
    ".nan",
    ".NaN",
    "true",
    "False",
    "YES",
    "no",
    "On",
    "off",
    "y",
    "N",
    "null",
    "Null",
    "~",
    "<<",
    "=",
    "2026-11-28",
    "2026-11-28T09:30:00Z",
    "2026-11-28 9:30:00.5 -5",
    "1e400",
    "-0",
    "00",
    "0.0",
];

/// What a scalar should be.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    Null,
    Flag(bool),
    Number,
    Text,
    /// No store keeps it.
    Nothing,
}

/// The table: what contract §2 says of a plain scalar.
fn table(text: &str) -> Expected {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Expected::Null,
        "true" | "True" | "TRUE" => Expected::Flag(true),
        "false" | "False" | "FALSE" => Expected::Flag(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN"
        | ".NAN" => Expected::Nothing,
        _ => match json_number(text) {
            Some((first, last)) if first >= 400 || last < -400 => Expected::Nothing,
            Some(_) => Expected::Number,
            None => Expected::Text,
        },
    }
}

/// Of a number of JSON, the powers of ten of its first and its last digit that is not zero.
fn json_number(text: &str) -> Option<(i64, i64)> {
    let is_digits = |text: &str| !text.is_empty() && text.chars().all(|it| it.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let has_one_spelling = whole == "0" || !whole.starts_with('0');
    if !(is_digits(whole) && has_one_spelling && is_digits(fraction) && is_digits(digits)) {
        return None;
    }
    let place = |at: usize| i64::try_from(at).unwrap();
    let power = |at: usize| exponent.parse::<i64>().unwrap() + place(whole.len()) - 1 - place(at);
    let digits = format!("{whole}{fraction}");
    let ends = digits.find(|it| it != '0').zip(digits.rfind(|it| it != '0'));
    Some(ends.map_or((0, 0), |(first, last)| (power(first), power(last))))
}

/// The scalar that characters after `k: ` are; `None` where they are a mapping, a list or a mistake.
fn scalar_of(characters: &str) -> Option<&str> {
    let comment = characters.match_indices('#').find(|(at, _)| *at == 0 || characters[..*at].ends_with(' '));
    let scalar = characters[..comment.map_or(characters.len(), |(at, _)| at)].trim_matches(' ');
    let is_other = scalar.contains(": ")
        || scalar.ends_with(':')
        || scalar == "-"
        || scalar.starts_with("- ")
        || scalar.starts_with(',');
    (!is_other).then_some(scalar)
}

/// How many of many are left out for each that is taken, and the first: another one for each commit.
fn stride(of: u64) -> (usize, usize) {
    let cases = std::env::var("MILESCALE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(8_000_u64);
    let step = usize::try_from(of.div_ceil(cases)).unwrap();
    let first = milescale_testkit::seed_of_commit() % step;
    println!("every {step}th, from the {first}th");
    (step, first)
}

/// Those of this length in the order of their letters.
fn of_length(length: u32, (step, first): (usize, usize)) -> impl Iterator<Item = String> {
    let count = LETTERS.len();
    (first..count.pow(length)).step_by(step).map(move |mut number| {
        let mut text = String::new();
        for _ in 0..length {
            text.push(char::from(LETTERS.as_bytes()[number % count]));
            number /= count;
        }
        text
    })
}

/// What is one edit away from something that is more than a text.
fn neighbours() -> BTreeSet<String> {
    let letters: Vec<String> = LETTERS.chars().chain("<=TZ258cdEN,".chars()).map(String::from).collect();
    let mut found = BTreeSet::new();
    for text in MORE_THAN_TEXTS {
        found.insert((*text).to_owned());
        for at in 0..=text.len() {
            let (before, after) = text.split_at(at);
            found.extend(letters.iter().map(|letter| format!("{before}{letter}{after}")));
            if let Some(rest) = after.get(1..) {
                found.extend(letters.iter().map(|letter| format!("{before}{letter}{rest}")));
                found.insert(format!("{before}{rest}"));
            }
        }
    }
    found
}

fn is_like(value: &Value, expected: &Expected, text: &str) -> bool {
    match (value, expected) {
        (Value::Null, Expected::Null) => true,
        (Value::Flag(is), Expected::Flag(expected)) => is == expected,
        (Value::Number(number), Expected::Number) => number.as_str() == text,
        (Value::Text(is), Expected::Text) => is == text,
        _ => false,
    }
}

/// Both readers of a document, which must not differ: its value.
fn read(document: &str) -> Option<Value> {
    let full = build(document).ok().filter(|document| document.unkept().is_none());
    if let Some(plain) = plain::read(document) {
        assert_eq!(Some(&plain), full.as_ref(), "{document:?}");
    }
    let gathered = gather(document.as_bytes()).ok();
    assert_eq!(gathered, full.as_ref().map(|full| Gathered::of(full.tree())), "{document:?}");
    full.map(|document| Value::of(&document).unwrap())
}

/// One scalar in each place where it can be: after a key, in lists, as a key.
fn check(characters: &str) {
    let here = format!("{characters:?}");
    let (after_key, item) = (format!("k: {characters}\n"), format!("k:\n  - {characters}\n"));
    let (in_flow, key) = (format!("k: [{characters}]\n"), format!("{characters}: v\n"));
    let found = [&after_key, &item, &in_flow, &key].map(|document| read(document));
    let Some(scalar) = scalar_of(characters) else { return };
    let expected = table(scalar);
    let [after_key, item, in_flow, key] = found;
    let value = after_key.as_ref().and_then(|root| root.get("k"));
    match &expected {
        Expected::Nothing => assert!(after_key.is_none() && item.is_none(), "{here}"),
        expected => {
            assert!(value.is_some_and(|value| is_like(value, expected, scalar)), "{here}: {value:?}");
            assert_eq!(
                item.as_ref().and_then(|root| root.get("k")),
                value.map(|it| Value::List(vec![it.clone()])).as_ref(),
                "{here}"
            );
        }
    }
    if !scalar.is_empty() && scalar == characters.trim_matches(' ') && !scalar.contains([',', ':', '#']) {
        let list = value.map(|value| Value::List(vec![value.clone()]));
        assert_eq!(in_flow.as_ref().and_then(|root| root.get("k")), list.as_ref(), "{here} in flow");
    }
    if !scalar.is_empty() && scalar == characters {
        let is_key = expected == Expected::Text && scalar != "<<";
        assert_eq!(key.as_ref().and_then(|root| root.get(scalar)).is_some(), is_key, "{here} as a key");
    }
    let as_json = Value::from_json(characters).is_ok_and(|value| matches!(value, Value::Number(_)));
    assert_eq!(as_json, scalar == characters.trim_matches(' ') && expected == Expected::Number, "{here} in JSON");
    for value in [value.cloned(), Some(Value::Text(characters.to_owned()))].into_iter().flatten() {
        let value = Value::Mapping(vec![("k".to_owned(), value)]);
        assert_eq!(read(&write::write(&value)).as_ref(), Some(&value), "{here} written");
        assert_eq!(Value::from_json(&value.to_json()).as_ref(), Ok(&value), "{here} in JSON");
    }
}

#[test]
fn the_meaning_of_every_scalar_is_that_of_the_table() {
    for text in (0..=4).flat_map(|length| of_length(length, (1, 0))).chain(neighbours()) {
        let is_as_expected = match meaning(&text) {
            Meaning::Null => Expected::Null,
            Meaning::Flag(flag) => Expected::Flag(flag),
            Meaning::Number => Expected::Number,
            Meaning::TooLarge | Meaning::NotFinite => Expected::Nothing,
            Meaning::Text => Expected::Text,
        } == table(&text);
        assert!(is_as_expected, "{text:?}: {:?}", meaning(&text));
    }
}

#[test]
fn short_scalars_are_read_and_written_as_the_table_says() {
    for length in 0..=2 {
        of_length(length, (1, 0)).for_each(|text| check(&text));
    }
    for length in 3..=4 {
        of_length(length, stride(40_u64.pow(length))).for_each(|text| check(&text));
    }
}

#[test]
fn neighbours_of_what_is_more_than_a_text_are_read_and_written_as_the_table_says() {
    let neighbours = neighbours();
    let (step, first) = stride(neighbours.len() as u64);
    for text in MORE_THAN_TEXTS {
        check(text);
    }
    neighbours.iter().skip(first).step_by(step).for_each(|text| check(text));
}

/// Each number and each text, as it is written, has for `PyYAML` (YAML 1.1) the value and the type that it has in JSON.
#[test]
fn pyyaml_reads_what_is_written() {
    let neighbours = neighbours();
    let short =
        (0..=4).flat_map(|length| of_length(length, if length < 3 { (1, 0) } else { stride(40_u64.pow(length)) }));
    let mut values = Vec::new();
    for text in short.chain(neighbours) {
        values.extend(Number::from_json(&text).map(Value::Number));
        values.push(Value::Text(text));
    }
    let large = ["1e308", "-1e309", "1.5e399", "12345678901234567890", "1e-308", "0e0", "-0.0", "1E5", "1e05"];
    values.extend(large.map(|text| Value::from_json(text).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let (yaml, json) = (folder.path().join("a.yaml"), folder.path().join("a.json"));
    let count = values.len();
    let keys = values.iter().filter_map(|value| if let Value::Text(text) = value { Some(text) } else { None });
    let keys: Vec<_> = keys.collect::<BTreeSet<_>>().into_iter().map(|key| (key.clone(), Value::Null)).collect();
    let value = Value::List(vec![Value::List(values.clone()), Value::Mapping(keys)]);
    std::fs::write(&yaml, write::write(&value)).unwrap();
    std::fs::write(&json, value.to_json()).unwrap();
    let output = Command::new("python3").args(["-c", PYTHON]).args([&yaml, &json]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), count.to_string());
}

const PYTHON: &str = "
import json, sys, yaml
loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
found, keys = yaml.load(open(sys.argv[1], encoding='utf-8'), loader)
# JSON's large whole numbers with an exponent are exact, as milescale's are.
whole = lambda text: float(text) if abs(float(text)) < 1e308 else int(__import__('decimal').Decimal(text))
values, wanted = json.load(open(sys.argv[2], encoding='utf-8'), parse_float=whole)
assert len(found) == len(values), (len(found), len(values))
for one, other in zip(found, values):
    assert type(one) is type(other) and repr(one) == repr(other), (one, other)
assert list(keys) == list(wanted)
print(len(found))
";
