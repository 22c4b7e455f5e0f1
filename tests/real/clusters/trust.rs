//! What a user of a cluster does with keys of another one, and what the backups show of it.

use super::site::Site;
use crate::story::recorded::record_of;
use crate::story::{PATIENCE, at, ensure_passed, ensure_refused, wait_for_phase};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use velero_trust_testing::wait;

/// The key that signs in a cluster.
pub(super) struct Key {
    /// `metadata.name` of its TrustedKey there.
    pub(super) name: String,
    pub(super) id: String,
    pub(super) pem: String,
}

impl Site {
    /// Returns the key that signs here.
    pub(super) fn key(&self) -> Result<Key> {
        let shown = self.velero_trust(&["keys", "show", "-o", "json"])?;
        ensure_passed("keys show", &shown)?;
        let shown: Value = serde_json::from_str(&shown.stdout)?;
        ensure!(shown["signs"] == true, "{shown}");
        let text = |field: &str| shown[field].as_str().map(str::to_owned);
        Ok(Key {
            name: text("name").context("no name")?,
            id: text("keyId").context("no id")?,
            pem: text("publicKey").context("no key")?,
        })
    }

    /// Applies the TrustedKey `name`, with this in its spec besides the key.
    pub(super) fn trust(&self, name: &str, pem: &str, spec: &Value) -> Result<()> {
        let mut key = json!({
            "apiVersion": "velero-trust.io/v1alpha1", "kind": "TrustedKey",
            "metadata": {"name": name},
            "spec": {"publicKey": pem},
        });
        merge(&mut key["spec"], spec);
        self.cluster.kubectl().apply(&key.to_string()).map(drop)
    }

    /// Waits until the backup is recorded by the TrustedKey `key`, and returns its record.
    pub(super) fn has_imported(&self, backup: &str, key: &str) -> Result<Value> {
        wait::poll(&format!("{backup} to be imported"), PATIENCE, || {
            let record = self.record(backup)?;
            let by = at(&record, "/status/imported/key");
            ensure!(*by == key, "{}", record["status"]);
            let checksum = self.annotation(backup, "checksum")?;
            ensure!(*at(&record, "/status/checksum") == checksum, "{checksum}");
            Ok(record)
        })
    }

    /// Returns the record of a backup that counts.
    pub(super) fn record(&self, backup: &str) -> Result<Value> {
        let records = self.records(backup)?;
        let is_open = |record: &&Value| {
            *at(record, "/status/state") == "Recorded" && at(record, "/status/gone").is_null()
        };
        let open = records.iter().find(is_open);
        open.cloned()
            .with_context(|| format!("no record that counts: {records:?}"))
    }

    /// Returns all records of backups of this name.
    pub(super) fn records(&self, backup: &str) -> Result<Vec<Value>> {
        let records = self.cluster.kubectl().get(&["backuprecords"])?;
        let records = at(&records, "/items").as_array().context("no list")?;
        let records = records.iter();
        let named = records.filter(|record| *at(record, "/spec/backup") == backup);
        Ok(named.cloned().collect())
    }

    /// Waits until a backup is not recorded, for this reason and with these words, and no Restore begins.
    pub(super) fn has_refused(&self, backup: &str, reason: &str, words: &[&str]) -> Result<()> {
        wait::poll(&format!("{backup} to be {reason}"), PATIENCE, || {
            let record = record_of(&self.cluster, backup)?;
            let status = at(&record, "/status");
            ensure!(*at(status, "/state") == "Unobserved", "{status}");
            ensure!(*at(status, "/reason") == reason, "{status}");
            let message = at(status, "/message").to_string();
            for word in words {
                ensure!(message.contains(word), "`{word}` is not in {message}");
            }
            self.lacks_annotations(backup)
        })?;
        self.refuses(backup, &[&["[VT101]"], words].concat())
    }

    /// Fails unless a Restore is refused with these words.
    pub(super) fn refuses(&self, backup: &str, words: &[&str]) -> Result<()> {
        let restore = unique("refused");
        let created = self.restore(&restore, backup, None)?;
        if created.code != Some(0) {
            return ensure_refused(backup, &created, words);
        }
        // Another trial changed a key just now. Then it waits first.
        let stopped = wait_for_phase(&self.cluster, "restore", &restore, "FailedValidation")?;
        let errors = at(&stopped, "/status/validationErrors").to_string();
        for word in words {
            ensure!(errors.contains(word), "`{word}` is not in {errors}");
        }
        Ok(())
    }

    /// Fails if something of velero-trust is on the Backup.
    pub(super) fn lacks_annotations(&self, backup: &str) -> Result<()> {
        for name in ["checksum", "manifest", "verified-at"] {
            let found = self.annotation(backup, name);
            ensure!(found.is_err(), "{backup} has {name}: {found:?}");
        }
        Ok(())
    }

    /// Restores a backup whose namespace is lost, and returns the name of the Restore and the verdict.
    pub(super) fn restores(&self, backup: &str) -> Result<(String, Value)> {
        let restore = unique("restored");
        ensure_passed(&restore, &self.restore(&restore, backup, None)?)?;
        let verdict = self.has_restored(&restore, backup)?;
        ensure!(verdict["accepted"].is_null(), "{verdict}");
        Ok((restore, verdict))
    }

    /// Waits for an Event about a Backup with these words.
    pub(super) fn has_told(&self, backup: &str, reason: &str, words: &str) -> Result<()> {
        let about = format!("--field-selector=involvedObject.name={backup}");
        let events = ["events", "-n", "velero", &about];
        wait::poll(&format!("an Event {reason}"), wait::PATIENCE, || {
            let events = self.cluster.kubectl().get(&events)?;
            let all = at(&events, "/items").as_array().context("no list")?;
            let of_reason = all.iter().filter(|event| event["reason"] == reason);
            let said: Vec<_> = of_reason
                .map(|event| event["message"].to_string())
                .collect();
            ensure!(said.iter().any(|said| said.contains(words)), "{said:?}");
            Ok(())
        })
    }
}

/// Returns a name that no other Restore has.
pub(super) fn unique(prefix: &str) -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}-{}", LAST.fetch_add(1, Ordering::Relaxed))
}
