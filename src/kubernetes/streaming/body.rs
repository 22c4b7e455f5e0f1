//! The body of an answer of the API server, read piece by piece: a list may have megabytes, and the
//! body of a watch has no end.

use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use futures::io::AsyncBufRead;
use http::Request;
use kube::{Client, Error};
use tokio::time::timeout;

/// The body of an answer.
pub(in crate::kubernetes) struct Body(Pin<Box<dyn AsyncBufRead + Send>>);

impl Body {
    /// Sends `request` and waits at most `limit` for the head of the answer.
    pub(in crate::kubernetes) async fn request(
        client: &Client,
        request: Request<Vec<u8>>,
        limit: Duration,
    ) -> Result<Self, Error> {
        match timeout(limit, client.request_stream(request)).await {
            Ok(answer) => Ok(Self(Box::pin(answer?))),
            Err(_) => Err(late(limit)),
        }
    }

    /// Passes the next bytes to `read`. Returns whether there were any: none is the end. Cancel
    /// safe.
    pub(in crate::kubernetes) async fn next(
        &mut self,
        mut read: impl FnMut(&[u8]),
    ) -> Result<bool, Error> {
        std::future::poll_fn(|context| {
            let length = match ready!(self.0.as_mut().poll_fill_buf(context)) {
                Ok(bytes) => {
                    read(bytes);
                    bytes.len()
                }
                Err(error) => return Poll::Ready(Err(Error::ReadEvents(error))),
            };
            self.0.as_mut().consume(length);
            Poll::Ready(Ok(length > 0))
        })
        .await
    }

    /// As [`next`](Self::next), but fails if nothing arrives within `limit`.
    pub(in crate::kubernetes) async fn next_within(
        &mut self,
        limit: Duration,
        read: impl FnMut(&[u8]),
    ) -> Result<bool, Error> {
        let next = timeout(limit, self.next(read)).await;
        next.unwrap_or_else(|_| Err(late(limit)))
    }
}

/// Returns the error for an answer, or the rest of one, that does not arrive.
fn late(limit: Duration) -> Error {
    let message = format!("no answer within {} s", limit.as_secs());
    Error::ReadEvents(io::Error::new(io::ErrorKind::TimedOut, message))
}
