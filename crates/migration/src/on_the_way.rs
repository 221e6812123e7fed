//! What is on its way from a thread that reads to one that writes: many things at once, and bounded by bytes.

use std::ops::ControlFlow;
use std::sync::mpsc::{SyncSender, sync_channel};

use milescale_storage::budget::{BYTES, Room};

/// Things that are sent at once, and their bytes: a part of what may be on its way.
const THINGS: usize = 256;
const BUNDLE: u64 = BYTES / 4;

/// Bundles that wait to be received; besides there is the one that is made and the one that is taken from.
const WAITING: usize = 2;

/// The end at which things are sent.
pub(crate) struct Sending<T> {
    bundles: SyncSender<Vec<T>>,
    bundle: Vec<T>,
    room: Room,
    bytes: fn(&T) -> u64,
}

/// Both ends of a way for things that have so many bytes.
pub(crate) fn on_the_way<T>(bytes: fn(&T) -> u64) -> (Sending<T>, impl Iterator<Item = T>) {
    let (bundles, received) = sync_channel::<Vec<T>>(WAITING);
    (Sending { bundles, bundle: Vec::new(), room: Room::of(THINGS, BUNDLE), bytes }, received.into_iter().flatten())
}

impl<T> Sending<T> {
    /// Sends a thing; breaks where the other end is gone.
    pub(crate) fn send(&mut self, thing: T) -> ControlFlow<()> {
        let is_full = self.room.fills((self.bytes)(&thing));
        self.bundle.push(thing);
        if is_full { self.send_bundle() } else { ControlFlow::Continue(()) }
    }

    /// Sends what was not sent yet.
    pub(crate) fn end(mut self) {
        let _ = self.send_bundle();
    }

    fn send_bundle(&mut self) -> ControlFlow<()> {
        self.room = Room::of(THINGS, BUNDLE);
        match self.bundles.send(std::mem::take(&mut self.bundle)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::{BUNDLE, THINGS, WAITING, on_the_way};

    #[test]
    fn everything_arrives_in_order_and_no_more_is_on_its_way_than_may_be() {
        for size in [0, 1, BUNDLE / 3, BUNDLE, 10 * BUNDLE] {
            let (mut sending, received) = on_the_way(|thing: &(u64, u64)| thing.1);
            let (sent, most) = (AtomicU64::new(0), AtomicU64::new(0));
            let count = 5 * THINGS as u64 + 1;
            thread::scope(|scope| {
                scope.spawn(|| {
                    for number in 0..count {
                        assert_eq!(sending.send((number, size)), ControlFlow::Continue(()));
                        sent.store(number + 1, Ordering::SeqCst);
                    }
                    sending.end();
                });
                for (number, (received, _)) in received.enumerate() {
                    assert_eq!(number as u64, received);
                    most.fetch_max(sent.load(Ordering::SeqCst) - received, Ordering::SeqCst);
                }
            });
            // Beside those that wait there are one that is made and one that is taken from.
            let bundles = WAITING as u64 + 2;
            let a_bundle = if size == 0 { THINGS as u64 } else { (THINGS as u64).min(BUNDLE.div_ceil(size)) };
            let most = most.into_inner();
            assert!(most <= bundles * a_bundle, "{size}: {most}");
        }
    }

    #[test]
    fn who_sends_hears_that_nobody_receives() {
        let (mut sending, received) = on_the_way(|_: &u8| BUNDLE);
        drop(received);
        assert_eq!(sending.send(1), ControlFlow::Break(()));
    }
}
