//! What every store does alike.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Barrier, Mutex};

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_core::figures::StoreFigures;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_document::value::Value;
use milescale_document::yaml;
use milescale_storage::archive::{Archive, Found};
use milescale_storage::outline::{Needle, Outline, Wanted};
use milescale_storage::store::{Seen, Store};
use milescale_workspace::error::Problem;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::any::{any_number, any_value};
use super::bench::{Bench, Kind, draft, figures, put};

const TEXT: &str = "# a note\nid: a\ntitle:   'Quoted'   # kept\nstatus: active\ncreated_at: 2026-11-22 09:30:00\n\
                    tasks:\n- {kiro_workflow: {enabled: true}}\ndependencies: {requires: [x, y]}\n";

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

pub(crate) fn what_is_put_is_shown_byte_for_byte(bench: &Bench) {
    put(&mut *bench.store(), "a", TEXT);
    let shown = bench.store().get(&id("a")).unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.text), TEXT);
    assert_eq!(shown.digest(), Digest::of(TEXT.as_bytes()));
    assert_eq!((shown.columns.title.as_str(), shown.columns.status.as_deref()), ("Quoted", Some("active")));
    assert_eq!(
        (shown.columns.priority.as_str(), shown.columns.created_at.as_deref()),
        ("medium", Some("2026-11-22T09:30:00Z"))
    );
    assert!(shown.updated_at.is_some());
}

/// A list says what a scan says. The ids.
pub(crate) fn listed_as_scanned(bench: &Bench, wanted: &Wanted) -> Vec<String> {
    let (mut store, mut scanned, mut listed) = (bench.store(), Vec::new(), Vec::new());
    let visit = &mut |milestone: Milestone| {
        if wanted.takes(&milestone) {
            scanned.push(Outline::of(milestone));
        }
        ControlFlow::Continue(())
    };
    store.scan(visit).unwrap();
    store.list(wanted, &mut |outline| listed.push(outline)).unwrap();
    assert_eq!(listed, scanned, "{wanted:?}");
    listed.into_iter().map(|outline| outline.id).collect()
}

pub(crate) fn lists_and_searches_say_what_a_scan_says(bench: &Bench) {
    let texts = [
        ("b", "id: b\ntitle: Second\nstatus: active\npriority: high\ncreated_at: 2026-11-01\n"),
        ("a", "id: a\nstatus: active\n"),
        ("c", "id: c\ntitle: 12\nstatus: archived\ntimeline: {estimated_start: 2026-11-02}\n"),
        ("d", "id: d\ntitle: [no, text]\npriority: medium\n"),
        ("e", "id: e\ntitle: 'with Needle'\nstatus: true\ntimeline: [1]\n"),
        ("f", "id: f\ntitle: ''\nstatus: ~\npriority: high\ntasks: [{note: 'a nEEdle here'}]\n"),
        ("g", "id: g\nnote: \"100%_ say \\\"so\\\" a/b\\\\c two\\nlines\"\n"),
        ("h", "id: h\ntitle: über 3 \u{212a}elvin\n"),
    ];
    for (id, text) in texts {
        put(&mut *bench.store(), id, text);
    }
    let text = |text: &str| Some(text.to_owned());
    for wanted in [
        Wanted::default(),
        Wanted { all: true, ..Wanted::default() },
        Wanted { status: text("active"), ..Wanted::default() },
        Wanted { status: text("archived"), ..Wanted::default() },
        Wanted { status: text("true"), ..Wanted::default() },
        Wanted { priority: text("medium"), ..Wanted::default() },
        Wanted { status: text("active"), priority: text("high"), all: false, text: None },
    ] {
        listed_as_scanned(bench, &wanted);
    }
    let ids = |needle: &str, all: bool| {
        let (wanted, mut found) = (Wanted { all, text: Some(Needle::new(needle)), ..Wanted::default() }, Vec::new());
        bench.store().list(&wanted, &mut |outline| found.push(outline.id)).unwrap();
        found
    };
    for (needle, expected) in [
        ("needle", &["e", "f"][..]),
        ("WITH needle", &["e"]),
        ("d", &["b", "d", "e", "f"]),
        ("100%_", &["g"]),
        ("50%_", &[]),
        ("say \"so\"", &["g"]),
        ("a/b\\c", &["g"]),
        ("two\nlines", &["g"]),
        ("ÜBER", &["h"]),
        ("3 kelvin", &["h"]),
        ("absent", &[]),
    ] {
        assert_eq!(ids(needle, false), expected, "{needle:?}");
    }
    assert_eq!((ids("archived", false), ids("archived", true)), (vec![], vec!["c".to_owned()]));
}

