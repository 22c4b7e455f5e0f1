//! What is asked about a Restore.

use crate::decision::{Backup, Key, Policy, RestoresMode, Verb};
use crate::names::{ACCEPT_INSECURE_ANNOTATION, ACCEPTED_BY_ANNOTATION, ACCEPTED_WITH_ANNOTATION};
use crate::velero::restore::Restore;
use crate::velero::text::{or_empty, seconds};

/// When a Restore is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When somebody creates it, or changes it before Velero begins: by what is known already.
    Create,
    /// When Velero begins it: by its files as they are in the bucket.
    Gate,
}

/// A question about a Restore.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// When it is asked.
    pub moment: Moment,
    /// The namespace of the Restore.
    pub namespace: &'a str,
    /// The Restore.
    pub restore: &'a Restore<'a>,
    /// The operator's settings.
    pub policy: &'a Policy,
    /// The time, in seconds since 1970.
    pub now: i64,
}

/// What a user said about a Restore with the right to do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance<'a> {
    /// The name of the user.
    pub by: &'a str,
    /// The right that the user had then.
    pub with: Verb,
    /// The reason.
    pub reason: &'a str,
}

/// Longest reason that counts, in bytes. It is repeated in Events and in the record.
pub(super) const MAX_REASON_BYTES: usize = 512;

#[cfg(test)]
impl<'a> Question<'a> {
    /// Asks about a Restore of the namespace `velero` that Velero begins.
    pub(super) fn at_gate(restore: &'a Restore<'a>, policy: &'a Policy, now: i64) -> Self {
        Self {
            moment: Moment::Gate,
            namespace: "velero",
            restore,
            policy,
            now,
        }
    }
}

impl<'a> Question<'a> {
    /// Whether Velero begins the Restore.
    pub fn is_gate(&self) -> bool {
        self.moment == Moment::Gate
    }

    /// Returns how Restores of this namespace are treated.
    pub fn mode(&self) -> RestoresMode {
        self.policy.restores_mode(self.namespace)
    }

    /// Returns the uid of the Restore.
    pub(super) fn uid(&self) -> &'a str {
        or_empty(self.restore.metadata.uid.as_ref())
    }

    /// Returns the namespace and name of `backup`.
    pub(super) fn key(&self, backup: &Backup) -> Key {
        Key::new(self.namespace, &*backup.fields.name)
    }

    /// Returns for how long the Restore has been there while something lasts since `since`, in seconds.
    /// One that does not tell when it was created is new.
    pub(super) fn lasts(&self, since: i64) -> i64 {
        let created = or_empty(self.restore.metadata.creation_timestamp.as_ref());
        let created = seconds(created).unwrap_or(self.now);
        self.now.saturating_sub(created.max(since))
    }

    /// Returns what a user said with the right to do so, as it was seen when the Restore was created.
    pub fn acceptance(&self) -> Option<Acceptance<'a>> {
        let metadata = &self.restore.metadata;
        let reason = metadata.annotation(ACCEPT_INSECURE_ANNOTATION)?;
        let with = metadata.annotation(ACCEPTED_WITH_ANNOTATION)?;
        let is_reason = !reason.trim().is_empty() && reason.len() <= MAX_REASON_BYTES;
        is_reason.then_some(Acceptance {
            by: metadata.annotation(ACCEPTED_BY_ANNOTATION)?,
            with: Verb::parse(with)?,
            reason,
        })
    }
}
