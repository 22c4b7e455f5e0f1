//! Takes envelopes away that are alone: velero-trust ended while it put them, and Velero deleted the
//! backup meanwhile.

use super::Context;
use super::location;
use super::stop::Stop;
use crate::bucket::{Listing, Store};
use crate::decision::Key;
use crate::digest::Sha256;
use crate::integrity::envelope::{Envelope, MAX_BYTES};
use crate::integrity::files::{self, Role};
use crate::kubernetes::crds::PendingUpload;

/// Takes the envelope of `upload` away, unless the files of the backup are there: Velero deletes it with
/// them. Where nobody can look any more, it stays.
pub(super) async fn remove_lone(
    context: &Context,
    backup: &Key,
    upload: &PendingUpload,
) -> Result<(), Stop> {
    let noted = &upload.location;
    let location = location::find(context, &backup.namespace, &noted.name).await?;
    let Some(location) = location.filter(|location| location.recorded() == *noted) else {
        let (bucket, file) = (&noted.bucket, &upload.file);
        tracing::warn!(
            bucket,
            file,
            "no location names the bucket in which an envelope may be alone"
        );
        return Ok(());
    };
    let store = &location.store;
    if store.exists(&backup.name, files::BACKUP).await? {
        return Ok(());
    }
    let listing = store.list(&backup.name).await?;
    remove_own(store, &backup.name, upload, &listing).await
}

/// Takes the envelope of `upload` away, if it is in the directory of `backup`, which was just listed, and
/// is the one that was put.
pub(super) async fn remove_own(
    store: &Store,
    backup: &str,
    upload: &PendingUpload,
    listing: &Listing,
) -> Result<(), Stop> {
    let file = &upload.file;
    let is_envelope = files::role(backup, file) == Role::Envelope;
    let Some(artifact) = listing.get(file).filter(|_| is_envelope) else {
        return Ok(());
    };
    if artifact.size > MAX_BYTES as u64 {
        return Ok(());
    }
    let bytes = store.read(backup, artifact).await?;
    let bytes = bytes.bytes(artifact.size).await?;
    let signed = Envelope::parse(&bytes).ok();
    let signed = signed.map(|envelope| Sha256::of(envelope.payload()).prefixed());
    if signed.as_ref() == Some(&upload.manifest) {
        store.delete(backup, file).await?;
        tracing::info!(file, "took an envelope away that was alone");
    }
    Ok(())
}
