//! Reads from the API server that hold the answer once, as bytes.

use std::pin::pin;

use futures::AsyncBufReadExt as _;
use http::Request;
use kube::{Client, Error};

/// Most bytes of one answer. An object has at most 1.5 MiB, the limit of etcd, so that neither an
/// object nor a page of ten is longer.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Returns the body of the answer to `request`. kube's own requests hold it twice, and then parse
/// the whole object.
pub(super) async fn fetch(client: &Client, request: Request<Vec<u8>>) -> kube::Result<Vec<u8>> {
    let mut body = pin!(client.request_stream(request).await?);
    let mut answer = Vec::new();
    // `read_to_end` would write zeros into the whole rest of its buffer before each read.
    loop {
        let chunk = body.fill_buf().await.map_err(Error::ReadEvents)?;
        if chunk.is_empty() {
            return Ok(answer);
        }
        let length = chunk.len();
        if answer.len() + length > MAX_ANSWER_BYTES {
            let message = format!("the answer has more than {} MiB", MAX_ANSWER_BYTES >> 20);
            return Err(Error::Service(message.into()));
        }
        answer.extend_from_slice(chunk);
        body.consume_unpin(length);
    }
}

/// Returns the answer to a GET of one object, or `None` if the API server says that the object does
/// not exist.
pub(super) async fn fetch_opt(
    client: &Client,
    request: Request<Vec<u8>>,
) -> kube::Result<Option<Vec<u8>>> {
    match fetch(client, request).await {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
