//! Reads the system clocks. Decisions take the time as an argument; only their callers read it
//! here.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use crate::ca::merged_bundle::Moment;

/// The start of [`Moment::steady`].
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the current time by the wall clock and by a clock that never jumps.
pub fn moment() -> Moment {
    Moment {
        wall: now(),
        steady: START.elapsed().as_secs(),
    }
}

/// Returns the current time in seconds since 1970; 0 if the clock is set before that.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
