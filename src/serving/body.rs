//! Reads request bodies within a deadline, a size limit, and a memory budget that all requests
//! share.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, Request};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::velero::text::single_line;

/// Capacity reserved up front for a body that announces its length. The buffer grows only as bytes
/// arrive, so that an announcement alone takes no memory.
const INITIAL_CAPACITY: usize = 64 << 10;

/// Maximum number of characters of a header that an error quotes.
const MAX_QUOTED_CHARS: usize = 100;

/// The bytes of a body, and the part of the shared budget that they occupy.
#[derive(Debug)]
pub(super) struct RequestBody {
    pub(super) bytes: Vec<u8>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body broke off: {0}")]
    Broken(String),
    #[error("too many bytes are under review at the moment; ask again")]
    Busy,
    #[error("the body is encoded as `{0}`; send it without Content-Encoding")]
    Encoded(String),
    #[error("the body did not arrive in time")]
    Slow,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the content type is `{0}`; `application/json` is expected")]
    WrongType(String),
}

impl BodyError {
    /// Returns the HTTP status code of the error.
    pub(super) const fn code(&self) -> u16 {
        match self {
            Self::Broken(_) => 400,
            Self::Slow => 408,
            Self::TooLarge(_) => 413,
            Self::Encoded(_) | Self::WrongType(_) => 415,
            Self::Busy => 503,
        }
    }
}

/// Reads request bodies.
#[derive(Clone, Debug)]
pub(super) struct BodyReader {
    cap: usize,
    budget: Arc<Semaphore>,
}

impl BodyReader {
    /// Creates a reader for bodies of up to `cap` bytes each, and `all` bytes in total at any time.
    pub(super) fn new(cap: usize, all: usize) -> Self {
        Self {
            cap,
            budget: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Reads the body of `request` until `deadline`. A rejected body is still drained and discarded
    /// until then: a client that is still writing would lose our answer if the connection were
    /// closed.
    pub(super) async fn read(
        &self,
        request: Request<Body>,
        deadline: Instant,
    ) -> Result<RequestBody, BodyError> {
        let (head, body) = request.into_parts();
        let mut stream = body.into_data_stream();
        let result = match self.check(&head.headers) {
            Ok(length) => match timeout_at(deadline, self.fill(&mut stream, length)).await {
                Ok(result) => result,
                Err(_) => return Err(BodyError::Slow),
            },
            Err(error) => Err(error),
        };
        let is_unread = !matches!(result, Ok(_) | Err(BodyError::Broken(_)));
        // A client that sent `Expect: 100-continue` is refused before it sends the body.
        if is_unread && !head.headers.contains_key(EXPECT) {
            tokio::spawn(timeout_at(deadline, discard(stream)));
        }
        result
    }

    /// Checks what the headers say about the body. Returns the announced length, or 0 if there is
    /// none.
    fn check(&self, headers: &HeaderMap) -> Result<usize, BodyError> {
        let text = |name| {
            let value = headers.get(name)?;
            let value = String::from_utf8_lossy(value.as_bytes());
            Some(single_line(&value, MAX_QUOTED_CHARS).into_owned())
        };
        if let Some(encoding) = text(CONTENT_ENCODING)
            && !encoding.trim().eq_ignore_ascii_case("identity")
        {
            return Err(BodyError::Encoded(encoding));
        }
        let media = text(CONTENT_TYPE).unwrap_or_default();
        let essence = media.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(BodyError::WrongType(media));
        }
        // hyper has already rejected a length that is not a number, and several that differ.
        let length = text(CONTENT_LENGTH)
            .and_then(|length| length.trim().parse::<u64>().ok())
            .unwrap_or_default();
        match usize::try_from(length) {
            Ok(length) if length <= self.cap => Ok(length),
            _ => Err(BodyError::TooLarge(self.cap)),
        }
    }

    async fn fill(
        &self,
        stream: &mut BodyDataStream,
        length: usize,
    ) -> Result<RequestBody, BodyError> {
        let mut bytes = Vec::with_capacity(length.min(INITIAL_CAPACITY));
        let mut share: Option<OwnedSemaphorePermit> = None;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| BodyError::Broken(error.to_string()))?;
            if bytes.len() + chunk.len() > self.cap {
                return Err(BodyError::TooLarge(self.cap));
            }
            let more = self.take(chunk.len())?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(RequestBody {
            bytes,
            _permit: share,
        })
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::TooLarge(self.cap))?;
        Arc::clone(&self.budget)
            .try_acquire_many_owned(bytes)
            .map_err(|_| BodyError::Busy)
    }
}

async fn discard(mut stream: BodyDataStream) {
    while let Some(Ok(_)) = stream.next().await {}
}
