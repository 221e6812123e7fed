//! Replays what fuzzing has found worth keeping, and odd texts beside it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a failed step is a failed test")]

use std::fs;
use std::path::Path;

use milescale_fuzzed::TARGETS;

#[test]
fn every_text_of_the_corpus_is_read_without_a_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in TARGETS {
        let folder = corpus.join(name);
        let mut count = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let text = fs::read(&path).unwrap();
            println!("{}", path.display());
            target(&text);
            count += 1;
        }
        assert!(count > 0, "{name} has a corpus");
        println!("{name}: {count} texts");
    }
}

#[test]
fn each_target_takes_what_no_one_expects() {
    let odd: [&[u8]; 8] = [
        b"",
        b"\0",
        b"\xff\xfe",
        b"{a: {a: {a: ",
        b"[[[[[[",
        b"SQLite format 3\0",
        b"DIRC\0\0\0\x02\xff\xff\xff\xff",
        b"\x00{}",
    ];
    for (_, target) in TARGETS {
        for text in odd {
            target(text);
        }
    }
}
