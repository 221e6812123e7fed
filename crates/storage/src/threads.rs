//! Work on many things by as many threads as are worth it.

use std::ops::Range;
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
                Err(panic) => std::panic::resume_unwind(panic),
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

#[cfg(test)]
mod tests {
    use super::in_threads;

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
