//! The plain reader held against the full parser: over texts put together at random, and over mutated ones.

use crate::gathered::Gathered;

use super::{gather, read};
use crate::yaml::build;

/// Texts of each kind. `MILESCALE_CASES` asks for more (`docs/ARCHITECTURE.md`).
fn cases() -> u64 {
    std::env::var("MILESCALE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(30_000)
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// One of the first `plain` ones, mostly.
    fn mostly<'a>(&mut self, plain: usize, of: &[&'a str]) -> &'a str {
        if self.one_in(8) { self.pick(of) } else { self.pick(&of[..plain]) }
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Whether the reader read it; it must not differ.
fn agrees(text: &str) -> bool {
    let (gathered, Some(plain)) = (gather(text), read(text)) else {
        assert_eq!(gather(text), None, "of {text:?}");
        return false;
    };
    match build(text) {
        Ok(full) => {
            let first = plain.nodes().iter().zip(full.nodes()).find(|(plain, full)| plain != full);
            assert!(plain == full, "{text:?}\nplain and full: {first:?}");
            assert_eq!(gathered, Some(Gathered::of(full.tree())), "of {text:?}");
        }
        Err(flaw) => panic!("the plain reader takes what the full parser refuses: {flaw}, in {text:?}"),
    }
    true
}

const KEYS: &[&str] = &[
    "id",
    "title",
    "tasks",
    "dependencies",
    "requires",
    "a",
    "b",
    "kiro_workflow",
    "enabled",
    "\"q\"",
    "'s'",
    "x y",
    "ü",
    "1",
    "a#b",
    "a:b",
    "-x",
    "~",
    "null",
    "<<",
    "? a",
    "k-",
    "\"a\\nb\"",
    "a ",
    "[a]",
    "=",
    "true",
];

const SCALARS: &[&str] = &[
    "a",
    "true",
    "12",
    "-5",
    "1.5e3",
    "~",
    "null",
    "\"\"",
    "''",
    "\"a b\"",
    "'it''s'",
    "\"say \\\"x\\\"\"",
    "http://x/y",
    "[a, b]",
    "{a: 1, b: [x, 'y']}",
    "2026-10-01T00:00:00Z",
    "- 5",
    "\"\\u00e9\"",
    "a # comment",
    "a#b",
    "a: b",
    "a:b",
    "http://x/y",
    "2026-10-01T00:00:00Z",
    "12:30",
    "é – ü",
    "*a",
    "&a b",
    "!!str x",
    "|",
    "|-",
    ">",
    "[a, b]",
    "[]",
    "{}",
    "{a: 1, b: [x, 'y']}",
    "{ a: 1 }",
    "[a,b]",
    "[ a , b ]",
    "[a, ]",
    "{a}",
    "{a:}",
    "{a: }",
    "[a: b]",
    "{\"a\":1}",
    "{\"a\": 1}",
    "[\"a\",'b']",
    "@x",
    "`x`",
    "%x",
    "\"open",
    "'open",
    "x]",
    "x}",
    "a, b",
    "{a: b#c}",
    "[a #b]",
    "",
    " ",
    "a  ",
    "\"a\" ",
    "\"a\"x",
    "\"a\" # c",
    "---",
    "...",
    "?",
    ":",
    "-",
    "? x",
    ": x",
    "a\u{a0}b",
    "\u{2028}",
    "[[a], {b: {c: d}}]",
    "{a: 1, a: 2}",
    "yes",
    "'a\\b'",
    "\"a\\\\b\"",
    "[-1, -]",
    "a - b",
    "a | b",
    "|x",
    "#x",
    "\t",
    "a\tb",
    "-a",
    "--",
    "--- a",
    "<<",
    "=",
];

/// A value with what hangs below it.
fn value(random: &mut Random, text: &mut String, indent: usize, depth: usize) {
    let step = [1, 2, 2, 2, 4][random.below(5)];
    match random.below(if depth > 3 { 4 } else { 9 }) {
        0..=3 => {
            *text += random.mostly(1, &[" ", "  ", ""]);
            *text += random.mostly(16, SCALARS);
            text.push('\n');
        }
        4 | 5 => {
            *text += random.mostly(1, &["\n", " \n", " # why\n", "\n\n", "\n# left\n"]);
            mapping(random, text, indent + step, depth + 1);
        }
        6 | 7 => {
            *text += random.pick(&["\n", "\n", " # why\n"]);
            let indent = if random.one_in(3) { indent } else { indent + step };
            list(random, text, indent, depth + 1);
        }
        _ => {
            *text += random.mostly(2, &[" |\n", " |-\n", " |+\n", " |2\n", " >\n", " | # c\n", " |\n\n"]);
            for _ in 0..random.below(4) {
                let deep = [step, step, step, step + 1, 0][random.below(5)];
                let line = random.pick(&["text", "a: b", "- x", "# no comment", "", "  ", "---", "\"", "ü", " a"]);
                let line = if line.is_empty() { String::new() } else { " ".repeat(indent + deep) + line };
                *text += &line;
                text.push('\n');
            }
        }
    }
}

