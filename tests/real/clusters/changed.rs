//! Somebody changes the files of another cluster, or what is signed of them, before they are imported.

use super::files::{Files, envelope};
use super::site::Site;
use super::trust::Key;
use super::{Two, all};
use crate::story::{ensure_passed, velero};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust::integrity::envelope::Envelope;
use velero_trust::integrity::public_key::Algorithm;
use velero_trust::signing_key::SigningKey;
use velero_trust_testing::cluster::BUCKET;

pub(super) const BACKUP: &str = "changed";

/// Name of the TrustedKey of the first cluster.
const TRUSTED: &str = "changed";

/// The files as they were made, with what there is to forge them.
struct Originals<'a> {
    files: Files,
    /// The signed list.
    envelope: Vec<u8>,
    /// The signed list of another backup.
    another: &'a [u8],
    /// A key that is trusted, too, and whose owner is not to be.
    other_key: &'a SigningKey,
}

impl Originals<'_> {
    /// Returns what is signed, with `change`.
    fn payload(&self, change: impl FnOnce(&mut Value)) -> Result<Vec<u8>> {
        let envelope = Envelope::parse(&self.envelope)?;
        let mut payload = serde_json::from_slice(envelope.payload())?;
        change(&mut payload);
        Ok(serde_json::to_vec(&payload)?)
    }

    /// Returns a list that the other key signed.
    fn signed(&self, payload: Vec<u8>) -> Result<Vec<u8>> {
        Ok(self.other_key.sign(payload)?.to_json()?.into_bytes())
    }
}

/// A change of one file.
struct Row {
    /// The name of the file; that of the signed list if there is none.
    file: Option<&'static str>,
    content: fn(&Originals<'_>) -> Result<Vec<u8>>,
    reason: &'static str,
    says: &'static str,
}

const ROWS: [Row; 6] = [
    Row {
        file: Some("velero-backup.json"),
        content: document,
        reason: "FieldsDiffer",
        says: "these fields are not what is signed: status.startTimestamp",
    },
    Row {
        file: None,
        content: |originals| Ok(originals.another.to_vec()),
        reason: "ListOfAnotherBackup",
        says: "the envelope is that of the backup scoped, not of changed",
    },
    Row {
        file: None,
        content: another_uid,
        reason: "ListOfAnotherBackup",
        says: "it is that of another backup of this name: its UID is somebody else",
    },
    Row {
        file: None,
        content: another_signature,
        reason: "ListForged",
        says: "the signature does not belong to these bytes",
    },
    Row {
        file: None,
        content: to_come,
        reason: "ListUnreadable",
        says: "https://velero-trust.io/velero-backup/v9",
    },
    Row {
        file: None,
        content: |_| Ok(b"no list".to_vec()),
        reason: "ListUnreadable",
        says: "it is not the JSON of a DSSE envelope",
    },
];

fn document(originals: &Originals<'_>) -> Result<Vec<u8>> {
    let bytes = originals.files.get("velero-backup.json");
    let mut document: Value = serde_json::from_slice(bytes.context("no velero-backup.json")?)?;
    document["status"]["startTimestamp"] = json!("2031-01-01T00:00:00Z");
    Ok(serde_json::to_vec(&document)?)
}

fn another_uid(originals: &Originals<'_>) -> Result<Vec<u8>> {
    let payload = originals.payload(|payload| {
        payload["predicate"]["backup"]["uid"] = json!("somebody else");
    })?;
    originals.signed(payload)
}

/// The id of the key is that of the first cluster.
fn another_signature(originals: &Originals<'_>) -> Result<Vec<u8>> {
    let mut envelope: Value = serde_json::from_slice(&originals.envelope)?;
    let stranger = SigningKey::generate(Algorithm::EcdsaP256)?;
    let payload = Envelope::parse(&originals.envelope)?.payload().to_vec();
    let other: Value = serde_json::from_str(&stranger.sign(payload)?.to_json()?)?;
    envelope["signatures"][0]["sig"] = other["signatures"][0]["sig"].clone();
    Ok(serde_json::to_vec(&envelope)?)
}

fn to_come(originals: &Originals<'_>) -> Result<Vec<u8>> {
    let payload = originals.payload(|payload| {
        payload["predicateType"] = json!("https://velero-trust.io/velero-backup/v9");
    })?;
    originals.signed(payload)
}

pub(super) fn story(two: &Two) -> Result<()> {
    let site = &two.second;
    let other_key = SigningKey::generate(Algorithm::Ed25519)?;
    let another = site.files(BUCKET, super::scoped::BACKUP)?;
    let files = site.files(BUCKET, BACKUP)?;
    let (list, original) = envelope(&files)?;
    let originals = Originals {
        envelope: original.clone(),
        files: files.clone(),
        another: envelope(&another)?.1,
        other_key: &other_key,
    };
    let key = two.first.key()?;
    let own = json!({"scope": {"backups": [BACKUP]}});
    site.trust("changed-too", &other_key.public_pem(), &own)?;
    let row = |(number, row): (usize, &Row)| {
        let file = row.file.unwrap_or(list);
        let refused = || {
            let changed = with(&files, file, (row.content)(&originals)?);
            import(site, &key, number, &changed)?;
            site.has_refused(BACKUP, row.reason, &[row.says])
        };
        refused().with_context(|| format!("{file}, {}", row.says))
    };
    all(ROWS.iter().enumerate().map(row))?;
    let tarball = format!("{BACKUP}.tar.gz");
    let changed = with(&files, &tarball, b"other bytes".to_vec());
    import(site, &key, ROWS.len(), &changed)?;
    imported_and_stopped(site, &tarball)?;
    site.put(BUCKET, BACKUP, &files)?;
    put_back(site)
}

/// Returns the files with another content of one.
fn with(files: &Files, file: &str, content: Vec<u8>) -> Files {
    let mut files = files.clone();
    files.insert(file.to_owned(), content);
    files
}

/// Puts the files into the bucket while the key does not cover the backup, and then lets it do so. Each time other
/// scopes count, so that the backup is looked at again.
fn import(site: &Site, key: &Key, number: usize, files: &Files) -> Result<()> {
    let row = format!("row-{number}");
    site.trust(TRUSTED, &key.pem, &json!({"scope": {"backups": [row]}}))?;
    site.put(BUCKET, BACKUP, files)?;
    let scope = json!({"scope": {"backups": [BACKUP, row]}});
    site.trust(TRUSTED, &key.pem, &scope)
}

/// Only the list and velero-backup.json are read for the import.
fn imported_and_stopped(site: &Site, tarball: &str) -> Result<()> {
    site.has_imported(BACKUP, TRUSTED)?;
    let create = ["restore", "create", "forged", "--from-backup", BACKUP];
    ensure_passed("forged", &velero(&site.cluster, &create)?)?;
    let words = ["[VT115]", tarball, "were signed", "found sha256:"];
    site.has_stopped("forged", BACKUP, &words)
}

/// When the file is the right one again, the backup restores.
fn put_back(site: &Site) -> Result<()> {
    let (_, verdict) = site.restores(BACKUP)?;
    ensure!(verdict["level"] != "nobody", "{verdict}");
    Ok(())
}
