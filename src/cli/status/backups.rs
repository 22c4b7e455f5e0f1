//! How many backups could be restored now.

use std::borrow::Cow;

use kube::Client;

use super::model::{Backups, Enforced, NotRecordedBackups};
use crate::admission::webhook_state::{Effect, WebhookStatus};
use crate::cli::snapshot::{self, BackupTally, KnownBackup, Ledger, LedgerError};
use crate::decision::{Policy, RestoresMode};
use crate::kubernetes::crds::TrustedKey;
use crate::velero::bsl::Bsl;

/// The resource whose webhook decides.
const RESTORES: &str = "restores";

/// The reason for every backup while the API server refuses every Restore.
const ALL_REFUSED: &str = "every Restore is refused now";

/// What becomes of Restores now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Review {
    /// They are reviewed under this policy.
    Reviewed(Policy),
    /// The API server refuses all of them.
    Refused,
    /// That is not known, for this reason.
    Unknown(String),
}

impl Review {
    /// Reads the policy of the installation in the namespace `own`, whose webhooks have this status.
    pub(super) async fn read(client: &Client, own: &str, webhooks: &[WebhookStatus]) -> Self {
        Self::of(webhooks, snapshot::read_restores_policy(client, own).await)
    }

    /// Returns the policy by which it is counted; one that judges nothing where Restores are not reviewed.
    fn policy(&self) -> Cow<'_, Policy> {
        match self {
            Self::Reviewed(policy) => Cow::Borrowed(policy),
            Self::Refused | Self::Unknown(_) => Cow::Owned(Policy::new(RestoresMode::Off)),
        }
    }

    fn of(webhooks: &[WebhookStatus], policy: Result<Policy, String>) -> Self {
        let webhook = webhooks.iter().find(|one| one.webhook == RESTORES);
        match webhook.map(|one| one.requests) {
            Some(Effect::Refused) => Self::Refused,
            Some(Effect::Unjudged) => {
                let policy = policy.unwrap_or_default();
                Self::Reviewed(policy.with_restores(RestoresMode::Off))
            }
            Some(Effect::JudgedElsewhere) => {
                Self::Unknown("an installation in another namespace judges Restores".to_owned())
            }
            Some(Effect::Judged | Effect::PartlyUnjudged | Effect::Unknown) | None => {
                policy.map_or_else(Self::Unknown, Self::Reviewed)
            }
        }
    }
}

/// Backups by their namespace, or why they could not be read.
type BackupsByNamespace = Vec<(String, Result<Vec<KnownBackup>, String>)>;

/// Reads the Backups of the `namespaces`.
pub(super) async fn read(client: &Client, namespaces: &[String]) -> BackupsByNamespace {
    let mut backups = Vec::new();
    for namespace in namespaces {
        let read = snapshot::read_backups(client, namespace).await;
        backups.push((namespace.clone(), read));
    }
    backups
}

/// Reads the records, by which and the `keys` it is decided which of the `backups` could be restored.
pub(super) async fn read_ledger(
    client: &Client,
    keys: &Result<Vec<TrustedKey>, LedgerError>,
    backups: &BackupsByNamespace,
    review: &Review,
) -> Ledger {
    let read = backups.iter().filter_map(|(namespace, backups)| {
        let backups = backups.as_deref().ok()?;
        Some((namespace.as_str(), backups))
    });
    Ledger::read(client, keys, &read.collect::<Vec<_>>(), &review.policy()).await
}

/// The backups of a namespace, and what decides whether they could be restored.
pub(super) struct Unjudged<'a> {
    /// The Backups, or why they could not be read.
    pub(super) backups: Result<&'a [KnownBackup], &'a String>,
    pub(super) review: &'a Review,
    pub(super) ledger: &'a Ledger,
}

impl Unjudged<'_> {
    /// Counts them, where they are in `namespace`, which has these `locations`.
    pub(super) fn count(&self, namespace: &str, locations: &[Bsl<'_>]) -> Backups {
        let policy = self.review.policy();
        let count = |backups| BackupTally::of(namespace, backups, locations, &policy, self.ledger);
        let tally = self.backups.map(count);
        let unknown = self.ledger.unknown();
        summarize(namespace, self.review, unknown, tally.map_err(Clone::clone))
    }
}

/// Returns what is shown. `unknown` is why it is not known what a review would say.
fn summarize(
    namespace: &str,
    review: &Review,
    unknown: Option<&str>,
    tally: Result<BackupTally, String>,
) -> Backups {
    let mode = match review {
        Review::Reviewed(policy) => Some(policy.restores_mode(namespace)),
        Review::Refused | Review::Unknown(_) => None,
    };
    let restores = mode.map(RestoresMode::as_str);
    let tally = match tally {
        Ok(tally) => tally,
        Err(why) => {
            return Backups {
                restores,
                message: Some(why),
                ..Backups::default()
            };
        }
    };
    let counted = Backups {
        restores,
        total: Some(tally.total),
        ..recorded(tally.records)
    };
    match (review, unknown) {
        (Review::Reviewed(_), Some(why)) if mode != Some(RestoresMode::Off) => Backups {
            message: Some(why.to_owned()),
            ..counted
        },
        (Review::Reviewed(_), _) => Backups {
            restorable: Some(tally.restorable),
            reasons: tally.reasons,
            enforced: unknown.is_none().then(|| Enforced {
                refused: tally.refused_if_enforced.values().sum(),
                reasons: tally.refused_if_enforced,
            }),
            ..counted
        },
        (Review::Refused, _) => Backups {
            restorable: Some(0),
            reasons: [(ALL_REFUSED.to_owned(), tally.total)].into(),
            ..counted
        },
        (Review::Unknown(why), _) => Backups {
            message: Some(why.clone()),
            ..counted
        },
    }
}

