//! A backup is deleted, and another one is made under its name. The UID tells them apart, in both clusters.

use super::Two;
use super::departed::{delete, same};
use super::files::Files;
use crate::story::{PATIENCE, at, ensure_passed, get, velero};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cluster::BUCKET;
use velero_trust_testing::wait;

pub(super) const BACKUP: &str = "again";

/// Name of the TrustedKey in the second cluster.
const TRUSTED: &str = "again";

/// The older backup of the name.
pub(super) struct Again {
    files: Files,
    /// Its record in the first cluster.
    made: Value,
    /// Its record in the second cluster.
    imported: Value,
}

impl Again {
    /// The second cluster knows the older one when the first one makes another.
    pub(super) fn make(two: &Two) -> Result<Self> {
        let Two { first, second } = two;
        let scope = json!({"scope": {"backups": [BACKUP]}});
        second.trust(TRUSTED, &first.key()?.pem, &scope)?;
        let imported = second.has_imported(BACKUP, TRUSTED)?;
        let files = first.files(BUCKET, BACKUP)?;
        let made = delete(first, BACKUP)?;
        ensure!(at(&made, "/spec/uid") == at(&imported, "/spec/uid"));
        let kubectl = first.cluster.kubectl();
        let change = ["patch", "configmap", "prices", "-n", BACKUP, "--type=merge"];
        kubectl.ok(&[&change[..], &["-p", r#"{"data": {"apple": "4"}}"#]].concat())?;
        let create = ["backup", "create", BACKUP, "--include-namespaces", BACKUP];
        let created = velero(&first.cluster, &[&create[..], &["--wait"]].concat())?;
        ensure_passed("another one", &created)?;
        first.has_recorded(&[BACKUP])?;
        // Velero changes no Backup that is there, so that the second cluster may have the older one still.
        let kubectl = second.cluster.kubectl();
        let forget = ["delete", "backup", BACKUP, "-n", "velero"];
        kubectl.ok(&[&forget[..], &["--ignore-not-found"]].concat())?;
        Ok(Self {
            files,
            made,
            imported,
        })
    }

    pub(super) fn is_told(&self, two: &Two) -> Result<()> {
        let Two { first, second } = two;
        let newer = first.record(BACKUP)?;
        let uid = at(&newer, "/spec/uid");
        ensure!(uid != at(&self.made, "/spec/uid"), "{uid} twice");
        wait::poll("the newer one to be imported", PATIENCE, || {
            get(&second.cluster, "backup", BACKUP)?;
            let record = second.has_imported(BACKUP, TRUSTED)?;
            ensure!(at(&record, "/spec/uid") == uid, "{record}");
            let older = same(second, BACKUP, &self.imported)?;
            ensure!(at(&older, "/status/gone").is_object(), "{older}");
            Ok(())
        })?;
        // The older one is signed, too.
        first.put(BUCKET, BACKUP, &self.files)?;
        for site in [first, second] {
            let create = ["restore", "create", "older", "--from-backup", BACKUP];
            ensure_passed("the older", &velero(&site.cluster, &create)?)?;
            let stopped = wait::poll("the older one to be stopped", PATIENCE, || {
                let restore = get(&site.cluster, "restore", "older")?;
                let phase = at(&restore, "/status/phase");
                ensure!(*phase == "FailedValidation", "{phase}");
                Ok(restore)
            })?;
            let errors = at(&stopped, "/status/validationErrors").to_string();
            for word in ["[VT115]", "again.tar.gz", "velero-backup.json"] {
                ensure!(errors.contains(word), "`{word}` is not in {errors}");
            }
        }
        let listed = first.velero_trust(&["backup", "show", BACKUP, "-o", "json"])?;
        let listed: Value = serde_json::from_str(&listed.stdout)?;
        ensure!(listed["uid"] == *uid, "{listed}");
        let others = listed["otherRecords"].as_array().context("no list")?;
        ensure!(others.len() == 1, "{listed}");
        Ok(())
    }
}
