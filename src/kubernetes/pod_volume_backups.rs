//! Reads the PodVolumeBackups of a Backup.

use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Request};
use kube::{Api, Client};
use serde::Deserialize;

use super::error::lookup_error;
use super::streaming::{Body, ListSplitter, page_permit};
use crate::decision::Key;
use crate::integrity::pod_volumes::{PodVolumeBackup, PodVolumeLines, PodVolumes, TooManyVolumes};
use crate::velero::label::label_value;
use crate::velero::lenient::null_is_default;

/// Label on a PodVolumeBackup with the name of its Backup.
pub const BACKUP_LABEL: &str = "velero.io/backup-name";

/// Number of PodVolumeBackups in one page of a list, which the API server holds as a whole. Each has
/// about 2 KiB, and up to 1.5 MiB.
const PAGE_SIZE: u32 = 50;

/// Most bytes of all pages.
const MAX_BYTES: usize = 64 << 20;

/// Longest wait for the head of an answer, and between two pieces of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the PodVolumeBackups of a Backup are not known.
#[derive(Debug, thiserror::Error)]
pub enum PodVolumeBackupsError {
    /// The API server does not answer, or refuses.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// There are more than are read.
    #[error("PodVolumeBackups with the label {BACKUP_LABEL}={label} {excess}")]
    TooMany {
        /// The value of the label.
        label: String,
        /// What is too much.
        excess: TooManyVolumes,
    },
    /// They have more bytes than are read.
    #[error(
        "PodVolumeBackups with the label {BACKUP_LABEL}={label} have more than {} MiB",
        MAX_BYTES >> 20
    )]
    TooLong {
        /// The value of the label.
        label: String,
    },
}

impl PodVolumeBackupsError {
    /// Returns what is wrong and what to do about it, in one line.
    pub fn with_fix(&self) -> String {
        match self {
            Self::Api(error) => lookup_error(error).message,
            Self::TooMany { .. } | Self::TooLong { .. } => {
                format!("{self}; all of a backup are signed, so delete those that are not of it")
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    #[serde(deserialize_with = "null_is_default")]
    spec: Spec,
    #[serde(deserialize_with = "null_is_default")]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(deserialize_with = "null_is_default")]
    pod: Pod,
    #[serde(deserialize_with = "null_is_default")]
    volume: String,
    #[serde(deserialize_with = "null_is_default")]
    uploader_type: String,
    #[serde(deserialize_with = "null_is_default")]
    repo_identifier: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pod {
    #[serde(deserialize_with = "null_is_default")]
    namespace: String,
    #[serde(deserialize_with = "null_is_default")]
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(rename = "snapshotID", deserialize_with = "null_is_default")]
    snapshot: String,
}

/// Returns the PodVolumeBackups of `backup`, by the label by which a restore finds them
/// (`pkg/controller/restore_controller.go`). Of each is held what is digested, and of one at a time
/// its text.
pub async fn of(client: &Client, backup: &Key) -> Result<PodVolumes, PodVolumeBackupsError> {
    let kind = GroupVersionKind::gvk("velero.io", "v1", "PodVolumeBackup");
    let resource = ApiResource::from_gvk(&kind);
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), &backup.namespace, &resource);
    let request = Request::new(api.resource_url());
    let label = label_value(&backup.name);
    let selector = format!("{BACKUP_LABEL}={label}");
    let mut params = ListParams::default().labels(&selector).limit(PAGE_SIZE);
    let mut pages = Pages {
        label,
        lines: PodVolumeLines::default(),
        bytes: 0,
    };
    loop {
        match pages.read(client, &request, &params).await {
            Ok(Some(token)) => params = params.continue_token(&token),
            Ok(None) => return Ok(pages.lines.digest()),
            // This Velero has none.
            Err(PodVolumeBackupsError::Api(kube::Error::Api(status)))
                if status.code == 404 && pages.bytes == 0 =>
            {
                return Ok(pages.lines.digest());
            }
            Err(error) => return Err(error),
        }
    }
}

/// The pages that were read.
struct Pages {
    label: String,
    lines: PodVolumeLines,
    bytes: usize,
}

impl Pages {
    /// Reads a page. Returns the token of the next one.
    async fn read(
        &mut self,
        client: &Client,
        request: &Request,
        params: &ListParams,
    ) -> Result<Option<String>, PodVolumeBackupsError> {
        let _permit = page_permit().await;
        let request = request.list(params).map_err(kube::Error::BuildRequest)?;
        let mut body = Body::request(client, request, ANSWER_TIMEOUT).await?;
        let mut splitter = ListSplitter::default();
        let mut failed = None;
        loop {
            let (lines, bytes) = (&mut self.lines, &mut self.bytes);
            let piece = |piece: &[u8]| {
                *bytes += piece.len();
                splitter.push(piece, |object| {
                    if failed.is_none() {
                        failed = add(lines, object).err();
                    }
                });
            };
            let is_more = body.next_within(ANSWER_TIMEOUT, piece).await?;
            match failed {
                None if self.bytes > MAX_BYTES => {
                    let label = self.label.clone();
                    return Err(PodVolumeBackupsError::TooLong { label });
                }
                None if is_more => {}
                None => break,
                Some(Failure::Json(error)) => return Err(kube::Error::SerdeError(error).into()),
                Some(Failure::TooMany(excess)) => {
                    let label = self.label.clone();
                    return Err(PodVolumeBackupsError::TooMany { label, excess });
                }
            }
        }
        let metadata = splitter.finish().map_err(kube::Error::SerdeError)?;
        Ok(metadata.continue_token.filter(|token| !token.is_empty()))
    }
}

enum Failure {
    Json(serde_json::Error),
    TooMany(TooManyVolumes),
}

fn add(lines: &mut PodVolumeLines, object: &[u8]) -> Result<(), Failure> {
    let volume = parse(object).map_err(Failure::Json)?;
    lines.add(&volume).map_err(Failure::TooMany)
}

/// Reads the JSON of a PodVolumeBackup.
pub fn parse(object: &[u8]) -> serde_json::Result<PodVolumeBackup> {
    let Object { spec, status } = serde_json::from_slice(object)?;
    Ok(PodVolumeBackup {
        pod_namespace: spec.pod.namespace,
        pod: spec.pod.name,
        volume: spec.volume,
        uploader: spec.uploader_type,
        repository: spec.repo_identifier,
        snapshot: status.snapshot,
    })
}