/// Returns how many backups are recorded, and the others with the most frequent reason first.
fn recorded(tally: Option<snapshot::RecordTally>) -> Backups {
    let Some(tally) = tally else {
        return Backups::default();
    };
    let recorded = tally.recorded();
    let others = tally.others.into_iter();
    let mut not_recorded: Vec<_> = others
        .map(|(why, backups)| NotRecordedBackups { why, backups })
        .collect();
    not_recorded.sort_by_key(|others| std::cmp::Reverse(others.backups.count));
    Backups {
        recorded: Some(recorded),
        levels: tally.levels,
        imported: tally.imported,
        not_recorded,
        ..Backups::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::webhook_state::WebhookState;

    fn webhooks(requests: Effect) -> Vec<WebhookStatus> {
        vec![WebhookStatus {
            webhook: RESTORES,
            state: WebhookState::Unknown,
            requests,
            message: String::new(),
            fix: String::new(),
        }]
    }

    #[test]
    fn restores_that_are_not_sent_to_us_are_not_ours_to_judge() {
        let of = |effect| Review::of(&webhooks(effect), Ok(Policy::default()));
        assert_eq!(of(Effect::Judged), Review::Reviewed(Policy::default()));
        assert_eq!(of(Effect::Unknown), Review::Reviewed(Policy::default()));
        assert_eq!(of(Effect::Refused), Review::Refused);
        assert!(matches!(of(Effect::JudgedElsewhere), Review::Unknown(_)));
        let off = Policy::new(RestoresMode::Off);
        assert_eq!(of(Effect::Unjudged), Review::Reviewed(off.clone()));
        let unread = Err("no right".to_owned());
        let unjudged = Review::of(&webhooks(Effect::Unjudged), unread);
        assert_eq!(unjudged, Review::Reviewed(off));
        let mut enforced = Policy::default();
        let mode = RestoresMode::Enforce;
        enforced.restores_in.insert("velero".to_owned(), mode);
        match Review::of(&webhooks(Effect::Unjudged), Ok(enforced)) {
            Review::Reviewed(policy) => {
                assert_eq!(policy.restores_mode("velero"), RestoresMode::Off);
            }
            other => panic!("{other:?}"),
        }
        let unread = Review::of(&webhooks(Effect::Judged), Err("no right".to_owned()));
        assert_eq!(unread, Review::Unknown("no right".to_owned()));
    }

    #[test]
    fn what_is_not_known_is_no_number() {
        let tally = || BackupTally {
            total: 3,
            restorable: 2,
            reasons: [("failed".to_owned(), 1)].into(),
            refused_if_enforced: [("denied".to_owned(), 1), ("too".to_owned(), 1)].into(),
            records: None,
        };
        let reviewed = Review::Reviewed(Policy::default());
        let known = summarize("velero", &reviewed, None, Ok(tally()));
        assert_eq!(
            (known.restores, known.total, known.restorable),
            (Some("enforce"), Some(3), Some(2))
        );
        assert_eq!(known.reasons, tally().reasons);
        assert_eq!(known.enforced.unwrap().refused, 2);
        let refused = summarize("velero", &Review::Refused, None, Ok(tally()));
        assert_eq!((refused.total, refused.restorable), (Some(3), Some(0)));
        assert_eq!(refused.reasons, [(ALL_REFUSED.to_owned(), 3)].into());
        let unknown = summarize(
            "velero",
            &Review::Unknown("why".to_owned()),
            None,
            Ok(tally()),
        );
        assert_eq!((unknown.total, unknown.restorable), (Some(3), None));
        assert_eq!(unknown.message.as_deref(), Some("why"));
        let unread = summarize("velero", &reviewed, None, Err("no right".to_owned()));
        assert_eq!((unread.total, unread.restorable), (None, None));
        assert_eq!(
            (refused.enforced, unknown.enforced, unread.enforced),
            (None, None, None)
        );
        let keys = Some("the keys cannot be read");
        let unread_keys = summarize("velero", &reviewed, keys, Ok(tally()));
        assert_eq!((unread_keys.total, unread_keys.restorable), (Some(3), None));
        assert_eq!(unread_keys.message.as_deref(), keys);
        assert_eq!(unread_keys.enforced, None);
        let off = Review::Reviewed(Policy::new(RestoresMode::Off));
        let unjudged = summarize("velero", &off, keys, Ok(tally()));
        assert_eq!((unjudged.restorable, unjudged.enforced), (Some(2), None));
        let mut staging = Policy::default();
        let mode = RestoresMode::Warn;
        staging.restores_in.insert("staging".to_owned(), mode);
        let staging = Review::Reviewed(staging);
        for (namespace, mode) in [("velero", "enforce"), ("staging", "warn")] {
            let known = summarize(namespace, &staging, None, Ok(tally()));
            assert_eq!(known.restores, Some(mode), "{namespace}");
        }
        assert_eq!(unread.message.as_deref(), Some("no right"));
    }
}
