//! Reviews of large bodies run beside the threads that serve connections, a few at a time, so that
//! they do not delay the reviews of others.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::budget::Budget;
use super::memory::MemoryPermit;
use crate::admission::{Answer, failure};

/// Size of a body in bytes from which its review runs beside the others. A smaller one takes a few
/// milliseconds at most. Reviews of real objects have tens of KiB, and to hand them to another
/// thread would cost as much as the review.
const LARGE_BYTES: usize = 256 << 10;

/// Number of large reviews at a time: the number of cores that every node has.
const MAX_CONCURRENT: usize = 2;

/// Runs reviews.
#[derive(Clone, Debug)]
pub(super) struct ReviewRunner {
    large: Arc<Semaphore>,
}

impl Default for ReviewRunner {
    fn default() -> Self {
        Self {
            large: Arc::new(Semaphore::new(MAX_CONCURRENT)),
        }
    }
}

impl ReviewRunner {
    /// Runs `review`, whose body has `bytes`. That of a large body waits for its turn until the
    /// answer is due. The answer comes with the memory of the review, unless it was not run.
    pub(super) async fn run(
        &self,
        bytes: usize,
        budget: Budget,
        review: impl Future<Output = (Answer, MemoryPermit)> + Send + 'static,
    ) -> (Answer, Option<MemoryPermit>) {
        if bytes < LARGE_BYTES {
            let (answer, permit) = review.await;
            return (answer, Some(permit));
        }
        let turn = Arc::clone(&self.large).acquire_owned();
        let Ok(Ok(turn)) = timeout_at(budget.answer, turn).await else {
            let why = "too many large objects are under review at the moment; ask again";
            return (failure(503, why), None);
        };
        let runtime = Handle::current();
        let review = Box::pin(review);
        let work = spawn_blocking(move || {
            let (answer, permit) = runtime.block_on(review);
            drop(turn);
            (answer, Some(permit))
        });
        let failed = || {
            let why = "the review failed; the log says where";
            (failure(500, why), None)
        };
        work.await.unwrap_or_else(|_| failed())
    }
}
