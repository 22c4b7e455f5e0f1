//! Lists and watches that are read while they arrive, so that only one object at a time is held.

mod body;
mod list_splitter;

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

pub(super) use self::body::Body;
pub(super) use self::list_splitter::ListSplitter;

/// Most pages of lists that are read at the same time. Each holds the text of an object, which has
/// up to 9 MiB: etcd stores 1.5 MiB, and JSON writes some characters as six.
const MAX_CONCURRENT_PAGES: usize = 2;

/// Longest wait for a permit to read a page. Then it is read without one: a watch makes progress
/// only while somebody waits for it, and one that holds a permit must not block the others.
const PERMIT_TIMEOUT: Duration = Duration::from_millis(500);

static PAGES: Semaphore = Semaphore::const_new(MAX_CONCURRENT_PAGES);

/// Waits for a permit to read a page of a list; `None` after [`PERMIT_TIMEOUT`].
pub(super) async fn page_permit() -> Option<SemaphorePermit<'static>> {
    let permit = timeout(PERMIT_TIMEOUT, PAGES.acquire()).await;
    permit.ok().and_then(Result::ok)
}
