//! Locations whose bucket did not answer in time. They are left alone for a while, so that who waits for
//! one of them does not wait anew with each look-up.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::decision::{Key, LookupError};

/// Most locations that are remembered. Beyond, the one that was late first is asked again.
const MAX_LOCATIONS: usize = 256;

/// The locations that are left alone.
#[derive(Default)]
pub(super) struct LateLocations(Mutex<HashMap<Key, Late>>);

struct Late {
    until: Instant,
    pause: Duration,
    error: LookupError,
}

impl LateLocations {
    /// Returns why `location` is left alone at `now`, if it is.
    pub(super) fn get(&self, location: &Key, now: Instant) -> Option<LookupError> {
        let late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late = late.get(location).filter(|late| now < late.until)?;
        let LookupError { kind, message } = &late.error;
        let seconds = late.pause.as_secs();
        Some(LookupError {
            kind: *kind,
            message: format!("it is left alone for {seconds} s, because {message}"),
        })
    }

    /// Leaves `location`, which was late with this `error`, alone from `now` on, for this time.
    pub(super) fn insert(&self, location: Key, error: &LookupError, pause: Duration, now: Instant) {
        let mut late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if late.len() >= MAX_LOCATIONS {
            late.retain(|_, late| now < late.until);
        }
        if late.len() >= MAX_LOCATIONS {
            let first = late.iter().min_by_key(|(_, late)| late.until);
            if let Some(first) = first.map(|(location, _)| location.clone()) {
                late.remove(&first);
            }
        }
        let late_location = Late {
            until: now + pause,
            pause,
            error: error.clone(),
        };
        late.insert(location, late_location);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::LookupErrorKind;

    const PAUSE: Duration = Duration::from_secs(15);

    fn error() -> LookupError {
        LookupError {
            kind: LookupErrorKind::Timeout,
            message: "the store did not answer in time".to_owned(),
        }
    }

    #[test]
    fn a_location_is_left_alone_for_a_while() {
        let late = LateLocations::default();
        let (now, key) = (Instant::now(), Key::new("velero", "default"));
        assert_eq!(late.get(&key, now), None);
        late.insert(key.clone(), &error(), PAUSE, now);
        let told = late.get(&key, now + PAUSE - Duration::from_millis(1));
        let told = told.unwrap();
        assert_eq!(told.kind, LookupErrorKind::Timeout);
        assert_eq!(
            told.message,
            "it is left alone for 15 s, because the store did not answer in time"
        );
        assert_eq!(late.get(&key, now + PAUSE), None);
        assert_eq!(late.get(&Key::new("other", "default"), now), None);
    }

    #[test]
    fn no_more_are_remembered_than_the_bound() {
        let late = LateLocations::default();
        let now = Instant::now();
        let key = |number: usize| Key::new("velero", number.to_string());
        let at = |number: usize| now + Duration::from_millis(number.try_into().unwrap());
        for number in 0..=MAX_LOCATIONS {
            late.insert(key(number), &error(), PAUSE, at(number));
        }
        assert_eq!(late.0.lock().unwrap().len(), MAX_LOCATIONS);
        assert_eq!(late.get(&key(0), at(1)), None, "the first makes room");
        for number in 1..=MAX_LOCATIONS {
            assert!(late.get(&key(number), at(MAX_LOCATIONS)).is_some());
        }
        // What is over makes room before anything else does.
        late.insert(key(0), &error(), PAUSE, now + 2 * PAUSE);
        assert_eq!(late.0.lock().unwrap().len(), 1);
    }
}