pub(crate) fn some_that_are_got_at_once_are_what_each_is(bench: &Bench) {
    let names: Vec<String> = (0..120).map(|number| format!("it's-{number}")).collect();
    for name in &names[..100] {
        put(&mut *bench.store(), name, &format!("title: {name} # as it was put\n"));
    }
    let mut store = bench.store();
    let found = store.get_some(&names).unwrap();
    let spared = bench.kind == Kind::Sqlite;
    assert_eq!(found.len(), if spared { 100 } else { 0 });
    for milestone in found {
        assert_eq!(milestone, store.get(&id(&milestone.id)).unwrap());
    }
    assert_eq!(store.get_some(&[]).unwrap(), []);
}

pub(crate) fn nothing_is_overwritten_that_was_not_seen(bench: &Bench) {
    let mut store = bench.store();
    store.put(&draft("a", "id: a\nn: 1\n"), Seen::Nothing).unwrap();
    let first = store.get(&id("a")).unwrap();
    let problem = |seen| bench.store().put(&draft("a", "id: a\nn: 2\n"), seen).unwrap_err().problem;
    assert_eq!(problem(Seen::Nothing), Problem::Changed);
    assert_eq!(problem(Seen::Text(Digest::of(b"other"))), Problem::Changed);
    assert_eq!(bench.store().get(&id("a")).unwrap(), first);
    store.put(&draft("a", "id: a\nn: 2\n"), Seen::Text(first.digest())).unwrap();
    assert_eq!(problem(Seen::Text(first.digest())), Problem::Changed);
    let gone = bench.store().put(&draft("b", "id: b\n"), Seen::Text(first.digest())).unwrap_err();
    assert_eq!(gone.problem, Problem::Changed, "{gone}");
    // The same value in another spelling is another content.
    let seen = bench.store().get(&id("a")).unwrap().digest();
    store.put(&draft("a", "id: a\nn: 2 # noted\n"), Seen::Text(seen)).unwrap();
    assert_eq!(problem(Seen::Text(seen)), Problem::Changed);
}

pub(crate) fn figures_count_what_the_contract_counts(bench: &Bench) {
    let mut store = bench.store();
    assert_eq!(figures(&mut *store), StoreFigures::default());
    put(&mut *store, "a", TEXT);
    put(&mut *store, "b", "status: done\ndependencies: {requires: one}\n");
    put(&mut *store, "c", "tasks: {x: {kiro_workflow: {enabled: 'true'}}, y: {kiro_workflow: {enabled: false}}}\n");
    let expected = StoreFigures { milestone_count: 3, kiro_enabled_count: 2, dependency_count: 3 };
    assert_eq!(figures(&mut *store), expected, "what this store has written itself");
    assert_eq!(figures(&mut *bench.store()), expected);
    put(&mut *bench.store(), "b", "status: done\n");
    assert_eq!(figures(&mut *store).dependency_count, 2, "what another one has written");
}

pub(crate) fn archived_counts_no_more_and_keeps_its_comments(bench: &Bench) {
    let mut store = bench.store();
    put(&mut *store, "a", TEXT);
    put(&mut *store, "b", "id: b\n");
    let seen = store.get(&id("a")).unwrap();
    let archived = Draft::archived(id("a"), &seen.text, Timestamp::now()).unwrap();
    assert_eq!(archived.text, TEXT.replace("status: active", "status: archived").into_bytes());
    let stale = store.archive(&archived, Digest::of(b"other")).unwrap_err();
    assert_eq!(stale.problem, Problem::Changed);
    store.archive(&archived, seen.digest()).unwrap();
    assert_eq!(figures(&mut *store), StoreFigures { milestone_count: 1, ..StoreFigures::default() });
    let kept = match bench.kind {
        Kind::Files | Kind::Hybrid => std::fs::read(bench.path("completed/a.yaml")).unwrap(),
        _ => store.get(&id("a")).unwrap().text,
    };
    assert_eq!(kept, archived.text);
}

