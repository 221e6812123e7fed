//! A small runtime of a store's own, on the thread that calls it.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};

/// A runtime that may be let go anywhere, also by who is in another one.
#[derive(Debug)]
pub(crate) struct OwnRuntime {
    /// Always there, but while it is let go.
    runtime: Option<Runtime>,
}

impl OwnRuntime {
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs work to its end.
    pub(crate) fn block_on<R>(&self, work: impl Future<Output = R>) -> R {
        match &self.runtime {
            Some(runtime) => runtime.block_on(work),
            None => unreachable!("nobody has it while it is let go"),
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // To wait for its tasks is not allowed within another runtime, and there is nothing to wait for.
            runtime.shutdown_background();
        }
    }
}
