//! How a Backup went away, as its record remembers it.

pub use crate::decision::Departure;

/// What was seen of a Backup before it went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSeen {
    /// Velero was deleting it.
    Deleting,
    /// It was there, as any.
    Present,
}

/// Returns how a Backup went away that is gone `now`. `expires` is when its time to live is over, and both are in
/// seconds since 1970. Velero deletes an expired Backup as one that somebody asks it to delete
/// (`pkg/controller/gc_controller.go`).
pub fn departure(last: Option<LastSeen>, expires: Option<i64>, now: i64) -> Departure {
    let is_expired = expires.is_some_and(|expires| expires <= now);
    match last {
        Some(LastSeen::Present) => Departure::Vanished,
        _ if is_expired => Departure::Expired,
        Some(LastSeen::Deleting) => Departure::Deleted,
        None => Departure::Unseen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_last_tells_how_a_backup_went() {
        let (deleting, present) = (Some(LastSeen::Deleting), Some(LastSeen::Present));
        for (last, expires, expected) in [
            (deleting, None, Departure::Deleted),
            (deleting, Some(11), Departure::Deleted),
            (deleting, Some(10), Departure::Expired),
            (present, None, Departure::Vanished),
            // Velero says of an expired one that it deletes it, too.
            (present, Some(10), Departure::Vanished),
            (None, Some(10), Departure::Expired),
            (None, Some(11), Departure::Unseen),
            (None, None, Departure::Unseen),
        ] {
            assert_eq!(
                departure(last, expires, 10),
                expected,
                "{last:?} {expires:?}"
            );
        }
    }
}
