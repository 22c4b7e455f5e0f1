//! Writes on a Backup what its record says.

use std::sync::Arc;

use kube::Error;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::Context;
use super::observed::RecordEntry;
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::worker::Requeue;
use crate::names::{CHECKSUM_ANNOTATION, MANIFEST_ANNOTATION, VERIFIED_AT_ANNOTATION};
use crate::velero::observed_backup::ObservedBackup;

/// Annotates `backup`, unless it was replaced by another one of its name.
pub(super) async fn annotate(
    context: Arc<Context>,
    backup: ObservedBackup,
    record: RecordEntry,
) -> Requeue {
    let verified_at = record.recorded_at.map(|at| at.to_string());
    let annotations = Annotations {
        checksum: record.checksum.as_deref(),
        manifest: record.manifest.as_deref(),
        verified_at: verified_at.as_deref(),
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
    let fields = &backup.fields;
    let backups = context.backups(&fields.namespace);
    // The uid is a precondition: another Backup of the name gets 409.
    let patch = json!({
        "metadata": {
            "uid": fields.uid,
            "annotations": {
                CHECKSUM_ANNOTATION: annotations.checksum,
                MANIFEST_ANNOTATION: annotations.manifest,
                VERIFIED_AT_ANNOTATION: annotations.verified_at,
            },
        },
    });
    let patch = Patch::Merge(&patch);
    match backups
        .patch(&fields.name, &PatchParams::default(), &patch)
        .await
    {
        Ok(_) => {
            tracing::info!(checksum = annotations.checksum, "annotated the Backup");
            false
        }
        // It is gone; the watch tells. A conflict may be a replaced Backup, or a write of somebody
        // else at the same moment.
        Err(Error::Api(status)) if status.code == 404 => false,
        Err(error) => {
            let why = lookup_error(&error).message;
            tracing::warn!(why, "cannot annotate the Backup");
            true
        }
    }
}