pub(crate) fn the_archive_is_the_same_beside_every_store(bench: &Bench) {
    let (mut store, mut archive, now) = (bench.store(), Archive::new(&bench.workspace()), Timestamp::now());
    put(&mut *store, "a", TEXT);
    put(&mut *store, "b", "id: b\n");
    std::fs::create_dir_all(bench.path("completed/2024/c")).unwrap();
    std::fs::write(bench.path("completed/2024/c/definition.yaml"), "# kept\nid: d\nstatus: completed\n").unwrap();
    let digest = archive.archive(&mut *store, &id("a"), None, now).unwrap();
    assert_eq!(archive.archive(&mut *store, &id("a"), Some(digest), now), Ok(digest), "twice is done twice");
    let mut listed = |wanted: &Wanted| {
        let mut found = Vec::new();
        archive.list_with(&mut *store, wanted, &mut |outline| found.push(outline.id)).unwrap();
        found.sort();
        found
    };
    assert_eq!(listed(&Wanted { all: true, ..Wanted::default() }), ["a", "b", "d"]);
    assert_eq!(listed(&Wanted { status: Some("archived".to_owned()), ..Wanted::default() }), ["a"]);
    assert_eq!(listed(&Wanted { all: true, text: Some(Needle::new("COMPLETED")), ..Wanted::default() }), ["d"]);
    assert_eq!(listed(&Wanted::default()), ["b"]);
    assert_eq!(figures(&mut *store).milestone_count, 1);
    let found = archive.find(&mut *store, &id("a")).unwrap();
    assert!(matches!(found, Found::Row(there) | Found::File(there) if there.digest() == digest));
    assert!(matches!(archive.find(&mut *store, &id("b")).unwrap(), Found::Active(_)));
    assert_eq!(archive.find(&mut *store, &id("nowhere")).unwrap(), Found::Nothing);
    let stale = archive.unarchive(&mut *store, &id("a"), None, Some(Digest::of(b"other")), now).unwrap_err();
    assert_eq!(stale.problem, Problem::Changed);
    archive.unarchive(&mut *store, &id("a"), None, Some(digest), now).unwrap();
    archive.unarchive(&mut *store, &id("d"), None, None, now).unwrap();
    archive.unarchive(&mut *store, &id("d"), None, None, now).unwrap();
    let text = |store: &mut dyn Store, name: &str| String::from_utf8(store.get(&id(name)).unwrap().text).unwrap();
    assert_eq!(text(&mut *store, "a"), TEXT);
    assert_eq!(text(&mut *store, "d"), "# kept\nid: d\nstatus: completed\n", "its status stays");
    assert!(!bench.path("completed/2024/c/definition.yaml").exists());
    assert_eq!(figures(&mut *store).milestone_count, 3);
    // Nothing is written over an archived one, nor over one in use.
    put(&mut *store, "e", "id: e\nn: 1\n");
    std::fs::write(bench.path("completed/e.yaml"), "id: e\nn: 2\n").unwrap();
    let refused = archive.unarchive(&mut *store, &id("e"), None, None, now).unwrap_err();
    assert_eq!(refused.problem, Problem::Refused, "{refused}");
    let archived = archive.archive(&mut *store, &id("e"), None, now);
    assert_eq!(archived.is_ok(), store.archives_by_status(), "{archived:?}");
    assert_eq!(std::fs::read(bench.path("completed/e.yaml")).unwrap(), b"id: e\nn: 2\n");
    assert!(text(&mut *store, "e").contains("n: 1"));
}

