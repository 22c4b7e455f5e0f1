//! A record and what is signed, as text and JSON.

use std::fmt::Write as _;

use kube::ResourceExt as _;
use serde::Serialize;

use crate::cli::table::Table;
use crate::digest::Sha256;
use crate::integrity::manifest::File;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::{Level, Location};
use crate::integrity::verification::Opened;
use crate::kubernetes::crds::{BackupRecord, BackupRecordStatus, Gone, Imported};
use crate::velero::backup_fields::BackupFields;

/// A record, and what is signed about its backup.
pub(super) struct View {
    pub(super) record: BackupRecord,
    /// What is signed, or why that is not known; `None` if nothing is recorded.
    pub(super) signed: Option<Result<Opened, String>>,
    /// The names of the other records of Backups of this name.
    pub(super) others: Vec<String>,
    /// The checksum of the Backup, if somebody set it by hand.
    pub(super) by_hand: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Json<'a> {
    namespace: &'a str,
    backup: &'a str,
    record: String,
    uid: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    message: Option<&'a str>,
    adopted_by: Option<&'a str>,
    /// The key by which the record was imported, if it was.
    imported: Option<&'a Imported>,
    not_adopted: Option<&'a str>,
    /// The checksum of the Backup, if somebody set it by hand.
    checksum_by_hand: Option<&'a str>,
    recorded_at: Option<String>,
    gone: Option<&'a Gone>,
    envelope_in_bucket: bool,
    /// Whether a key of the cluster signed what is in `signed`.
    verified: bool,
    /// Why nothing is verified; absent if nothing is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_verified: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<Signed<'a>>,
    /// The names of the other records of Backups of this name.
    other_records: &'a [String],
}

#[derive(Serialize)]
struct Signed<'a> {
    key: String,
    cluster: &'a str,
    backup: &'a BackupFields,
    location: &'a Location,
    recorded: &'a Level,
    files: Vec<JsonFile<'a>>,
}

#[derive(Serialize)]
struct JsonFile<'a> {
    name: &'a str,
    size: u64,
    sha256: Sha256,
}

impl<'a> JsonFile<'a> {
    fn of(file: &'a File) -> Self {
        Self {
            name: &file.name,
            size: file.size,
            sha256: file.sha256,
        }
    }
}

impl View {
    fn status(&self) -> BackupRecordStatus {
        self.record.status.clone().unwrap_or_default()
    }

    /// Returns why nothing is recorded.
    pub(super) fn why_not(&self) -> String {
        let status = self.status();
        let reason = status
            .reason
            .map_or_else(String::new, |reason| format!(" ({reason})"));
        let message = status
            .message
            .map_or_else(String::new, |message| format!(": {message}"));
        format!("it is {}{reason}{message}", status.state.as_str())
    }

    pub(super) fn json(&self) -> Json<'_> {
        let BackupRecord { spec, status, .. } = &self.record;
        let status = status.as_ref();
        let opened = self.signed.as_ref().and_then(|signed| signed.as_ref().ok());
        let failure = self
            .signed
            .as_ref()
            .and_then(|signed| signed.as_ref().err());
        Json {
            namespace: &spec.namespace,
            backup: &spec.backup,
            record: self.record.name_any(),
            uid: &spec.uid,
            state: status
                .map(|status| status.state)
                .unwrap_or_default()
                .as_str(),
            reason: status.and_then(|status| status.reason.as_deref()),
            message: status.and_then(|status| status.message.as_deref()),
            adopted_by: status.and_then(|status| status.adopted_by.as_deref()),
            imported: status.and_then(|status| status.imported.as_ref()),
            not_adopted: status.and_then(|status| status.not_adopted.as_deref()),
            checksum_by_hand: self.by_hand.as_deref(),
            recorded_at: status
                .and_then(|status| status.recorded_at.as_ref())
                .map(|time| time.0.to_string()),
            gone: status.and_then(|status| status.gone.as_ref()),
            envelope_in_bucket: status.is_some_and(|status| status.envelope_in_bucket),
            verified: opened.is_some(),
            not_verified: failure.map(String::as_str),
            signed: opened.map(|opened| Signed {
                key: opened.key.to_string(),
                cluster: &opened.statement.cluster,
                backup: &opened.statement.backup,
                location: &opened.statement.location,
                recorded: &opened.statement.level,
                files: opened
                    .statement
                    .manifest
                    .files()
                    .iter()
                    .map(JsonFile::of)
                    .collect(),
            }),
            other_records: &self.others,
        }
    }

    pub(super) fn text(&self) -> String {
        let spec = &self.record.spec;
        let status = self.status();
        let mut text = String::new();
        let mut line = |field: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<10} {value}", format!("{field}:"));
        };
        line("backup", &format!("{}/{}", spec.namespace, spec.backup));
        line("record", &self.record.name_any());
        let reason = status.reason.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        line("state", &format!("{}{reason}", status.state.as_str()));
        if let Some(message) = &status.message {
            line("message", message);
        }
        if let Some(why) = &status.not_adopted {
            line("adoption", &format!("failed: {why}"));
        }
        if let (RecordState::Declared, Some(by)) = (status.state, &status.adopted_by) {
            let checksum = status.checksum.as_deref().unwrap_or_default();
            line("checksum", &format!("{checksum}, on the word of {by}"));
        }
        if let (RecordState::TarballOnly, Some(checksum)) = (status.state, &status.checksum) {
            let by = status.adopted_by.as_ref();
            let by = by.map_or_else(String::new, |by| format!(", on the word of {by}"));
            line("checksum", &format!("{checksum} (tarball only){by}"));
        }
        if let Some(checksum) = &self.by_hand {
            line("checksum", &format!("{checksum}, set by hand"));
        }
        if let Some(at) = &status.recorded_at {
            line("recorded", &at.0.to_string());
        }
        if let Some(imported) = &status.imported {
            let Imported { key, key_id } = imported;
            line("imported", &format!("by TrustedKey {key}, key id {key_id}"));
        }
        if let Some(gone) = &status.gone {
            line("gone", &format!("{} {}", gone.how.as_str(), gone.at.0));
        }
        if !self.others.is_empty() {
            line("others", &self.others.join(", "));
        }
        match &self.signed {
            None => {}
            Some(Err(why)) => line("verified", &format!("no: {why}")),
            Some(Ok(opened)) => {
                let statement = &opened.statement;
                let bucket = format!(
                    "{}/{}",
                    statement.location.bucket, statement.location.prefix
                );
                line("bucket", bucket.trim_end_matches('/'));
                line("phase", &statement.backup.phase);
                line("level", &statement.level.to_string());
                line(
                    "verified",
                    &format!("yes, signed by the key {}", opened.key),
                );
                let mut table = Table::new(&["FILE", "BYTES", "SHA-256"]);
                for file in statement.manifest.files() {
                    let (size, digest) = (file.size.to_string(), file.sha256.to_string());
                    table.row([file.name.clone(), size, digest]);
                }
                text.push('\n');
                text.push_str(&table.text());
            }
        }
        text
    }
}