fn noise(random: &mut Random, text: &mut String, indent: usize) {
    if random.one_in(12) {
        *text += random
            .pick(&["\n", "# c\n", "   # c\n", "  \n", "\t\n", "---\n", "...\n", "x\n", "  x\n", "\u{feff}", "\r\n"]);
    }
    let extra = if random.one_in(25) { random.below(3) } else { 0 };
    *text += &" ".repeat(indent + extra);
}

fn mapping(random: &mut Random, text: &mut String, indent: usize, depth: usize) {
    for number in 0..=random.below(3) {
        noise(random, text, indent);
        *text += random.mostly(14, KEYS);
        if !random.one_in(3) {
            *text += &number.to_string();
        }
        text.push(':');
        value(random, text, indent, depth);
    }
}

fn list(random: &mut Random, text: &mut String, indent: usize, depth: usize) {
    for _ in 0..=random.below(3) {
        noise(random, text, indent);
        text.push('-');
        if random.one_in(2) {
            *text += random.pick(&[" ", " ", "   "]);
            let column = text.len() - text.rfind('\n').map_or(0, |at| at + 1);
            *text += random.mostly(14, KEYS);
            text.push(':');
            value(random, text, column, depth);
            if random.one_in(2) {
                mapping(random, text, column, depth + 1);
            }
        } else {
            value(random, text, indent, depth);
        }
    }
}

#[test]
fn texts_put_together_at_random_are_read_as_the_full_parser_reads_them_or_not_at_all() {
    let (mut random, mut read) = (Random(0x5eed), 0);
    for _ in 0..cases() {
        let mut text = String::new();
        mapping(&mut random, &mut text, 0, 0);
        if random.one_in(10) {
            text.pop();
        }
        read += u64::from(agrees(&text));
    }
    println!("{read} of {} read", cases());
    assert!(read > cases() / 10, "{read}: nearly everything is left to the full parser");
}

#[test]
fn mutated_milestones_are_read_as_the_full_parser_reads_them_or_not_at_all() {
    let samples = [include_str!("samples/by-hand.yaml"), include_str!("samples/by-agent.yaml")];
    let pieces = [
        " ", "\n", "\n  ", "- ", ": ", ":", "#", " #", "\"", "'", "[", "]", "{", "}", ",", "|", ">", "&a ", "*a",
        "!t ", "\t", "\r\n", "---\n", "\\", "ü", "?", "%", "~", "0",
    ];
    let (mut random, mut read) = (Random(0xfeed), 0);
    for _ in 0..cases() {
        let mut text = random.pick(&samples).to_owned();
        for _ in 0..=random.below(3) {
            let mut places = [random.below(text.len()), random.below(text.len())].map(|mut at| {
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            });
            places.sort_unstable();
            match random.below(5) {
                0 => text.insert_str(places[0], random.pick(&pieces)),
                1 => drop(text.remove(places[0])),
                2 => text.truncate(places[1].max(8)),
                3 => {
                    let lines: Vec<&str> = text.split_inclusive('\n').collect();
                    let (one, other) = (random.below(lines.len()), random.below(lines.len()));
                    let mut lines = lines;
                    lines.swap(one, other);
                    text = lines.concat();
                }
                _ => {
                    let piece = text[places[0]..places[1]].chars().take(30).collect::<String>();
                    text.insert_str(places[1], &piece);
                }
            }
        }
        read += u64::from(agrees(&text));
    }
    println!("{read} of {} read", cases());
    assert!(read > cases() / 10, "{read}: nearly everything is left to the full parser");
}

#[test]
fn milestones_as_people_and_programs_write_them_are_read() {
    for text in [include_str!("samples/by-hand.yaml"), include_str!("samples/by-agent.yaml")] {
        assert!(agrees(text));
    }
}
