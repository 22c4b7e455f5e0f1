//! When a Backup was complete, as it was seen first.
//!
//! Whoever may write Backups may write the time in their `metadata.managedFields`, and every later
//! write of Velero moves it. So what was seen first is kept, and a later time counts for nothing.

/// How much later than the clock that was read a phase may be stored, in seconds: servers of one
/// cluster differ by that.
pub const MAX_AHEAD_SECONDS: i64 = 60;

/// What the first sight of a complete Backup told, in seconds since 1970 by the clock of the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinalPhase {
    /// When the API server stored the phase, by the Backup.
    pub stored: Option<i64>,
    /// When that was seen.
    pub seen: Option<i64>,
}

impl FinalPhase {
    /// Returns what the first sight tells of a Backup that says `stored`. A time in the future is none.
    pub fn at_first_sight(stored: Option<i64>, seen: Option<i64>) -> Self {
        let stored = stored.filter(|stored| is_possible(*stored, seen));
        Self { stored, seen }
    }

    /// Returns when the Backup was complete, where it says `told` now: the earliest of all. `None` if
    /// nothing tells.
    pub fn completed(self, told: Option<i64>) -> Option<i64> {
        let all = [self.stored, told].into_iter().flatten();
        let earliest = all.filter(|time| is_possible(*time, self.seen)).min()?;
        Some(self.seen.map_or(earliest, |seen| earliest.min(seen)))
    }
}

/// Whether a phase that was there at `seen` can have been stored at `stored`.
fn is_possible(stored: i64, seen: Option<i64>) -> bool {
    seen.is_none_or(|seen| stored <= seen.saturating_add(MAX_AHEAD_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_time_never_wins() {
        let first = |stored, seen| FinalPhase::at_first_sight(stored, seen);
        for (first, told, completed) in [
            (first(Some(100), Some(101)), Some(100), Some(100)),
            (first(Some(100), Some(101)), Some(150), Some(100)),
            (first(Some(100), Some(101)), Some(900), Some(100)),
            (first(Some(100), Some(101)), None, Some(100)),
            (first(Some(100), Some(101)), Some(90), Some(90)),
            // What the Backup did not tell at first is no later than the first sight.
            (first(None, Some(101)), Some(150), Some(101)),
            (first(None, Some(101)), Some(90), Some(90)),
            (first(None, Some(101)), None, None),
            // A time that was in the future then.
            (first(Some(161), Some(101)), Some(161), Some(101)),
            (first(Some(162), Some(101)), Some(162), None),
            // The clock could not be read.
            (first(Some(100), None), Some(150), Some(100)),
            (first(None, None), Some(150), Some(150)),
            (first(None, None), None, None),
        ] {
            assert_eq!(first.completed(told), completed, "{first:?} {told:?}");
        }
    }
}
