//! The Restores that Velero did not begin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::evaluation::Decision;
use crate::controllers::channels::{WaitingByBackup, WaitingRestores};
use crate::decision::{Key, WaitKind};
use crate::kubernetes::crds::ReadingMark;

/// Restores of one namespace that wait. The others are looked at when there is room.
const MAX_OF_NAMESPACE: usize = 500;

/// Restores of all namespaces that wait.
const MAX_WAITING: usize = 2_000;

/// Time in which Velero tries a Restore by itself after it was made.
const OWN_TRY: Duration = Duration::from_secs(3);

/// Age of a Restore before which Velero is never asked to try it again.
const MIN_AGE: Duration = Duration::from_secs(1);

/// First pause before Velero is asked again to try a Restore; each further one doubles it. Each costs Velero
/// a round.
const MIN_NUDGE_PAUSE: Duration = Duration::from_secs(10);

/// Longest such pause. Where no Velero runs, nothing tries the Restore.
const MAX_NUDGE_PAUSE: Duration = Duration::from_mins(10);

/// Pause before a Restore that waits is looked at again although nothing changed.
const POLL_PAUSE: Duration = Duration::from_secs(15);

/// The same for each Restore that waits, if they are many.
const POLL_SPACING: Duration = Duration::from_millis(50);

/// Pause before it is told again how far the files are read for which a Restore waits.
const PROGRESS_PAUSE: Duration = Duration::from_mins(1);

/// What is told of a Restore that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// What it waits for, for people.
    pub(super) message: String,
    /// Whether nothing is new but how far that is.
    pub(super) is_repeated: bool,
}

/// A Restore that Velero did not begin.
#[derive(Clone, Debug)]
pub(super) struct WaitingRestore {
    pub(super) uid: String,
    pub(super) seen: Instant,
    /// The last decisions, for each Backup from which Velero may restore; `None` before the first.
    pub(super) decisions: Option<Vec<(String, Decision)>>,
    /// Whether it was ever decided that it waits, so that Velero does not try it at once.
    pub(super) was_held: bool,
    /// When Velero was last asked to try it again, and how often in a row.
    pub(super) nudged: Option<(Instant, u32)>,
    /// What the last Event says that it waits for, why nothing is read, and when that was.
    pub(super) told: Option<(Vec<WaitKind>, Option<&'static str>, Instant)>,
    /// The readings of the Backups as they were before the last decisions.
    pub(super) marks: Vec<ReadingMark>,
}

impl WaitingRestore {
    pub(super) fn new(uid: &str, now: Instant) -> Self {
        Self {
            uid: uid.to_owned(),
            seen: now,
            decisions: None,
            was_held: false,
            nudged: None,
            told: None,
            marks: Vec::new(),
        }
    }

    /// Whether it waits, by the last decisions.
    pub(super) fn is_held(&self) -> bool {
        let mut decisions = self.decisions.iter().flatten();
        decisions.any(|(_, decision)| decision.is_wait())
    }

    /// Whether Velero may restore from the Backup of this name, by the last decisions.
    pub(super) fn waits_for(&self, backup: &str) -> bool {
        let mut decisions = self.decisions.iter().flatten();
        decisions.any(|(name, _)| name == backup)
    }

    /// Returns how long it takes until Velero may be asked to try it again.
    pub(super) fn until_nudge(&self, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.seen);
        let min_age = if self.was_held { MIN_AGE } else { OWN_TRY };
        let rest = self.nudged.map_or(Duration::ZERO, |(at, times)| {
            let doubled = 2_u32.saturating_pow(times.saturating_sub(1));
            let pause = MIN_NUDGE_PAUSE.saturating_mul(doubled).min(MAX_NUDGE_PAUSE);
            pause.saturating_sub(now.saturating_duration_since(at))
        });
        min_age.saturating_sub(age).max(rest)
    }

    /// Notes that Velero was asked.
    pub(super) fn note_nudge(&mut self, now: Instant) {
        let times = self.nudged.map_or(0, |(_, times)| times);
        self.nudged = Some((now, times.saturating_add(1)));
    }

