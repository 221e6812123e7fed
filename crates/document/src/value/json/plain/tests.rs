//! The plain reader held against the full one, over texts put together at random, and over mutated ones.

use super::read;
use crate::value::Value;
use crate::value::json::full;

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len())]
    }
}

const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "12",
    "-5",
    "1.50e3",
    "18446744073709551617",
    "\"\"",
    "\"a\"",
    "\"ü – 😀\"",
    "\"say \\\"x\\\"\\n\\t\\/\\\\\"",
    "\"\\u00e9\\u4e2d\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\\u0000\"",
    "\"\\u12\"",
    "\"\\x\"",
    "\"\u{7f}\"",
    "\"\u{1f}\"",
    "\"a\nb\"",
    "01",
    "1.",
    ".5",
    "1e999",
    "+1",
    "NaN",
    "nul",
    "tru",
    "'a'",
    "",
];

const KEYS: &[&str] = &["\"a\"", "\"b\"", "\"id\"", "\"status\"", "\"\\u0061\"", "\"\"", "a", "1"];
const SPACES: &[&str] = &["", "", "", " ", "\n  ", "\t", "\r\n", "\u{a0}", "/**/"];

/// A text of JSON, mostly.
fn value(random: &mut Random, depth: usize, out: &mut String) {
    // The first ones are what is mostly written.
    let plain = if random.below(6) > 0 { 14 } else { SCALARS.len() };
    match if depth > 4 { 9 } else { random.below(10) } {
        kind @ 0..=3 => {
            let (open, close) = if kind < 2 { ('{', '}') } else { ('[', ']') };
            out.push(open);
            for number in 0..random.below(5) {
                out.push_str(if number > 0 { "," } else { "" });
                let plain = if random.below(6) > 0 { 3 } else { SPACES.len() };
                out.push_str(random.pick(&SPACES[..plain]));
                if kind < 2 {
                    let plain = if random.below(6) > 0 { 4 } else { KEYS.len() };
                    out.push_str(random.pick(&KEYS[..plain]));
                    out.push(':');
                }
                value(random, depth + 1, out);
            }
            out.push_str(random.pick(SPACES));
            out.push(close);
        }
        _ => out.push_str(random.pick(&SCALARS[..plain])),
    }
}

fn mutated(random: &mut Random, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(2) {
        let at = random.below(bytes.len() + 1);
        let byte = b"{}[],:\"\\ -019eEtfnu\n"[random.below(20)];
        match random.below(3) {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the reader read it; it must not differ, neither in an order nor in the spelling of a number.
fn agrees(text: &str) -> bool {
    let Some(plain) = read(text) else { return false };
    match full(text) {
        Ok(full) => assert_eq!(format!("{plain:?}"), format!("{full:?}"), "of {text:?}"),
        Err(flaw) => panic!("the plain reader takes what the full one refuses: {flaw}, in {text:?}"),
    }
    true
}

#[test]
fn what_it_reads_is_what_the_full_reader_reads() {
    let cases = std::env::var("MILESCALE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(30_000);
    let (mut random, mut taken, mut of_mutated) = (Random(88_172_645_463_325_252), 0_u32, 0_u32);
    for _ in 0..cases {
        let mut text = String::new();
        value(&mut random, 0, &mut text);
        taken += u32::from(agrees(&text));
        let other = mutated(&mut random, &text);
        of_mutated += u32::from(agrees(&other));
    }
    assert!(taken > cases / 4 && of_mutated > cases / 20, "{taken} and {of_mutated} of {cases}");
}

#[test]
fn depth_and_double_keys_are_left_to_the_full_reader() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [1, 99, 100] {
        assert!(agrees(&nested(depth)), "{depth}");
    }
    let deep = nested(101);
    assert!(read(&deep).is_none() && full(&deep).is_err());
    let many: Vec<String> = (0..40).map(|number| format!("\"k{number}\":{number}")).collect();
    assert!(agrees(&format!("{{{}}}", many.join(","))));
    for text in [format!("{{{},\"k3\":0}}", many.join(",")), "{\"a\":1,\"\\u0061\":2}".to_owned()] {
        assert!(read(&text).is_none() && full(&text).is_err(), "{text}");
    }
}

#[test]
fn what_programs_write_is_plain() {
    let value = Value::Mapping(vec![
        ("id".to_owned(), Value::Text("a \"b\"\n\u{1}ü😀".to_owned())),
        ("tasks".to_owned(), Value::List(vec![Value::Null, Value::Flag(true)])),
    ]);
    assert!(agrees(&value.to_json()));
    assert!(agrees("{\"id\": \"a\", \"name\": \"\\u00e9\", \"tasks\": [{\"hours\": 1.5}]}\n"));
}

/// Every text of up to five of the characters that numbers are made of.
#[test]
fn numbers_are_read_as_the_full_reader_reads_them() {
    let letters = b"019-+.eE ";
    for length in 1..=5_u32 {
        for mut number in 0..letters.len().pow(length) {
            let mut text = String::new();
            for _ in 0..length {
                text.push(char::from(letters[number % letters.len()]));
                number /= letters.len();
            }
            // What the plain reader leaves out is refused, not read otherwise.
            assert_eq!(read(&text).map(|it| it.to_json()), full(&text).ok().map(|it| it.to_json()), "{text:?}");
        }
    }
}
