//! Writing answers: the time that a client has to take one, and the memory that is held for it
//! until then.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::memory::MemoryPermit;

/// Attaches the memory of a review to its answer.
pub(super) fn attach(response: &mut Response, permit: MemoryPermit) {
    response.extensions_mut().insert(Attached(Arc::new(permit)));
}

/// The extension of a response that has memory attached. Extensions have to be `Clone`.
#[derive(Clone, Debug)]
struct Attached(#[expect(dead_code, reason = "held, not used")] Arc<MemoryPermit>);

/// The memory of the answers of one connection that are not written yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Unwritten(Arc<Mutex<Vec<Attached>>>);

impl Unwritten {
    /// Holds the memory that is attached to `response` until all that is buffered is written. hyper
    /// drops a body as soon as it has buffered it, so a body itself cannot hold the memory.
    pub(super) fn hold(&self, response: &mut Response) {
        if let Some(attached) = response.extensions_mut().remove::<Attached>() {
            self.lock().push(attached);
        }
    }

    fn release(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Attached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose writes have a time limit: from the first one that has to wait until
/// everything is written, so that a client that reads one byte at a time gains nothing.
#[derive(Debug)]
pub(super) struct TimedWrites<S> {
    io: S,
    limit: Duration,
    unwritten: Unwritten,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedWrites<S> {
    /// Wraps `io`. Whenever everything is written, `unwritten` is released.
    pub(super) const fn new(io: S, limit: Duration, unwritten: Unwritten) -> Self {
        Self {
            io,
            limit,
            unwritten,
            timer: None,
        }
    }

    /// Returns `result`, or an error if it is not ready and the time is over.
    fn timed<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            return result;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedWrites<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedWrites<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(context, bytes);
        self.timed(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.timed(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(context);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.timer = None;
            self.unwritten.release();
        }
        self.timed(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_shutdown(context);
        self.timed(context, result)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::timeout;

    use super::super::memory::MemoryBudget;
    use super::super::source_address::SourceAddress;
    use super::*;

    #[tokio::test]
    async fn who_takes_an_answer_byte_by_byte_has_no_longer_than_who_takes_none() {
        let limit = Duration::from_millis(100);
        for reads in [0, 48] {
            let (mut client, server) = duplex(16);
            let mut server = TimedWrites::new(server, limit, Unwritten::default());
            let reader = tokio::spawn(async move {
                for _ in 0..reads {
                    sleep(limit / 5).await;
                    client.read_u8().await.unwrap();
                }
                // Held open.
                std::future::pending::<()>().await;
            });
            let written = timeout(100 * limit, server.write_all(&[0; 64])).await;
            let error = written.expect("it may take for ever").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            reader.abort();
        }
    }

    #[tokio::test]
    async fn time_counts_only_while_something_is_not_written() {
        let limit = Duration::from_mins(1);
        let (mut client, server) = duplex(16);
        let mut server = TimedWrites::new(server, limit, Unwritten::default());
        assert!(server.write_all(&[0; 32]).now_or_never().is_none());
        assert!(server.timer.is_some());
        client.read_exact(&mut [0; 16]).await.unwrap();
        // Some of it is written, which changes nothing.
        server.write_all(&[0; 16]).await.unwrap();
        assert!(server.timer.is_some());
        server.flush().await.unwrap();
        assert!(server.timer.is_none());
    }

    /// Without it, a client could not tell the end of a TLS connection from an attack.
    #[tokio::test]
    async fn the_end_of_the_connection_is_written_too() {
        let (mut client, server) = duplex(16);
        let mut server = TimedWrites::new(server, Duration::from_mins(1), Unwritten::default());
        assert!(client.read_u8().now_or_never().is_none());
        server.shutdown().await.unwrap();
        let read = client.read(&mut [0]).now_or_never();
        assert_eq!(read.expect("it is open").unwrap(), 0);
    }

    #[tokio::test]
    async fn memory_is_held_until_the_answer_is_written() {
        let budget = MemoryBudget::new(1, 0);
        let source = SourceAddress::UNKNOWN;
        let (_client, server) = duplex(16);
        let unwritten = Unwritten::default();
        let mut server = TimedWrites::new(server, Duration::from_mins(1), unwritten.clone());
        let mut response = Response::new(Body::empty());
        attach(&mut response, budget.take(source, 1).unwrap());
        unwritten.hold(&mut response);
        drop(response);
        server.write_all(&[0; 16]).await.unwrap();
        assert!(budget.take(source, 1).is_err());
        server.flush().await.unwrap();
        assert!(budget.take(source, 1).is_ok());
    }
}