    /// Notes new decisions. Returns whether it waits.
    pub(super) fn decide(&mut self, decisions: Vec<(String, Decision)>) -> bool {
        self.decisions = Some(decisions);
        let waits = self.is_held();
        if waits {
            self.was_held = true;
            // Velero's next try finds something new.
            if let Some((_, times)) = &mut self.nudged {
                *times = 1;
            }
        }
        waits
    }

    /// Returns what it waits for, for people, if that is not what was told last, or is told again because
    /// files are read for a long time. With `trouble`, no files are read at all.
    pub(super) fn news(&mut self, now: Instant, trouble: Option<&'static str>) -> Option<News> {
        let mut kinds = Vec::new();
        let mut messages = Vec::new();
        for (_, decision) in self.decisions.iter().flatten() {
            if let Decision::Waits {
                kinds: its,
                message,
            } = decision
            {
                let is_in_trouble = its.contains(&WaitKind::Reading);
                kinds.extend(its);
                messages.push(trouble.filter(|_| is_in_trouble).unwrap_or(message));
            }
        }
        if messages.is_empty() {
            return None;
        }
        let told = self.told.as_ref();
        let is_repeated = told.is_some_and(|(told, why, _)| (told, *why) == (&kinds, trouble));
        if let Some((.., at)) = told
            && is_repeated
            && !(kinds.contains(&WaitKind::Reading)
                && now.saturating_duration_since(*at) >= PROGRESS_PAUSE)
        {
            return None;
        }
        self.told = Some((kinds, trouble, now));
        Some(News {
            message: messages.join("; "),
            is_repeated,
        })
    }
}

/// Whether another Restore of `namespace` can wait.
pub(super) fn has_room(waiting: &BTreeMap<Key, WaitingRestore>, namespace: &str) -> bool {
    let from = waiting.range(Key::new(namespace, "")..);
    let of_namespace = from.take_while(|(key, _)| key.namespace == namespace);
    waiting.len() < MAX_WAITING && of_namespace.count() < MAX_OF_NAMESPACE
}

/// Returns the pause before each of so many Restores is looked at again.
pub(super) fn poll_pause(count: usize) -> Duration {
    let spaced = POLL_SPACING.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
    spaced.max(POLL_PAUSE)
}

