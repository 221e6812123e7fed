//! Work on many things by as many threads as are worth it.

use std::ops::{ControlFlow, Range};
use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

/// More threads than this wait for the same folder.
const THREADS: usize = 8;

/// Fewer things than this for each are not worth a thread.
const THINGS_A_THREAD: usize = 256;

/// How many things are one thread's share.
fn share(count: usize) -> usize {
    let threads = thread::available_parallelism().map_or(1, |count| count.get().min(THREADS));
    count.div_ceil(threads).max(THINGS_A_THREAD)
}

/// Does work on several parts at once, the first on this thread. What each comes to, in their order.
fn at_once<P: Send, R: Send>(parts: impl IntoIterator<Item = P>, work: impl Fn(P) -> R + Sync) -> Vec<R> {
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else { return Vec::new() };
    thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let mut done = vec![work(first)];
        for other in others {
            match other.join() {
                Ok(found) => done.push(found),
                Err(panic) => resume_unwind(panic),
            }
        }
        done
    })
}

/// Does work on the numbers below `count`, in shares. What each share comes to, in their order.
pub(crate) fn in_shares<R: Send>(count: usize, work: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    let share = share(count);
    at_once((0..count).step_by(share).map(|from| from..(from + share).min(count)), work)
}

/// Does the same with each thing. What each comes to, in their order.
pub(crate) fn in_threads<T: Send, R: Send>(mut things: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let share = share(things.len());
    let mut parts = Vec::new();
    while things.len() > share {
        let rest = things.split_off(share);
        parts.push(std::mem::replace(&mut things, rest));
    }
    parts.push(things);
    let done = at_once(parts, |part: Vec<T>| part.into_iter().map(&work).collect::<Vec<R>>());
    done.into_iter().flatten().collect()
}

/// Makes things on another thread, at most so many of them ahead, while those before are dealt with on this one. Where that
/// breaks, nothing more is made.
pub(crate) fn ahead<T: Send, E: Send>(
    at_most: usize,
    make: impl FnOnce(&mut dyn FnMut(T) -> ControlFlow<()>) -> Result<(), E> + Send,
    mut deal_with: impl FnMut(T) -> ControlFlow<()>,
) -> Result<(), E> {
    let (sender, receiver) = sync_channel(at_most);
    thread::scope(|scope| {
        let made = scope.spawn(move || {
            make(&mut |thing| match sender.send(thing) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        // The receiver goes with the loop: who makes more is told so.
        for thing in receiver {
            if deal_with(thing).is_break() {
                break;
            }
        }
        made.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::{ahead, in_threads};

    #[test]
    fn what_is_made_ahead_is_dealt_with_in_order_until_either_side_ends() {
        let made = |end: Result<(), &'static str>| {
            move |send: &mut dyn FnMut(usize) -> ControlFlow<()>| {
                let _ = (0..100).try_for_each(send);
                end
            }
        };
        let mut dealt = Vec::new();
        let all = ahead(3, made(Ok(())), |number| {
            dealt.push(number);
            ControlFlow::Continue(())
        });
        assert_eq!((all, dealt), (Ok(()), (0..100).collect::<Vec<_>>()));
        let mut last = 0;
        let until = |number: usize| {
            last = number;
            if number == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        assert_eq!(ahead(1, made(Err("torn")), until), Err("torn"));
        assert_eq!(last, 7);
        assert!(
            std::panic::catch_unwind(|| ahead(
                1,
                |_| -> Result<(), ()> { panic!() },
                |(): ()| ControlFlow::Continue(())
            ))
            .is_err()
        );
    }

    #[test]
    fn what_each_thing_comes_to_stands_in_its_order() {
        for count in [0, 1, 255, 257, 5000] {
            let things: Vec<usize> = (0..count).collect();
            let expected: Vec<_> = things.iter().map(|thing| thing * 2).collect();
            assert_eq!(in_threads(things, |thing| thing * 2), expected);
        }
    }

    #[test]
    fn a_panic_in_a_thread_is_one_here() {
        let things: Vec<usize> = (0..5000).collect();
        let caught = std::panic::catch_unwind(move || in_threads(things, |thing| assert_ne!(thing, 4999)));
        assert!(caught.is_err());
    }
}
