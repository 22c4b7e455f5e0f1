//! A key of another cluster counts for what its TrustedKey says, and for nothing else.

use super::site::Site;
use super::trust::Key;
use super::{Two, all};
use crate::story::{at, get};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::iter;

/// The backup that is covered, or not.
pub(super) const BACKUP: &str = "scoped";

/// The backup whose bucket is replicated.
pub(super) const REPLICATED: &str = "replicated";

/// The location and bucket in which it is made.
pub(super) const PRIMARY: &str = "primary";

/// The location and bucket of the second cluster.
pub(super) const REPLICA: &str = "replica";

/// Name of the TrustedKey.
const TRUSTED: &str = "scoped";

/// What a TrustedKey says about a backup.
struct Row {
    backup: &'static str,
    /// The scope that does not cover it.
    without: Value,
    /// The field that is told.
    field: &'static str,
    /// The scope that does.
    with: Value,
}

fn rows() -> Vec<Row> {
    let row = |backup, field, without, with| Row {
        backup,
        without,
        field,
        with,
    };
    vec![
        row(
            BACKUP,
            "spec.scope.backups",
            json!({"backups": ["scoped-*", "scope"]}),
            json!({"backups": ["sc?p*"]}),
        ),
        row(
            BACKUP,
            "spec.scope.levels",
            json!({"levels": ["adopted"]}),
            json!({"levels": ["late", "observed"]}),
        ),
        row(
            BACKUP,
            "spec.scope.namespaces",
            json!({"namespaces": ["velero-other"]}),
            json!({"namespaces": ["velero-other", "velero"]}),
        ),
        row(
            REPLICATED,
            "spec.scope.locations",
            json!({"locations": ["default"]}),
            json!({"locations": [REPLICA]}),
        ),
    ]
}

pub(super) fn story(two: &Two) -> Result<()> {
    let site = &two.second;
    let key = two.first.key()?;
    let replicated = replicated(site, &key).context("spec.sameBucketOnly");
    let rows = rows();
    let rows = rows.iter();
    let covered = rows.map(|row| is_covered(site, &key, row).context(row.field));
    let until = || until(two, &key).context("spec.validUntil");
    all([replicated]
        .into_iter()
        .chain(covered)
        .chain(iter::once_with(until)))
}

/// Out of scope it is refused. When the scope is widened, it is imported and restores.
fn is_covered(site: &Site, key: &Key, row: &Row) -> Result<()> {
    let trust = |scope: &Value| {
        // Nothing but this backup is touched: other trials are about the others.
        let mut whole = json!({"backups": [row.backup]});
        merge(&mut whole, scope);
        site.trust(TRUSTED, &key.pem, &json!({"scope": whole}))
    };
    trust(&row.without)?;
    let says = format!(
        "TrustedKey {TRUSTED}, whose {} does not cover it",
        row.field
    );
    site.has_refused(row.backup, "KeyOutOfScope", &[&says])?;
    trust(&row.with)?;
    site.has_imported(row.backup, TRUSTED)?;
    let says = "it came by sync, and TrustedKey scoped vouches for its files";
    site.has_told(row.backup, "BackupImported", says)?;
    site.restores(row.backup).map(drop)
}

/// The bucket is a copy of the one that is signed.
fn replicated(site: &Site, key: &Key) -> Result<()> {
    let trust = |only: bool| {
        let spec = json!({"sameBucketOnly": only, "scope": {"backups": [REPLICATED]}});
        site.trust(TRUSTED, &key.pem, &spec)
    };
    trust(true)?;
    let says = "TrustedKey scoped counts only in the bucket that is signed, which is primary";
    site.has_refused(REPLICATED, "OtherBucket", &[says])?;
    trust(false)?;
    let record = site.has_imported(REPLICATED, TRUSTED)?;
    let message = at(&record, "/status/message").to_string();
    ensure!(message.contains("in bucket primary with"), "{message}");
    let (restore, _) = site.restores(REPLICATED)?;
    let log = site.velero_log();
    let is_told = |line: &str| line.contains("[VT118]") && line.contains(PRIMARY);
    ensure!(log.lines().any(is_told), "no warning about {restore}");

    // What is imported closes when the key counts no more.
    trust(true)?;
    site.has_refused(REPLICATED, "OtherBucket", &[says])
}

/// The key signs no more, so that later backups are those of somebody else who has it.
fn until(two: &Two, key: &Key) -> Result<()> {
    let made = get(&two.first.cluster, "backup", BACKUP)?;
    let completed = at(&made, "/status/completionTimestamp");
    let completed: Timestamp = completed.as_str().context("no time")?.parse()?;
    let site = &two.second;
    let trust = |until: Timestamp| {
        let spec = json!({
            "state": "VerifyOnly", "validUntil": until.to_string(), "scope": {"backups": [BACKUP]},
        });
        site.trust(TRUSTED, &key.pem, &spec)
    };
    let before = completed - SignedDuration::from_secs(1);
    trust(before)?;
    let says = format!("counts for backups until {before}, and completed later");
    site.has_refused(BACKUP, "KeyNoLongerValid", &[&says])?;
    trust(completed)?;
    site.has_imported(BACKUP, TRUSTED)?;
    site.restores(BACKUP).map(drop)
}
