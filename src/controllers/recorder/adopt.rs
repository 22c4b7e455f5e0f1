//! Records what a user vouches for.

use std::sync::Arc;

use super::Context;
use super::annotate::{self, Annotations};
use super::import::{MAX_LISTS, read_list};
use super::judgement::Reading;
use super::ledger;
use super::reader::{self, Extent};
use super::steps::{again, message, own_record, told};
use super::stop::{Stop, Unreadable};
use crate::bucket::{Listing, Store};
use crate::decision::FailureClass;
use crate::integrity::checksum::Checksum;
use crate::integrity::files::{self, Role};
use crate::integrity::origin;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::{Level, Statement};
use crate::kubernetes::crds::BackupRecordStatus;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::Requeue;
use crate::names::DECLARED_CHECKSUM_ANNOTATION;
use crate::velero::observed_backup::ObservedBackup;

/// The level of a record whose checksum a user declared. It is none of a statement, for there is none.
const DECLARED: &str = "declared";

/// Returns what is to be signed on the word of a user, where this key signed `before`. Fails if one of the signed lists
/// beside the backup tells of other bytes than `adopted`.
pub(super) async fn agreed(
    store: &Store,
    listing: &Listing,
    adopted: Statement,
    before: Option<Statement>,
    extent: &Extent,
) -> Result<Statement, Stop> {
    let adopted = origin::prefer_signed(adopted, before)?;
    let name = &adopted.backup.name;
    let artifacts = listing.artifacts.iter();
    let lists = artifacts.filter(|artifact| files::role(name, &artifact.name) == Role::Envelope);
    for artifact in lists.take(MAX_LISTS) {
        if let Some(envelope) = read_list(store, name, artifact, false).await? {
            origin::check_list(&adopted, &envelope, &extent.keys.trust)?;
        }
    }
    Ok(adopted)
}

/// Records the checksum that a user declares.
pub(super) async fn declare(context: Arc<Context>, backup: ObservedBackup) -> Requeue {
    let own = match own_record(&context, &backup).await {
        Ok(own) => own,
        Err(error) => return told(Err(error), "read the record"),
    };
    let (Some(own), Some(adoption)) = (own, backup.adoption.clone()) else {
        return Requeue::default();
    };
    if reader::check_adoption(&context, &backup).await.is_err() {
        return again();
    }
    let declared = adoption.declared.unwrap_or_default();
    let reading = Reading {
        level: Level::Adopted {
            by: adoption.by.clone(),
        },
        records: Vec::new(),
        is_waited_for: false,
        other_keys: None,
        found: None,
        own: Some(own),
        context,
        backup,
    };
    if let Err(error) = Checksum::parse(&declared) {
        let why = format!("the annotation {DECLARED_CHECKSUM_ANNOTATION} {error}");
        return reading.end_adoption(&why).await;
    }
    let status = BackupRecordStatus {
        state: RecordState::Declared,
        level: Some(DECLARED.to_owned()),
        adopted_by: Some(adoption.by.clone()),
        checksum: Some(declared.clone()),
        recorded_at: Some(ledger::time_now()),
        ..BackupRecordStatus::default()
    };
    if let Err(error) = reading.write(&status, None).await {
        return told(Err(error), "write the record");
    }
    let annotations = Annotations {
        checksum: Some(&declared),
        manifest: None,
        verified_at: None,
    };
    let retry = annotate::write(&reading.context, &reading.backup, annotations).await;
    let by = adoption.by;
    let note = format!("its checksum is {declared} on the word of {by}; nothing was read");
    tracing::info!(by, declared, "recorded a checksum that was declared");
    reading.emit(EventReason::BackupDeclared, &note).await;
    Requeue {
        retry,
        within: None,
    }
}

impl Reading {
    /// Notes why the files cannot be recorded on the word of a user, and ends that.
    pub(super) async fn end_adoption(&self, why: &str) -> Requeue {
        if let Err(error) = self.note_not_adopted(why).await {
            return told(Err(error), "write the record");
        }
        let ended = annotate::end_adoption(&self.context, &self.backup).await;
        told(ended, "remove the annotation of the user")
    }

    /// Notes why the files cannot be recorded on the word of a user, and tries again later.
    pub(super) async fn postpone_adoption(&self, unreadable: Unreadable) -> Requeue {
        // A store that fails in many ways by turns is no news with each of them.
        if unreadable.class == FailureClass::Passing && self.not_adopted().is_some() {
            return again();
        }
        let noted = self.note_not_adopted(&unreadable.message).await;
        noted.map_or_else(|error| told(Err(error), "write the record"), |()| again())
    }

    fn not_adopted(&self) -> Option<&str> {
        let status = self.own.as_ref()?.status.as_ref()?;
        status.not_adopted.as_deref()
    }

    async fn note_not_adopted(&self, why: &str) -> kube::Result<()> {
        let why = message(why);
        if self.not_adopted() == Some(&*why) {
            return Ok(());
        }
        let own = self.own.as_ref();
        let status = BackupRecordStatus {
            not_adopted: Some(why.clone()),
            ..own.and_then(|own| own.status.clone()).unwrap_or_default()
        };
        self.write(&status, None).await?;
        let note = format!("a user vouches for its files, and they cannot be recorded: {why}");
        tracing::warn!("{note}");
        self.emit(EventReason::BackupNotAdopted, &note).await;
        Ok(())
    }
}