pub(crate) fn a_scan_hands_over_everything_in_order(bench: &Bench) {
    let mut store = bench.store();
    let drafts: Vec<_> = (0..157).map(|number| draft(&format!("m-{number:03}"), &format!("n: {number}\n"))).collect();
    store.load(&mut drafts.clone().into_iter().map(Packed::of), Side::Files, 1).unwrap();
    let mut seen = Vec::new();
    store
        .scan(&mut |milestone| {
            seen.push((milestone.id, milestone.text));
            ControlFlow::Continue(())
        })
        .unwrap();
    let expected: Vec<_> = drafts.iter().map(|draft| (draft.id.to_string(), draft.text.clone())).collect();
    assert_eq!(seen, expected);
    let mut count = 0;
    store
        .scan(&mut |_| {
            count += 1;
            if count == 50 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(count, 50, "a scan ends when it is told to");
    assert_eq!(store.ids().unwrap(), drafts.iter().map(|draft| draft.id.to_string()).collect::<Vec<_>>());
}

pub(crate) fn a_bulk_load_is_all_there(bench: &Bench) {
    let drafts = (0..1234).map(|number| draft(&format!("m-{number}"), "dependencies: {requires: [a]}\n"));
    assert_eq!(bench.store().load(&mut drafts.map(Packed::of), Side::Files, 1).unwrap(), 1234);
    let all = figures(&mut *bench.store());
    assert_eq!((all.milestone_count, all.dependency_count), (1234, 1234));
    assert_eq!(bench.store().get(&id("m-1000")).unwrap().text, b"dependencies: {requires: [a]}\n");
}

pub(crate) fn a_milestone_that_is_not_there_is_an_error_of_its_own(bench: &Bench) {
    let error = bench.store().get(&id("nowhere")).unwrap_err();
    assert_eq!(error.problem, Problem::NotThere, "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

pub(crate) fn texts_are_data(bench: &Bench) {
    let mut store = bench.store();
    let names = ["'; DROP TABLE milestones; --", "it's \"quoted\"", "🔄 ünïcode", "100%_*?", "$1", "a b", "-rf"];
    for name in names {
        let text = yaml::write::write(
            &Value::from_json(&serde_json::json!({ "title": format!("{name}\u{1b}[2J\t\n\\") }).to_string()).unwrap(),
        );
        put(&mut *store, name, &text);
        assert_eq!(bench.store().get(&id(name)).unwrap().columns.title, format!("{name}\u{1b}[2J\t\n\\"));
    }
    let ids: BTreeSet<String> = store.ids().unwrap().into_iter().collect();
    assert_eq!(ids, names.iter().map(ToString::to_string).collect());
}

pub(crate) fn ids_that_differ_in_case_are_two(bench: &Bench) {
    let mut store = bench.store();
    put(&mut *store, "a", "n: 1\n");
    put(&mut *store, "A", "n: 2\n");
    assert_eq!(store.get(&id("a")).unwrap().text, b"n: 1\n");
    assert_eq!(store.get(&id("A")).unwrap().text, b"n: 2\n");
    assert_eq!(figures(&mut *store).milestone_count, 2);
}

pub(crate) fn check_finds_nothing_wrong_in_what_milescale_wrote(bench: &Bench) {
    let mut store = bench.store();
    put(&mut *store, "a", TEXT);
    put(&mut *store, "b", "{}\n");
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

pub(crate) fn what_is_replaced_is_kept(bench: &Bench) {
    let mut store = bench.store();
    put(&mut *store, "a", "n: 1\n");
    put(&mut *store, "a", "n: 2\n");
    put(&mut *store, "a", "n: 3\n");
    let kept = bench.displaced();
    assert_eq!(kept, ["n: 1\n", "n: 2\n"].map(str::to_owned).into());
    // Those of files go by their names; what a database keeps goes where it is asked to.
    store.purge_kept(&mut |_, _| false).unwrap();
    assert_eq!(bench.displaced(), kept);
    let mut names = std::collections::BTreeSet::new();
    store.purge_kept(&mut |name, _| names.insert(name.to_owned())).unwrap();
    assert_eq!(bench.displaced().len() + names.len(), 2, "{names:?}");
}

pub(crate) fn any_document_comes_back_as_it_was(bench: &Bench) {
    let entries = proptest::collection::btree_map("[a-z]{1,8}", any_value(any_number().boxed()), 1..6);
    let documents = entries.prop_map(|mut entries| {
        entries.remove("id");
        Value::Mapping(entries.into_iter().collect())
    });
    let state = RefCell::new((bench.store(), 0));
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let result = runner.run(&documents, |value| {
        let (store, number) = &mut *state.borrow_mut();
        *number += 1;
        let (name, text) = (format!("m-{number}"), yaml::write::write(&value));
        store.put(&draft(&name, &text), Seen::Nothing).unwrap();
        let there = store.get(&id(&name)).unwrap();
        prop_assert_eq!(&String::from_utf8_lossy(&there.text), &text);
        prop_assert_eq!(there.value.unwrap(), value.clone());
        // Without the text that was put, the value is the same.
        bench.forget_texts();
        let there = store.get(&id(&name)).unwrap();
        prop_assert_eq!(there.value.unwrap(), value.clone());
        let read = Value::of(&yaml::parse(&there.text).unwrap()).unwrap();
        prop_assert_eq!(read, value);
        Ok(())
    });
    result.unwrap();
}

/// Scalars in the spellings of people: each store keeps what they say, also without the text that was put.
pub(crate) fn scalars_come_back_digit_for_digit(bench: &Bench) {
    const LETTERS: [char; 12] = ['0', '1', '7', '+', '-', '.', '_', 'x', 'e', 'E', ':', '~'];
    let letters = || LETTERS.iter().map(char::to_string);
    let two: Vec<String> = letters().flat_map(|first| letters().map(move |last| first.clone() + &last)).collect();
    let three = two.iter().flat_map(|first| letters().map(move |last| first.clone() + &last));
    let mut text = "id: \"007\"\nscalars:\n".to_owned();
    for scalar in letters().chain(two.iter().cloned()).chain(three) {
        if scalar != "-" && !scalar.ends_with(':') {
            text += &format!("  - {scalar}\n");
        }
    }
    let value = Value::of(&yaml::milestone(text.as_bytes()).unwrap()).unwrap();
    put(&mut *bench.store(), "007", &text);
    assert_eq!(bench.store().get(&id("007")).unwrap().value.as_ref(), Ok(&value));
    bench.forget_texts();
    let there = bench.store().get(&id("007")).unwrap();
    assert_eq!(there.value.as_ref(), Ok(&value));
    assert_eq!(Value::of(&yaml::milestone(&there.text).unwrap()).unwrap(), value);
}

/// Each writer adds one to what it has seen, as often as it must, until its write is taken. No addition is lost.
pub(crate) fn two_puts_at_once_never_overwrite_each_other(bench: &Bench) {
    const WRITERS: usize = 4;
    const ADDITIONS: usize = 50;
    put(&mut *bench.store(), "a", "n: 0\n");
    let (barrier, refused) = (Barrier::new(WRITERS), Mutex::new(0_u32));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut store = bench.store();
                barrier.wait();
                for _ in 0..ADDITIONS {
                    loop {
                        // A machine may stand still for seconds, once.
                        let seen = store.get(&id("a")).or_else(|_| store.get(&id("a"))).unwrap();
                        let text = String::from_utf8(seen.text.clone()).unwrap();
                        let number: u64 = text.trim().strip_prefix("n: ").unwrap().parse().unwrap();
                        match store.put(&draft("a", &format!("n: {}\n", number + 1)), Seen::Text(seen.digest())) {
                            Ok(()) => break,
                            Err(error) => {
                                let is_told = matches!(error.problem, Problem::Changed | Problem::Busy)
                                    || error.cause.contains("nothing was written");
                                assert!(is_told, "{error}");
                                *refused.lock().unwrap() += 1;
                            }
                        }
                    }
                }
            });
        }
    });
    let last = bench.store().get(&id("a")).unwrap().text;
    assert_eq!(String::from_utf8(last).unwrap(), format!("n: {}\n", WRITERS * ADDITIONS));
    let kept = bench.displaced();
    let missing: Vec<_> =
        (0..WRITERS * ADDITIONS).map(|n| format!("n: {n}\n")).filter(|text| !kept.contains(text)).collect();
    assert_eq!(missing, Vec::<String>::new(), "every content that was ever current can be found");
    println!(
        "{:?}: {} writes, {} refused because another came first",
        bench.kind,
        WRITERS * ADDITIONS,
        refused.lock().unwrap()
    );
}
