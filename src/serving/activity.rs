//! What a connection has been used for, as its task tells the listener.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::source_address::SourceAddress;

/// What a connection has been used for. When one must be closed to make room, the smallest is: the
/// order of the variants comes first, then the earlier moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Activity {
    /// It was opened then, and no whole review has been received. A client that floods has these.
    Unproven(Instant),
    /// Its last review was answered then. Its client can open another one.
    Idle(Instant),
    /// A whole review was received then, and is being answered. The review would be lost.
    Reviewing(Instant),
}

/// The client of a connection. It is an extension of each of its requests.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The address of the client.
    pub(super) source: SourceAddress,
    activity: Arc<Mutex<Activity>>,
}

/// A mark on the answer to a whole review, whatever its result. Only such an answer leaves its
/// connection open.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswersReview;

impl Peer {
    /// Creates the client of a connection that was opened `now`.
    pub(super) fn new(source: SourceAddress, now: Instant) -> Self {
        Self {
            source,
            activity: Arc::new(Mutex::new(Activity::Unproven(now))),
        }
    }

    /// Returns what the connection has been used for.
    pub(super) fn activity(&self) -> Activity {
        *self.locked()
    }

    /// Records that a whole review was received `now`.
    pub(super) fn begin_review(&self, now: Instant) {
        *self.locked() = Activity::Reviewing(now);
    }

    /// Records that the review is answered `now`.
    pub(super) fn end_review(&self, now: Instant) {
        *self.locked() = Activity::Idle(now);
    }

    fn locked(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
