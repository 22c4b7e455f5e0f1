//! Writes on a Backup what its record says, and removes what none says.

use std::sync::Arc;

use kube::Error;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::Context;
use super::signing::first_key_made;
use crate::controllers::records::{RecordEntry, RecordSigner};
use crate::integrity::recording::RecordState;
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::worker::Requeue;
use crate::names::{
    ADOPT_ANNOTATION, CHECKSUM_ANNOTATION, DECLARED_CHECKSUM_ANNOTATION, MANIFEST_ANNOTATION,
    VERIFIED_AT_ANNOTATION,
};
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// Annotates `backup`, unless it was replaced by another one of its name.
pub(super) async fn annotate(
    context: Arc<Context>,
    backup: ObservedBackup,
    record: RecordEntry,
) -> Requeue {
    let verified_at = record.recorded_at.map(|at| at.to_string());
    let is_read = matches!(
        record.state,
        RecordState::Recorded | RecordState::TarballOnly
    );
    let digests = [record.checksum, record.manifest];
    let [checksum, manifest] = digests.map(|digest| digest.map(|digest| digest.prefixed()));
    let annotations = Annotations {
        checksum: checksum.as_deref(),
        manifest: manifest.as_deref(),
        // Nothing was read of what is declared or imported.
        verified_at: verified_at
            .as_deref()
            .filter(|_| is_read && !matches!(record.signer, Some(RecordSigner::Imported { .. }))),
    };
    let retry = write(&context, &backup, annotations).await;
    Requeue {
        retry,
        within: None,
    }
}

/// The annotations of a recorded Backup.
pub(super) struct Annotations<'a> {
    pub(super) checksum: Option<&'a str>,
    pub(super) manifest: Option<&'a str>,
    pub(super) verified_at: Option<&'a str>,
}

/// Annotates `backup`. Returns whether that is to be tried again.
pub(super) async fn write(
    context: &Context,
    backup: &ObservedBackup,
    annotations: Annotations<'_>,
) -> bool {
    let values = json!({
        CHECKSUM_ANNOTATION: annotations.checksum,
        MANIFEST_ANNOTATION: annotations.manifest,
        VERIFIED_AT_ANNOTATION: annotations.verified_at,
        // It is done, or too late.
        ADOPT_ANNOTATION: null,
        DECLARED_CHECKSUM_ANNOTATION: null,
    });
    match patch(context, backup, &values).await {
        Ok(()) => {
            tracing::info!(checksum = annotations.checksum, "annotated the Backup");
            false
        }
        // A conflict may be a replaced Backup, or a write of somebody else at the same moment.
        Err(error) => {
            let why = lookup_error(&error).message;
            tracing::warn!(why, "cannot annotate the Backup");
            true
        }
    }
}

/// Removes what a user wrote who vouches for `backup`.
pub(super) async fn end_adoption(context: &Context, backup: &ObservedBackup) -> kube::Result<()> {
    let removed = json!({ADOPT_ANNOTATION: null, DECLARED_CHECKSUM_ANNOTATION: null});
    patch(context, backup, &removed).await
}

/// Removes what a record said from `backup`.
pub(super) async fn remove(context: &Context, backup: &ObservedBackup) -> kube::Result<()> {
    let removed = json!({
        CHECKSUM_ANNOTATION: null, MANIFEST_ANNOTATION: null, VERIFIED_AT_ANNOTATION: null,
    });
    patch(context, backup, &removed).await
}

/// Removes from `backup`, which has no record, those of our annotations with which it may have come.
///
/// What is there once it has a record was set since, and so admitted by a policy. What is removed from
/// a Backup that is made is its Schedule's, or forged; the webhook does not run while velero-trust is
/// down. On a Backup that is older than the first key of this cluster, a checksum may be one that a person set.
pub(super) async fn remove_unfounded(
    context: &Context,
    backup: &ObservedBackup,
) -> kube::Result<()> {
    let mut removed = Map::new();
    let is_recorded = backup.checksum.is_some() || backup.manifest.is_some();
    if is_recorded && is_new(context, backup).await? {
        let recorded = [
            CHECKSUM_ANNOTATION,
            MANIFEST_ANNOTATION,
            VERIFIED_AT_ANNOTATION,
        ];
        removed.extend(recorded.map(|key| (key.to_owned(), Value::Null)));
    }
    if backup.adoption.is_some() {
        let adoption = [ADOPT_ANNOTATION, DECLARED_CHECKSUM_ANNOTATION];
        removed.extend(adoption.map(|key| (key.to_owned(), Value::Null)));
    }
    if removed.is_empty() {
        return Ok(());
    }
    tracing::warn!("removed annotations with which the Backup came");
    patch(context, backup, &removed.into()).await
}

/// Whether `backup` is younger than the first key of this cluster, or is not complete.
async fn is_new(context: &Context, backup: &ObservedBackup) -> kube::Result<bool> {
    if backup.progress() == Progress::Running {
        return Ok(true);
    }
    let Some(created) = backup.created else {
        return Ok(false);
    };
    let made = first_key_made(&context.controllers.client).await?;
    Ok(made.is_some_and(|made| created > made))
}

/// Merges `annotations` into those of `backup`. Fails with 409 if it is another Backup of the name. That
/// it is gone is no failure; the watch tells.
async fn patch(
    context: &Context,
    backup: &ObservedBackup,
    annotations: &Value,
) -> kube::Result<()> {
    let fields = &backup.fields;
    let patch = json!({"metadata": {"uid": fields.uid, "annotations": annotations}});
    let backups = context.backups(&fields.namespace);
    let params = PatchParams::default();
    match backups
        .patch(&fields.name, &params, &Patch::Merge(&patch))
        .await
    {
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        patched => patched.map(drop),
    }
}
