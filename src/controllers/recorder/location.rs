//! Opens the bucket of a Backup.

use super::Context;
use super::stop::{Stop, Unreadable};
pub(super) use crate::bucket::OpenLocation;
use crate::bucket::{LocationError, Locations, Timing};
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
            }),
            LocationError::Bucket(error) => error.into(),
        }
    }
}

/// Opens the bucket of `backup` with what its BackupStorageLocation says now.
pub(super) async fn open(context: &Context, backup: &ObservedBackup) -> Result<OpenLocation, Stop> {
    let namespace = &backup.fields.namespace;
    let name = &backup.storage_location;
    let missing = |why: String| Stop::unreadable("LocationUnusable", why);
    if !is_name(name) {
        return Err(missing(
            "the Backup names no BackupStorageLocation".to_owned(),
        ));
    }
    let found = find(context, namespace, name).await?;
    found.ok_or_else(|| {
        missing(format!(
            "BackupStorageLocation {namespace}/{name} does not exist"
        ))
    })
}

/// Fails unless its BackupStorageLocation still says of `location` what it said when it was opened: what
/// was read elsewhere is not where Velero restores from.
pub(super) async fn check_unchanged(
    context: &Context,
    location: &OpenLocation,
) -> Result<(), Stop> {
    if locations(context).is_unchanged(location).await? {
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
    Ok(locations(context).open(namespace, name).await?)
}

fn locations(context: &Context) -> Locations {
    Locations {
        client: context.controllers.client.clone(),
        denied: context.settings.denied.clone(),
        proxies: context.controllers.settings.proxies.clone(),
        timing: Timing::default(),
    }
}
