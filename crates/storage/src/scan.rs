//! All milestones of a store worked on by several threads, and what they come to handed over in order.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use milescale_document::milestone::Milestone;
use milescale_workspace::error::StoreError;

use crate::store::Store;

/// Milestones that are worked on at once, where there is [room](crate::budget) for so many.
pub const BATCH: usize = 1024;

/// Hands over what each milestone comes to, in the order of [`Store::scan_batches`]. `of` runs in the threads that read: what
/// is small leaves them, and what a milestone holds goes where it came to be.
///
/// # Errors
/// When the store cannot be read.
pub fn scan_as<R: Send>(
    store: &mut dyn Store,
    of: impl Fn(Milestone) -> R + Sync,
    visit: &mut dyn FnMut(R) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let slots = Slots::new();
    store.scan_batches(&|number, milestone| slots.put(number, of(milestone)), &mut |count| slots.take(count, visit))
}

/// What the milestones of one batch come to, by their numbers.
pub(crate) struct Slots<R>(Vec<Mutex<Option<R>>>);

impl<R> Slots<R> {
    pub(crate) fn new() -> Self {
        Self((0..BATCH).map(|_| Mutex::new(None)).collect())
    }

    pub(crate) fn put(&self, number: usize, it: R) {
        *self.0[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(it);
    }

    /// Hands over those that are there of the first `count`.
    pub(crate) fn take(&self, count: usize, visit: &mut dyn FnMut(R) -> ControlFlow<()>) -> ControlFlow<()> {
        let taken = |slot: &Mutex<Option<R>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.0[..count].iter().filter_map(taken).try_for_each(visit)
    }
}
