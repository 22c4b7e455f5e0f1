//! Puts envelopes into the bucket that could not be put when their backups were recorded.

use std::sync::Arc;

use super::signing::Signer;
use super::stop::Stop;
use super::{Context, envelope, location, steps};
use crate::integrity::envelope::Envelope;
use crate::integrity::statement::Statement;
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

/// Puts the envelope of the record `name` beside `backup`, if that is possible.
pub(super) async fn upload(context: Arc<Context>, name: String, backup: ObservedBackup) -> Requeue {
    // Otherwise the record says why, and what is wrong with the store is told where files are read.
    if let Ok(true) = try_upload(&context, &name, &backup).await {
        tracing::info!("put the envelope into the bucket");
    }
    Requeue::default()
}

/// Returns whether the envelope was put.
async fn try_upload(context: &Context, name: &str, backup: &ObservedBackup) -> Result<bool, Stop> {
    let unanswered = |error: kube::Error| Stop::unanswered("RecordUnreadable", &error);
    let Some(record) = context.ledger.get(name).await.map_err(unanswered)? else {
        return Ok(false);
    };
    let mut status = record.status.clone().unwrap_or_default();
    let Some(signer) = context.signer() else {
        return Ok(false);
    };
    let Some(statement) = signed(&signer, status.envelope.as_deref()) else {
        return Ok(false);
    };
    let location = location::open(context, backup).await?;
    // Pointed elsewhere, it has other files.
    if status.envelope_in_bucket
        || status.location != Some(location.recorded())
        || location.is_read_only
    {
        return Ok(false);
    }
    let listing = location.store.list(&backup.fields.name).await?;
    let mut noted = Some(record);
    let written = envelope::write(
        context, &signer, &location, backup, &statement, &listing, &mut noted,
    )
    .await?;
    let Some(record) = noted else {
        return Ok(false);
    };
    let message = written.message.as_deref().map(steps::message);
    let was = record.status.as_ref();
    let is_noted = was.is_some_and(|was| was.pending_upload.is_some());
    if !written.is_in_bucket && status.message == message && !is_noted {
        return Ok(false);
    }
    status.envelope = Some(written.json);
    status.envelope_in_bucket = written.is_in_bucket;
    status.message = message;
    status.pending_upload = None;
    let stored = context.ledger.set_status(&record, &status).await;
    stored.map_err(unanswered)?;
    Ok(written.is_in_bucket)
}

/// Returns what our key signed. What another one signed stays in the record only: the envelope would
/// have the name of that key.
fn signed(signer: &Signer, envelope: Option<&str>) -> Option<Statement> {
    let envelope = Envelope::parse(envelope?.as_bytes()).ok()?;
    envelope.verify(&[signer.key.public()]).ok()?;
    Statement::parse(envelope.payload()).ok()
}
