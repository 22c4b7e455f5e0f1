//! The time of day.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use crate::ca::merged_bundle::Moment;

/// Where the steady clock begins.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// This moment, by the time of day and by a clock that never jumps.
pub(super) fn moment() -> Moment {
    Moment {
        wall: now(),
        steady: START.elapsed().as_secs(),
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
