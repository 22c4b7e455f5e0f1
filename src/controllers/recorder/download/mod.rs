//! Reads the tarball of a backup by a URL that Velero signs, where velero-trust has no rights to the bucket and Velero
//! has. Velero gives no list of the files, and no velero-backup.json.

mod record;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

pub(super) use self::record::{TarballRecord, check_same, or_tarball};
use super::Context;
use super::location;
use super::reader::digest;
use super::stop::{Stop, Unreadable};
use crate::bucket::{PresignedFile, PresignedLocation};
use crate::decision::{FailureClass, File, Key};
use crate::integrity::files;
use crate::kubernetes::download_request::{DownloadRequest, DownloadRequestError};
use crate::velero::observed_backup::ObservedBackup;

/// How long Velero may take to sign a URL. It has one worker for all DownloadRequests.
const LONGEST: Duration = Duration::from_mins(1);

/// A tarball that was read by a URL of Velero's.
pub(super) struct Tarball {
    pub(super) file: File,
    pub(super) location: PresignedLocation,
    /// When it was written, by the clock of the store.
    modified: Option<Timestamp>,
    /// The time of that clock when it answered what was asked at `asked_at`.
    store_time: Option<Timestamp>,
    asked_at: Instant,
}

/// Reads the tarball of `backup`, until `is_over`.
pub(super) async fn read(
    context: &Context,
    backup: &ObservedBackup,
    is_over: &AtomicBool,
) -> Result<Tarball, Stop> {
    let location = location::presigned(context, backup).await?;
    let fields = &backup.fields;
    let key = Key::new(&fields.namespace, &fields.name);
    let client = &context.controllers.client;
    let request = DownloadRequest::create(client, &key, &fields.uid).await;
    let request = request.map_err(|error| Stop::unanswered("DownloadRequestFailed", &error))?;
    let read = read_by(context, &request, location, &fields.name, is_over).await;
    if let Err(error) = request.delete().await {
        // Velero deletes it ten minutes later.
        let why = crate::kubernetes::error::lookup_error(&error).message;
        tracing::warn!(why, "cannot delete the DownloadRequest");
    }
    let tarball = read?;
    location::check_says(context, &tarball.location).await?;
    Ok(tarball)
}

async fn read_by(
    context: &Context,
    request: &DownloadRequest,
    location: PresignedLocation,
    name: &str,
    is_over: &AtomicBool,
) -> Result<Tarball, Stop> {
    let url = request.url(LONGEST).await?;
    let asked_at = Instant::now();
    let tarball = files::tarball(name);
    let PresignedFile {
        reading,
        size,
        modified,
        store_time,
    } = location.bucket.read(name, &tarball, &url).await?;
    Ok(Tarball {
        file: File {
            name: tarball,
            size,
            sha256: digest(context, reading, is_over, |_| ()).await?,
        },
        location,
        modified,
        store_time,
        asked_at,
    })
}

impl From<DownloadRequestError> for Stop {
    fn from(error: DownloadRequestError) -> Self {
        let reason = "DownloadRequestFailed";
        match error {
            DownloadRequestError::Api(error) => Self::unanswered(reason, &error),
            error => Self::Unreadable(Unreadable {
                reason,
                message: format!("Velero's DownloadRequest: {error}"),
                class: FailureClass::Passing,
                lacks_rights: false,
            }),
        }
    }
}
