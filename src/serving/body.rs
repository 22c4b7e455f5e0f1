//! Reads request bodies within a deadline, the size limit of their handler, and the memory budget
//! that all reviews share.

use axum::body::{Body, BodyDataStream};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, Request};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::activity::Peer;
use super::memory::{Exhausted, MemoryBudget, MemoryPermit};
use super::source_address::SourceAddress;
use crate::admission::Handler;
use crate::velero::text::single_line;

/// Capacity reserved up front for a body that announces its length. The buffer grows only as bytes
/// arrive, so that an announcement alone takes no memory.
const INITIAL_CAPACITY: usize = 64 << 10;

/// Maximum number of characters of a header that an error quotes.
const MAX_QUOTED_CHARS: usize = 100;

/// The bytes of a body, and the memory that its review may need.
#[derive(Debug)]
pub(super) struct RequestBody {
    pub(super) bytes: Vec<u8>,
    pub(super) permit: MemoryPermit,
}

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body broke off: {0}")]
    Broken(String),
    #[error("too much is under review at the moment; ask again")]
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

impl From<Exhausted> for BodyError {
    fn from(_: Exhausted) -> Self {
        Self::Busy
    }
}

/// Reads request bodies.
#[derive(Clone, Debug)]
pub(super) struct BodyReader {
    budget: MemoryBudget,
}

impl BodyReader {
    /// Creates a reader for bodies whose reviews need up to `memory` bytes together at any time, and
    /// small ones `small_memory` beside the others.
    pub(super) fn new(memory: usize, small_memory: usize) -> Self {
        Self {
            budget: MemoryBudget::new(memory, small_memory),
        }
    }

    /// Reads the body of `request`, which is for `handler`, until `deadline`. A rejected body is still drained and discarded
    /// until then: a client that is still writing would lose our answer if the connection were
    /// closed.
    pub(super) async fn read(
        &self,
        handler: &Handler,
        request: Request<Body>,
        deadline: Instant,
    ) -> Result<RequestBody, BodyError> {
        let (head, body) = request.into_parts();
        let source = head
            .extensions
            .get::<Peer>()
            .map_or(SourceAddress::UNKNOWN, |peer| peer.source);
        let mut stream = body.into_data_stream();
        let result = match check(&head.headers, handler.max_body_bytes) {
            Ok(length) => {
                let fill = self.fill(handler, source, &mut stream, length);
                match timeout_at(deadline, fill).await {
                    Ok(result) => result,
                    Err(_) => return Err(BodyError::Slow),
                }
            }
            Err(error) => Err(error),
        };
        let is_unread = !matches!(result, Ok(_) | Err(BodyError::Broken(_)));
        // A client that sent `Expect: 100-continue` is refused before it sends the body.
        if is_unread && !head.headers.contains_key(EXPECT) {
            tokio::spawn(timeout_at(deadline, discard(stream)));
        }
        result
    }

    async fn fill(
        &self,
        handler: &Handler,
        source: SourceAddress,
        stream: &mut BodyDataStream,
        length: usize,
    ) -> Result<RequestBody, BodyError> {
        let mut permit = self.budget.take(source, handler.memory(0))?;
        let mut bytes = Vec::with_capacity(length.min(INITIAL_CAPACITY));
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| BodyError::Broken(error.to_string()))?;
            let length = bytes.len() + chunk.len();
            if length > handler.max_body_bytes {
                return Err(BodyError::TooLarge(handler.max_body_bytes));
            }
            permit.grow_to(handler.memory(length))?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(RequestBody { bytes, permit })
    }
}

/// Checks what the headers say about a body of at most `max_bytes`. Returns the announced length, or
/// 0 if there is none.
fn check(headers: &HeaderMap, max_bytes: usize) -> Result<usize, BodyError> {
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
        Ok(length) if length <= max_bytes => Ok(length),
        _ => Err(BodyError::TooLarge(max_bytes)),
    }
}

/// Reads and discards the body of a refused request in the background, until `deadline`, unless the
/// client waits for an answer before it sends the body.
pub(super) fn discard_body(request: Request<Body>, deadline: Instant) {
    if !request.headers().contains_key(EXPECT) {
        let stream = request.into_body().into_data_stream();
        tokio::spawn(timeout_at(deadline, discard(stream)));
    }
}

async fn discard(mut stream: BodyDataStream) {
    while let Some(Ok(_)) = stream.next().await {}
}
