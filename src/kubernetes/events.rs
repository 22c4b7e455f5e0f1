//! Writes Events, which `kubectl describe` shows.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::timeout;

use super::error;
use crate::decision::Key;
use crate::names;
use crate::velero::printable::printable;

/// Most bytes in the note of an Event (`events.k8s.io/v1`, `note`).
const MAX_NOTE_BYTES: usize = 1024;

/// Longest time to write one Event. No decision waits for it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The reasons of all Events. Each names the object and its condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventReason {
    /// A rule that denies applies to a location now.
    CaInvalid,
    /// A certificate of a location has expired, expires soon or is not valid yet.
    CaExpiring,
    /// A location holds its namespace.
    CaHeld,
    /// The bundle does not verify an endpoint of a location.
    EndpointUntrusted,
    /// The certificate of an endpoint expires soon, and nothing else is wrong with it.
    EndpointExpiring,
    /// The ConfigMap of the bundle's name is somebody else's.
    CaBundleNotOwned,
    /// The ConfigMap of the bundle is immutable.
    CaBundleImmutable,
    /// The bundle or the memory has no room for all certificates.
    CaBundleTruncated,
    /// There is no certificate for the bundle.
    CaBundleEmpty,
    /// The API server does not accept the bundle.
    CaBundleWriteFailed,
    /// An object that is labelled as extra CA is not taken.
    ExtraCaRefused,
    /// All Pods of a workload carry the bundle again.
    CaBundleCurrent,
    /// Pods of a workload lack the bundle.
    CaBundleNotInjected,
    /// The template of a workload keeps the bundle out.
    CaBundleConflict,
    /// Pods of a workload are opted out.
    CaBundleOptedOut,
    /// Processes of a workload began before the newest certificate was added.
    CaBundleStale,
    /// The API server does not ask this installation about requests that it should judge.
    WebhookInactive,
    /// The API server asks this installation again.
    WebhookActive,
    /// Webhooks are not made active.
    WebhooksHeld,
    /// Webhooks were made active.
    WebhooksActivated,
    /// Somebody took the rules or the caBundle of a webhook away, and they were set again.
    WebhookRestored,
    /// The API server does not reach this installation any more.
    CanaryUnanswered,
    /// The serving certificate expires soon, or has expired.
    ServingCertificateExpiring,
    /// The caBundle of a webhook does not verify the serving certificate of a replica.
    ServingCertificateRefused,
    /// The Secret with the CA of the serving certificates was deleted or changed, and written again.
    ServingCaRestored,
    /// A new CA issues the serving certificates.
    ServingCaRotated,
    /// Another serving certificate is presented, which does not expire soon.
    ServingCertificateRenewed,
    /// The files of a Backup are recorded and signed.
    BackupRecorded,
    /// The files of a Backup are recorded and signed on the word of a user.
    BackupAdopted,
    /// A recorded backup is gone, and nobody wanted that.
    BackupVanished,
    /// A backup that came by sync has its record from a signed list.
    BackupImported,
    /// The checksum of a Backup is what a user declares.
    BackupDeclared,
    /// Only the tarball of a Backup is recorded, and nothing is signed.
    BackupTarballOnly,
    /// A user vouches for the files of a Backup, and they could not be recorded.
    BackupNotAdopted,
    /// The files of a Backup are not known to be those that Velero wrote here.
    BackupUnobserved,
    /// The files of a Backup cannot be read.
    BackupUnreadable,
    /// A Restore waits for something that is not known yet.
    RestoreWaiting,
    /// A Restore is refused.
    RestoreRefused,
    /// A Restore runs on the word of a user.
    RestoreAccepted,
    /// A Restore runs that nobody checked.
    RestoreUnchecked,
    /// The files of a Backup changed while a Restore read them.
    RestoreTainted,
    /// The key that signed backups was lost, and a new one made.
    SigningKeyLost,
    /// What an earlier Event told of is over.
    ConditionEnded,
}

