//! Work on many things by as many threads as are worth it.

use std::ops::{ControlFlow, Range};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

/// More threads than this wait for the same folder.
const THREADS: usize = 8;

/// Fewer things than this for each are not worth a thread.
const THINGS_A_THREAD: usize = 256;

/// What a thing is taken to have in bytes where nothing else is known.
const BYTES_A_THING: u64 = 1 << 10;

/// How many threads are worth it for so many things, of so many bytes together: large ones are where they are few.
fn threads(count: usize, bytes: u64) -> usize {
    let most = thread::available_parallelism().map_or(1, |count| count.get().min(THREADS));
    let worth = usize::try_from(bytes / BYTES_A_THING).unwrap_or(usize::MAX).max(count);
    most.min(worth.div_ceil(THINGS_A_THREAD)).max(1)
}

/// How many things are one thread's share.
fn share(count: usize, bytes: u64) -> usize {
    count.div_ceil(threads(count, bytes)).max(1)
}

/// What a thread is to take, and stays where none can be had: a limit of processes is no reason to fail.
struct Slot<P>(Mutex<Option<P>>);

impl<P> Slot<P> {
    fn of(part: P) -> Self {
        Self(Mutex::new(Some(part)))
    }

    fn take(&self) -> Option<P> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Does work on several parts at once, the first on this thread, and those for which there is no thread. What each comes to, in their order.
fn at_once<P: Send, R: Send>(parts: impl IntoIterator<Item = P>, work: impl Fn(P) -> R + Sync) -> Vec<R> {
    let parts: Vec<Slot<P>> = parts.into_iter().map(Slot::of).collect();
    let work = |slot: &Slot<P>| slot.take().map(&work);
    thread::scope(|scope| {
        let work = &work;
        let on_another = |slot| thread::Builder::new().spawn_scoped(scope, move || work(slot)).ok();
        let others: Vec<_> = parts.iter().skip(1).map(on_another).collect();
        let mut done: Vec<R> = parts.first().and_then(work).into_iter().collect();
        for (slot, other) in parts.iter().skip(1).zip(others) {
            let found = match other.map(ScopedJoinHandle::join) {
                Some(Ok(found)) => found,
                Some(Err(panic)) => resume_unwind(panic),
                None => work(slot),
            };
            done.extend(found);
        }
        done
    })
}

/// Does work on the numbers below `count`, in shares. What each share comes to, in their order.
pub(crate) fn in_shares<R: Send>(count: usize, work: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    let share = share(count, 0);
    at_once((0..count).step_by(share).map(|from| from..(from + share).min(count)), work)
}

/// Does work on the numbers below `count`, one after the other, until what it has come to is so many bytes: each thread begins
/// with what `start` makes, and `work` says how many bytes a number came to. The number that is next: all before it are done.
pub(crate) fn until_full<W, E: Send>(
    count: usize,
    bytes: u64,
    start: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, usize) -> Result<u64, E> + Sync,
) -> Result<usize, E> {
    let (next, together) = (AtomicUsize::new(0), AtomicU64::new(0));
    let part = |_| -> Result<(), E> {
        let mut own = start();
        while together.load(Ordering::Relaxed) < bytes {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            together.fetch_add(work(&mut own, number)?, Ordering::Relaxed);
        }
        Ok(())
    };
    at_once(0..threads(count, 0), part).into_iter().collect::<Result<(), E>>()?;
    Ok(next.into_inner().min(count))
}

/// Does the same with each thing. What each comes to, in their order.
pub(crate) fn in_threads<T: Send, R: Send>(mut things: Vec<T>, bytes: u64, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let share = share(things.len(), bytes);
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
    let make = Slot::of(make);
    thread::scope(|scope| {
        let ahead = || {
            let send = &mut |thing| match sender.send(thing) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            let made = make.take().map_or(Ok(()), |make| make(send));
            drop(sender);
            made
        };
        let Ok(made) = thread::Builder::new().spawn_scoped(scope, ahead) else {
            return make.take().map_or(Ok(()), |make| make(&mut deal_with));
        };
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

    use std::sync::Mutex;

    use super::{ahead, in_threads, until_full};

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
            assert_eq!(in_threads(things.clone(), 0, |thing| thing * 2), expected);
            assert_eq!(in_threads(things, u64::MAX, |thing| thing * 2), expected);
        }
    }

    #[test]
    fn work_ends_where_it_is_full_and_goes_on_from_there() {
        let sizes: Vec<u64> = (0..3000).map(|number| if number % 500 == 499 { 400 } else { 1 }).collect();
        let done = Mutex::new(Vec::new());
        let (mut from, mut rounds) = (0, 0);
        while from < sizes.len() {
            let work = |(): &mut (), number: usize| {
                done.lock().unwrap().push(from + number);
                Ok::<_, ()>(sizes[from + number])
            };
            let next = until_full(sizes.len() - from, 300, || (), work).unwrap();
            assert!(next > 0);
            let most: u64 = sizes[from..from + next].iter().sum();
            assert!(most <= 300 + 8 * 400, "{most} at once");
            (from, rounds) = (from + next, rounds + 1);
        }
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..sizes.len()) && rounds > 3);
        assert_eq!(until_full(9, 99, || (), |(), number| if number == 5 { Err("torn") } else { Ok(1) }), Err("torn"));
    }

    #[test]
    fn a_panic_in_a_thread_is_one_here() {
        let things: Vec<usize> = (0..5000).collect();
        let caught = std::panic::catch_unwind(move || in_threads(things, 0, |thing| assert_ne!(thing, 4999)));
        assert!(caught.is_err());
    }
}