/// Returns what the recorder is told of those Restores about which something is decided.
pub(super) fn by_backup(waiting: &BTreeMap<Key, WaitingRestore>) -> WaitingByBackup {
    let mut all: BTreeMap<Key, WaitingRestores> = BTreeMap::new();
    for (key, restore) in waiting {
        for (backup, decision) in restore.decisions.iter().flatten() {
            let (needs_reading, is_stale) = match decision {
                Decision::Refused => continue,
                Decision::Ready => (false, false),
                Decision::Waits { kinds, .. } => {
                    let kinds = || kinds.iter();
                    let needs_reading = kinds().any(|kind| *kind != WaitKind::PodVolumes);
                    (
                        needs_reading,
                        // What failed after a reading is tried again, although that covers it.
                        kinds().any(|kind| matches!(kind, WaitKind::Changed | WaitKind::Failing)),
                    )
                }
            };
            let restores = all.entry(Key::new(&key.namespace, backup)).or_default();
            if is_stale {
                restores.stale.extend(&restore.marks);
            }
            let uids = if needs_reading {
                &mut restores.unread
            } else {
                &mut restores.others
            };
            uids.insert(restore.uid.clone());
        }
    }
    Arc::new(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(kinds: &[WaitKind]) -> Decision {
        Decision::Waits {
            kinds: kinds.iter().copied().collect(),
            message: format!("{kinds:?}"),
        }
    }

    fn restore(decision: Decision) -> WaitingRestore {
        let mut restore = WaitingRestore::new("u", Instant::now());
        restore.decide(vec![("b".into(), decision)]);
        restore
    }

    #[test]
    fn velero_is_asked_after_its_own_try_and_ever_more_seldom() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut one = WaitingRestore::new("u", start);
        one.decide(vec![("b".into(), Decision::Ready)]);
        assert_eq!(one.until_nudge(start), OWN_TRY);
        assert_eq!(one.until_nudge(after(3)), Duration::ZERO);
        let mut held = restore(waits(&[WaitKind::Reading]));
        held.seen = start;
        assert_eq!(held.until_nudge(start), MIN_AGE);
        held.decide(vec![("b".into(), Decision::Ready)]);
        for (now, pause) in [(10, 10), (20, 20), (40, 40), (80, 80)] {
            held.note_nudge(after(now));
            assert_eq!(held.until_nudge(after(now)), Duration::from_secs(pause));
        }
        for _ in 0..40 {
            held.note_nudge(after(100));
        }
        assert_eq!(held.until_nudge(after(100)), MAX_NUDGE_PAUSE);
        // What it waits for is new, and so is its end.
        held.decide(vec![("b".into(), waits(&[WaitKind::Changed]))]);
        assert_eq!(held.until_nudge(after(100)), MIN_NUDGE_PAUSE);
    }

    #[test]
    fn a_namespace_full_of_restores_leaves_room_for_others() {
        let mut waiting = BTreeMap::new();
        let fill = |namespace: &str| {
            let mut count = 0;
            while has_room(&waiting, namespace) {
                let one = restore(Decision::Ready);
                waiting.insert(Key::new(namespace, format!("r{count}")), one);
                count += 1;
            }
            count
        };
        let counts = ["b", "a", "d", "c", "e"].map(fill);
        assert_eq!(counts, [500, 500, 500, 500, 0]);
    }

    #[test]
    fn the_recorder_is_told_who_waits_for_files_and_who_is_there() {
        let told = |decision| {
            let waiting = BTreeMap::from([(Key::new("velero", "r"), restore(decision))]);
            let all = by_backup(&waiting);
            let of_backup = all.get(&Key::new("velero", "b"));
            of_backup.map(|told| (told.unread.len(), told.others.len()))
        };
        for kind in [
            WaitKind::Recording,
            WaitKind::Reading,
            WaitKind::Changed,
            WaitKind::Failing,
        ] {
            assert_eq!(told(waits(&[kind, WaitKind::PodVolumes])), Some((1, 0)));
        }
        assert_eq!(told(waits(&[WaitKind::PodVolumes])), Some((0, 1)));
        assert_eq!(told(waits(&[])), Some((0, 1)));
        assert_eq!(told(Decision::Ready), Some((0, 1)));
        assert_eq!(told(Decision::Refused), None);
    }

    #[test]
    fn each_reason_to_wait_is_told_once() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let news = |message: &str, is_repeated| {
            let message = message.to_owned();
            Some(News {
                message,
                is_repeated,
            })
        };
        let mut one = restore(waits(&[WaitKind::Reading]));
        assert_eq!(one.news(start, None), news("[Reading]", false));
        assert_eq!(one.news(after(59), None), None);
        // How far it is.
        assert_eq!(one.news(after(60), None), news("[Reading]", true));
        assert_eq!(one.news(after(119), None), None);
        one.decide(vec![("b".into(), Decision::Ready)]);
        assert_eq!(one.news(after(200), None), None);
        one.decide(vec![("b".into(), waits(&[WaitKind::Failing]))]);
        assert_eq!(one.news(after(200), None), news("[Failing]", false));
        assert_eq!(one.news(after(900), None), None);
        // It is no matter of this backup.
        one.decide(vec![("b".into(), waits(&[WaitKind::Reading]))]);
        assert_eq!(one.news(after(901), Some("old")), news("old", false));
        assert_eq!(one.news(after(902), Some("old")), None);
        assert_eq!(one.news(after(903), None), news("[Reading]", false));
        one.decide(vec![("b".into(), waits(&[WaitKind::Recording]))]);
        assert_eq!(
            one.news(after(904), Some("old")),
            news("[Recording]", false)
        );
        assert_eq!(poll_pause(3), POLL_PAUSE);
        assert_eq!(poll_pause(1_000), Duration::from_secs(50));
    }
}
