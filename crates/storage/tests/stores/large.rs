//! What every store does alike with milestones of which few fit into memory at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use milescale_core::base::Side;
use milescale_document::milestone::{Draft, Packed};
use milescale_storage::budget::BYTES;
use milescale_storage::outline::{Needle, Wanted};

use super::bench::{Bench, draft};

/// Small ones, among them some with long comments, and one whose value is larger than what is worked on at once.
fn drafts() -> Vec<Draft> {
    let of = |number: usize| {
        let (value, comment) = match number {
            35 => (usize::try_from(BYTES).unwrap() / 40_000 + 1, 0),
            number if number % 20 == 10 => (1, 40),
            _ => (1, 0),
        };
        let (note, line) = (format!("- {}\n", "w".repeat(40_000)), format!("# {}\n", "c".repeat(40_000)));
        let notes = if value == 1 { String::new() } else { note.repeat(value) };
        draft(&format!("m-{number:03}"), &format!("title: needle\nnotes:\n- short\n{notes}{}", line.repeat(comment)))
    };
    (0..130).map(of).collect()
}

pub(crate) fn large_ones_are_read_a_few_at_once_and_none_is_left_out(bench: &Bench) {
    let drafts = drafts();
    let mut store = bench.store();
    store.load(&mut drafts.clone().into_iter().map(Packed::of), Side::Files, 1).unwrap();
    let expected: Vec<_> = drafts.iter().map(|draft| (draft.id.to_string(), draft.content())).collect();
    let mut found = Vec::new();
    store
        .scan_contents(&mut |id, content| {
            found.push((id, content));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(found, expected);

    let (at_once, most, largest) = (AtomicU64::new(0), AtomicU64::new(0), BYTES + 50_000);
    store
        .scan_batches(
            &|_, milestone| {
                at_once.fetch_add(milestone.text.len() as u64, Ordering::SeqCst);
            },
            &mut |_| {
                most.fetch_max(at_once.swap(0, Ordering::SeqCst), Ordering::SeqCst);
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    assert!(most.load(Ordering::SeqCst) < 2 * largest, "{most:?} bytes were worked on at once");

    let needle = Wanted { text: Some(Needle::new("needle")), ..Wanted::default() };
    for wanted in [Wanted::default(), needle] {
        let mut listed = Vec::new();
        store.list(&wanted, &mut |outline| listed.push(outline.id)).unwrap();
        assert!(listed.iter().eq(expected.iter().map(|(id, _)| id)), "{wanted:?}: {listed:?}");
    }

    let ids: Vec<String> = expected.iter().map(|(id, _)| id.clone()).collect();
    let some = store.get_some(&ids).unwrap();
    assert!(some.iter().map(|it| it.text.len() as u64).sum::<u64>() <= largest);
    assert!(some.iter().all(|it| expected.contains(&(it.id.clone(), it.content()))));
}
