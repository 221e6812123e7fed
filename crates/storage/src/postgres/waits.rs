//! Waiting for a server: until it answers, is silent for too long, or a stop is asked for.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use milescale_workspace::stop::Stop;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use super::connection::Failed;

/// Time between two looks at a server that is waited for.
const TICK: Duration = Duration::from_millis(100);

/// Bytes within a tick by which a server is seen to work, once a stop was asked for.
const WORKS: u64 = 2048;

/// How many bytes went to and from a server, and why no more are taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<(AtomicU64, OnceLock<String>)>);

impl Meter {
    pub(super) fn moved(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes why the server is not heard any more.
    pub(super) fn refuse(&self, why: String) {
        let _ = self.0.1.set(why);
    }

    /// Why it is not.
    pub(super) fn refused(&self) -> Option<&str> {
        self.0.1.get().map(String::as_str)
    }
}

/// How often as long as one answer may take, a piece of work with several of them takes at most: a server may say a little at a time.
pub(super) const WAITS: u32 = 2;

/// Bounds work that bounds each of its waits itself.
pub(super) async fn within<R>(most: Duration, work: impl Future<Output = Result<R, Failed>>) -> Result<R, Failed> {
    tokio::time::timeout(most, work).await.unwrap_or(Err(Failed::Silent(most)))
}

/// What ends a wait before the answer comes.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    pub(super) meter: Meter,
    pub(super) stop: Stop,
}

impl Patience {
    /// Waits as [`Patience::wait`] does, and for [`WAITS`] times as long at most: who says a little at a time is not silent.
    pub(super) async fn bounded<R, E>(
        &self,
        silence: Duration,
        work: impl Future<Output = Result<R, E>>,
    ) -> Result<R, Failed>
    where
        Failed: From<E>,
    {
        within(silence * WAITS, self.wait(silence, work)).await
    }

    /// Waits for work with a server, as long as bytes move at least once in `silence`.
    pub(super) async fn wait<R, E>(
        &self,
        silence: Duration,
        work: impl Future<Output = Result<R, E>>,
    ) -> Result<R, Failed>
    where
        Failed: From<E>,
    {
        let mut work = pin!(work);
        let (mut silent, mut after_stop, mut moved) = (Duration::ZERO, Duration::ZERO, self.meter.moved());
        loop {
            let began = Instant::now();
            tokio::select! {
                biased;
                done = &mut work => return Ok(done?),
                () = tokio::time::sleep(TICK) => {}
            }
            // While this thread was busy itself, the server was not silent.
            let tick = began.elapsed().min(TICK * 2);
            let came = self.meter.moved().saturating_sub(std::mem::replace(&mut moved, self.meter.moved()));
            silent = if came > 0 { Duration::ZERO } else { silent + tick };
            if self.stop.is_asked() {
                // What works goes on to its end; what only drips is no work.
                after_stop = if came >= WORKS { Duration::ZERO } else { after_stop + tick };
            }
            if self.stop.ends(after_stop) {
                return Err(Failed::Stopped);
            }
            if silent >= silence {
                return Err(Failed::Silent(silence));
            }
        }
    }
}

/// A connection of the network or to a socket. What is written is counted here, and what comes where it is known what it is.
pub(super) struct Metered {
    stream: Stream,
    meter: Meter,
}

enum Stream {
    Network(TcpStream),
    Socket(UnixStream),
}

impl Metered {
    pub(super) fn network(stream: TcpStream, meter: Meter) -> Self {
        Self { stream: Stream::Network(stream), meter }
    }

    pub(super) fn socket(stream: UnixStream, meter: Meter) -> Self {
        Self { stream: Stream::Socket(stream), meter }
    }
}

/// Does the same with either kind of stream.
macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.stream {
            Stream::Network(it) => {
                let $stream = Pin::new(it);
                $call
            }
            Stream::Socket(it) => {
                let $stream = Pin::new(it);
                $call
            }
        }
    };
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = either!(self, stream => stream.poll_write(cx, bytes));
        if let Poll::Ready(Ok(count)) = written {
            self.meter.add(count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}
