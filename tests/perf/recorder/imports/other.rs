//! Another cluster: it made the backups of the bucket, and signed what it recorded.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use velero_trust::bucket::OpenLocation;
use velero_trust::decision::{Location, PodVolumes};
use velero_trust::digest::Sha256;
use velero_trust::integrity::files;
use velero_trust::integrity::manifest::{File, Manifest};
use velero_trust::integrity::public_key::{Algorithm, PublicKey};
use velero_trust::integrity::statement::{Level, Statement};
use velero_trust::integrity::verification;
use velero_trust::kubernetes::crds::{KeyState, TrustedKey, record_name};
use velero_trust::signing_key::SigningKey;
use velero_trust::velero::backup_fields::BackupFields;

use super::super::scene::{Scene, VELERO};
use super::BACKUPS;
use crate::usage::thread_cpu;

/// Files that are written at the same time.
const AT_ONCE: usize = 8;

/// The name of its TrustedKey.
const KEY: &str = "other";

const TARBALL: &[u8] = b"tarball";

pub(super) struct Other {
    key: SigningKey,
}

/// Returns the name of a backup.
pub(super) fn name(number: usize) -> String {
    format!("shop-{number:05}")
}

fn uid(number: usize) -> String {
    format!("3f2a0000-0000-4000-8000-{number:012}")
}

/// Returns the name of the record of an imported backup.
pub(super) fn record(number: usize) -> String {
    record_name(&name(number), &uid(number))
}

/// Returns what that cluster puts into the bucket as `velero-backup.json`.
fn document(number: usize) -> Value {
    json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {
            "name": name(number), "namespace": VELERO, "uid": uid(number),
            "labels": {"velero.io/schedule-name": "shop"},
        },
        "spec": {"storageLocation": "default"},
        "status": {
            "phase": "Completed", "formatVersion": "1.1.0",
            "startTimestamp": "2026-01-01T00:00:00Z", "completionTimestamp": "2026-01-01T00:01:00Z",
        },
    })
}

/// Makes the Backup of a backup, as Velero's sync does.
pub(super) async fn create(scene: &Scene<'_>, number: usize) -> Result<()> {
    let backup: DynamicObject = serde_json::from_value(document(number))?;
    let backups = scene.backups();
    backups.create(&PostParams::default(), &backup).await?;
    Ok(())
}

impl Other {
    pub(super) fn new() -> Result<Self> {
        let key = SigningKey::generate(Algorithm::EcdsaP256)?;
        Ok(Self { key })
    }

    /// Returns the names and contents of the files that are read of a backup to import it.
    fn files(&self, location: &Location, number: usize) -> Result<[(String, Vec<u8>); 2]> {
        let document = serde_json::to_vec(&document(number))?;
        let name = name(number);
        let file = |name: String, content: &[u8]| File {
            name,
            size: content.len() as u64,
            sha256: Sha256::of(content),
        };
        let listed = vec![
            file(files::BACKUP.to_owned(), &document),
            file(format!("{name}.tar.gz"), TARBALL),
        ];
        let backup = BackupFields::from_document(&document)
            .ok()
            .context("not the JSON of a Backup")?;
        let statement = Statement {
            manifest: Manifest::new(&name, listed)?,
            cluster: "other".to_owned(),
            backup,
            location: location.clone(),
            pod_volumes: PodVolumes::none(),
            level: Level::Observed,
            public_key: Some(self.key.public_pem()),
        };
        let envelope = self.key.sign(statement.to_bytes()?)?.to_json()?;
        let id = self.key.public().id().to_string();
        Ok([
            (files::BACKUP.to_owned(), document),
            (files::envelope(&id), envelope.into_bytes()),
        ])
    }

    /// Puts the files of all backups into the bucket; the tarball only of the first, which alone is restored.
    pub(super) async fn fill(&self, location: &OpenLocation) -> Result<()> {
        let put = stream::iter(0..BACKUPS).map(|number| async move {
            let backup = name(number);
            for (file, content) in self.files(&location.signed, number)? {
                location.store.put(&backup, &file, content).await?;
            }
            anyhow::Ok(())
        });
        put.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let first = name(0);
        let tarball = format!("{first}.tar.gz");
        location
            .store
            .put(&first, &tarball, TARBALL.to_vec())
            .await?;
        Ok(())
    }

    /// Trusts the key.
    pub(super) async fn trust(&self, scene: &Scene<'_>) -> Result<()> {
        let key = json!({
            "apiVersion": "velero-trust.io/v1alpha1", "kind": "TrustedKey",
            "metadata": {"name": KEY},
            "spec": {"publicKey": self.key.public_pem()},
        });
        let keys = Api::<TrustedKey>::all(scene.client.clone());
        let key = serde_json::from_value(key)?;
        keys.create(&PostParams::default(), &key).await?;
        Ok(())
    }

    /// Sets the state of the TrustedKey.
    pub(super) async fn set_state(scene: &Scene<'_>, state: KeyState) -> Result<()> {
        let keys = Api::<TrustedKey>::all(scene.client.clone());
        let change = Patch::Merge(json!({"spec": {"state": state}}));
        keys.patch(KEY, &PatchParams::default(), &change).await?;
        Ok(())
    }

    /// Returns the CPU time of verifying an envelope.
    pub(super) fn verify(&self) -> Result<Duration> {
        const ROUNDS: u32 = 1_000;
        let location = Location {
            provider: "aws".to_owned(),
            bucket: "backups".to_owned(),
            prefix: String::new(),
        };
        let [_, (_, envelope)] = self.files(&location, 0)?;
        let keys: [&PublicKey; 1] = [self.key.public()];
        let name = name(0);
        let before = thread_cpu()?;
        for _ in 0..ROUNDS {
            let opened = verification::open(black_box(&envelope), &keys, Some(&name));
            ensure!(black_box(opened).is_ok(), "it does not verify");
        }
        Ok(thread_cpu()?.saturating_sub(before) / ROUNDS)
    }
}