impl EventReason {
    /// Returns the reason as the Event has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CaInvalid => "CAInvalid",
            Self::CaExpiring => "CAExpiring",
            Self::CaHeld => "CAHeld",
            Self::EndpointUntrusted => "EndpointUntrusted",
            Self::EndpointExpiring => "EndpointExpiring",
            Self::CaBundleNotOwned => "CABundleNotOwned",
            Self::CaBundleImmutable => "CABundleImmutable",
            Self::CaBundleTruncated => "CABundleTruncated",
            Self::CaBundleEmpty => "CABundleEmpty",
            Self::CaBundleWriteFailed => "CABundleWriteFailed",
            Self::ExtraCaRefused => "ExtraCARefused",
            Self::CaBundleCurrent => "CABundleCurrent",
            Self::CaBundleNotInjected => "CABundleNotInjected",
            Self::CaBundleConflict => "CABundleConflict",
            Self::CaBundleOptedOut => "CABundleOptedOut",
            Self::CaBundleStale => "CABundleStale",
            Self::WebhookInactive => "WebhookInactive",
            Self::WebhookActive => "WebhookActive",
            Self::WebhooksHeld => "WebhooksHeld",
            Self::WebhooksActivated => "WebhooksActivated",
            Self::WebhookRestored => "WebhookRestored",
            Self::CanaryUnanswered => "CanaryUnanswered",
            Self::ServingCertificateExpiring => "ServingCertificateExpiring",
            Self::ServingCertificateRefused => "ServingCertificateRefused",
            Self::ServingCaRestored => "ServingCARestored",
            Self::ServingCaRotated => "ServingCARotated",
            Self::ServingCertificateRenewed => "ServingCertificateRenewed",
            Self::BackupRecorded => "BackupRecorded",
            Self::BackupAdopted => "BackupAdopted",
            Self::BackupImported => "BackupImported",
            Self::BackupVanished => "BackupVanished",
            Self::BackupDeclared => "BackupDeclared",
            Self::BackupTarballOnly => "BackupTarballOnly",
            Self::BackupNotAdopted => "BackupNotAdopted",
            Self::BackupUnobserved => "BackupUnobserved",
            Self::BackupUnreadable => "BackupUnreadable",
            Self::RestoreWaiting => "RestoreWaiting",
            Self::RestoreRefused => "RestoreRefused",
            Self::RestoreAccepted => "RestoreAccepted",
            Self::RestoreUnchecked => "RestoreUnchecked",
            Self::RestoreTainted => "RestoreTainted",
            Self::SigningKeyLost => "SigningKeyLost",
            Self::ConditionEnded => "ConditionEnded",
        }
    }

    const fn event_type(self) -> EventType {
        match self {
            Self::BackupRecorded
            | Self::BackupAdopted
            | Self::BackupImported
            | Self::BackupDeclared
            | Self::CaBundleCurrent
            | Self::RestoreWaiting
            | Self::WebhookActive
            | Self::WebhooksActivated
            | Self::ServingCertificateRenewed
            | Self::ServingCaRotated
            | Self::ConditionEnded => EventType::Normal,
            _ => EventType::Warning,
        }
    }
}

/// Returns a reference to a Deployment, as the object of Events.
pub fn deployment(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: Some("Deployment".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

/// Returns an object of Velero as the object of an Event.
pub fn velero_object(kind: &str, key: &Key, uid: Option<&str>) -> ObjectReference {
    ObjectReference {
        api_version: Some("velero.io/v1".to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: uid.map(str::to_owned),
        ..ObjectReference::default()
    }
}

impl fmt::Display for EventReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes Events. It does not deduplicate them; its callers do.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
}

impl Events {
    /// Returns a writer whose Events name `instance` as the reporting instance.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: names::APP.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self { client, reporter }
    }

    /// Emits an Event on the object `about`. `note` is for people. A failure is only logged.
    pub async fn emit(&self, about: &ObjectReference, reason: EventReason, note: &str) {
        let event = Event {
            type_: reason.event_type(),
            reason: reason.to_string(),
            note: Some(truncate_note(&printable(note)).to_owned()),
            action: reason.to_string(),
            secondary: None,
        };
        // A recorder that is reused takes two Events with one reason for the same, whatever their
        // notes, and shows only the note of the first.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        let why = match timeout(REQUEST_TIMEOUT, recorder.publish(&event, about)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error::lookup_error(&error).message,
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        tracing::warn!(%reason, why, "cannot write an Event");
    }
}

fn truncate_note(note: &str) -> &str {
    let mut end = note.len().min(MAX_NOTE_BYTES);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        assert_eq!(truncate_note("short"), "short");
        let long = "ä".repeat(1000);
        assert_eq!(truncate_note(&long), "ä".repeat(512));
        assert_eq!(truncate_note(&format!("x{long}")).len(), 1023);
    }
}
