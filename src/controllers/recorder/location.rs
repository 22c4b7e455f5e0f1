//! Opens the bucket of a Backup.

use super::Context;
use super::stop::{Stop, Unreadable};
pub(super) use crate::bucket::OpenLocation;
use crate::bucket::{LocationError, PresignedLocation};
use crate::decision::Key;
use crate::velero::naming::is_name;
use crate::velero::observed_backup::ObservedBackup;

impl From<LocationError> for Stop {
    fn from(error: LocationError) -> Self {
        match error {
            LocationError::Unread(error) => Self::unanswered("LocationUnusable", &error),
            LocationError::BundleUnread(error) => Self::unanswered("BundleUnreadable", &error),
            LocationError::NoBundle { .. } => {
                Self::unreadable("BundleUnreadable", error.to_string())
            }
            LocationError::Unusable {
                error: ref cause, ..
            } => Self::Unreadable(Unreadable {
                reason: cause.reason(),
                message: error.to_string(),
                class: cause.class(),
                lacks_rights: cause.lacks_rights(),
            }),
            LocationError::Bucket(error) => error.into(),
        }
    }
}

/// Opens the bucket of `backup` with what its BackupStorageLocation says now.
pub(super) async fn open(context: &Context, backup: &ObservedBackup) -> Result<OpenLocation, Stop> {
    let key = key(backup)?;
    let found = find(context, &key.namespace, &key.name).await?;
    found.ok_or_else(|| missing(&key))
}

/// As [`open`], with the connections that are open already if nothing of the BackupStorageLocation changed: a bucket
/// that comes by sync has thousands of backups.
pub(super) async fn open_kept(
    context: &Context,
    backup: &ObservedBackup,
) -> Result<OpenLocation, Stop> {
    let key = key(backup)?;
    let found = context.stores.open(&key.namespace, &key.name).await?;
    found.ok_or_else(|| missing(&key))
}

/// Opens the bucket of `backup` anew the next time, because it could not be read.
pub(super) fn close(context: &Context, backup: &ObservedBackup) {
    if let Ok(key) = key(backup) {
        context.stores.close(&key);
    }
}

/// Makes what reads the bucket of `backup` by URLs that Velero signs, of what its BackupStorageLocation says now.
pub(super) async fn presigned(
    context: &Context,
    backup: &ObservedBackup,
) -> Result<PresignedLocation, Stop> {
    let key = key(backup)?;
    let locations = context.stores.locations();
    let found = locations.presigned(&key.namespace, &key.name).await?;
    found.ok_or_else(|| missing(&key))
}

fn key(backup: &ObservedBackup) -> Result<Key, Stop> {
    let name = &backup.storage_location;
    if is_name(name) {
        return Ok(Key::new(&backup.fields.namespace, name));
    }
    let why = "the Backup names no BackupStorageLocation";
    Err(Stop::unreadable("LocationUnusable", why.to_owned()))
}

fn missing(location: &Key) -> Stop {
    let why = format!("BackupStorageLocation {location} does not exist");
    Stop::unreadable("LocationUnusable", why)
}

/// Fails unless its BackupStorageLocation still says of `location` what it said when it was opened: what
/// was read elsewhere is not where Velero restores from.
pub(super) async fn check_unchanged(
    context: &Context,
    location: &OpenLocation,
) -> Result<(), Stop> {
    let locations = context.stores.locations();
    if locations.is_unchanged(location).await? {
        Ok(())
    } else {
        Err(Stop::Changed)
    }
}

/// As [`check_unchanged`], for one that is read by URLs that Velero signs.
pub(super) async fn check_says(
    context: &Context,
    location: &PresignedLocation,
) -> Result<(), Stop> {
    let PresignedLocation { bucket, name, .. } = location;
    let locations = context.stores.locations();
    if locations.says(name, bucket.settings()).await? {
        Ok(())
    } else {
        Err(Stop::Changed)
    }
}

/// Opens the bucket of a BackupStorageLocation; `None` if there is none of this name.
pub(super) async fn find(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<OpenLocation>, Stop> {
    Ok(context.stores.locations().open(namespace, name).await?)
}
