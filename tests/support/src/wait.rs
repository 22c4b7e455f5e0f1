//! Waits for a condition. No other file of the tests sleeps.

use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(50);

/// The default timeout. It elapses only in failures, so it is long enough for a machine that is
/// building something and running a second copy of the tests at the same time.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Repeats `probe` until it returns a value. Its errors mean "not yet"; if `timeout` elapses first,
/// the error contains the last one.
pub fn poll<T>(what: &str, timeout: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("waited {timeout:?} for {what}"));
            }
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

/// [`poll`] for tests.
///
/// # Panics
/// When `timeout` elapses first; the message contains `what` and the last error.
#[track_caller]
#[expect(
    clippy::panic,
    reason = "a test fails by panicking, at the line of its own that waited"
)]
pub fn until<T>(what: &str, timeout: Duration, probe: impl FnMut() -> Result<T>) -> T {
    match poll(what, timeout, probe) {
        Ok(value) => value,
        Err(error) => panic!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn gives_the_value_as_soon_as_there_is_one() {
        let mut left = 2;
        let value = until("the value", Duration::from_secs(5), || {
            if left > 0 {
                left -= 1;
                bail!("not yet");
            }
            Ok(7)
        });
        assert_eq!(value, 7);
    }

    #[test]
    fn says_what_it_waited_for_and_why_it_did_not_come() {
        let error = poll::<()>("the moon", Duration::ZERO, || bail!("it is day")).unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 0ns for the moon: it is day");
    }
}
