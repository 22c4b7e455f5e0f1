//! Backups that a test makes itself, with their files in a real MinIO, are recorded.

mod counted;
mod day_one;
mod keys;
mod kills;
mod pages;
mod stores;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::ByteString;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use libtest_mimic::Trial;
use object_store::aws::AwsCredential;
use serde_json::{Value, json};
use velero_trust::bucket::{BucketSettings, Credentials, Reach, Store, Timing, Trust};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;
use velero_trust::kubernetes::crds::BackupRecord;
use velero_trust_testing::installer;
use velero_trust_testing::minio::{ACCESS_KEY, Minio, REGION, SECRET_KEY};

use crate::servers::Servers;
use crate::shared::alone;

const BUCKET: &str = "backups";
const NAMESPACE: &str = "velero";

/// Files of a backup beside those that each has.
type Extra = Vec<(String, Vec<u8>)>;

/// When the first Backup began: on 1 January 2026, in seconds since 1970.
const FIRST_STARTED: i64 = 1_767_225_600;

/// Backups that are made at the same time.
const AT_ONCE: usize = 8;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone(
            "records::each_backup_is_recorded_once_whenever_we_are_killed",
            kills::kills,
        ),
        alone(
            "records::whatever_the_location_is_and_whatever_lies_in_its_bucket",
            stores::stores,
        ),
        alone(
            "records::each_file_is_read_once_and_a_crowd_of_files_is_given_up",
            counted::counted,
        ),
        alone("records::every_page_of_a_list_counts", pages::pages),
        alone(
            "records::keys_are_shown_exported_trusted_rotated_and_revoked",
            keys::keys,
        ),
    ]
}

/// An API server with the kinds of the ledger, and a store. The fields are dropped in this order.
struct Scene {
    minio: Minio,
    servers: Servers,
}

impl Scene {
    fn start() -> Result<Self> {
        let scene = Self {
            minio: Minio::start(&[BUCKET])?,
            servers: Servers::start()?,
        };
        let ledger = installer::manifests().join("crds");
        let ledger = ledger.to_str().context("a path that is no text")?;
        let kubectl = &scene.servers.kubectl;
        kubectl.ok(&["apply", "-k", ledger])?;
        scene.servers.namespace(NAMESPACE)?;
        let keys = std::fs::read(scene.minio.credentials_file())?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": NAMESPACE, "name": "cloud"},
            "data": {"cloud": ByteString(keys)},
        });
        kubectl.apply(&secret.to_string())?;
        Ok(scene)
    }

    /// Applies a location, with `change` in its spec.
    fn location(&self, name: &str, change: &Value) -> Result<()> {
        let (mut location, secret) = self.minio.location_with_ca(NAMESPACE, name, BUCKET);
        location["spec"]["credential"] = json!({"name": "cloud", "key": "cloud"});
        json_patch::merge(&mut location["spec"], change);
        self.servers.kubectl.apply(&secret.to_string())?;
        self.servers.kubectl.apply(&location.to_string())?;
        Ok(())
    }

    fn backups(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("velero.io", "v1", "Backup");
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.servers.client.clone(), NAMESPACE, &resource)
    }

    /// Makes Backups as Velero does, one after the other: begun, written, complete. Each began a second
    /// after the one before. `extra` files are written, too.
    fn back_up(
        &self,
        store: &Store,
        location: &str,
        names: &[String],
        extra: &[(String, Vec<u8>)],
    ) -> Result<()> {
        let backups = self.backups();
        let numbered = stream::iter((0_i64..).zip(names));
        let made = numbered
            .map(|(number, name)| back_up(&backups, store, (location, name, number), extra));
        let made = made.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>();
        self.servers.runtime.block_on(made).map(drop)
    }

    /// Returns all records by the name of the Backup.
    fn records(&self) -> Result<BTreeMap<String, Vec<BackupRecord>>> {
        let records = Api::<BackupRecord>::all(self.servers.client.clone());
        let records = self
            .servers
            .runtime
            .block_on(records.list(&ListParams::default()))?;
        let mut by_name: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for record in records {
            by_name
                .entry(record.spec.backup.clone())
                .or_default()
                .push(record);
        }
        Ok(by_name)
    }

    /// Opens the bucket as the administrator.
    fn store(&self) -> Result<Store> {
        let settings = BucketSettings::of_bucket(NAMESPACE, BUCKET, "")?;
        let settings = settings.at(Some(&self.minio.url), Some(REGION), true)?;
        let keys = AwsCredential {
            key_id: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            token: None,
        };
        let store = Store::open(settings, Credentials::fixed(keys)?, self.reach());
        Ok(self.servers.runtime.block_on(store)?)
    }

    fn reach(&self) -> Reach {
        Reach {
            trust: Trust::bundle(NAMESPACE, &self.minio.authority.pem()),
            denied: DeniedAddresses::nothing(),
            proxies: Proxies::default(),
            timing: Timing::default(),
        }
    }
}

async fn back_up(
    backups: &Api<DynamicObject>,
    store: &Store,
    (location, name, number): (&str, &str, i64),
    extra: &[(String, Vec<u8>)],
) -> Result<()> {
    let started = Timestamp::from_second(FIRST_STARTED + number)?.to_string();
    let object = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"storageLocation": location},
        "status": {"phase": "InProgress", "startTimestamp": started},
    });
    let object = serde_json::from_value(object)?;
    let mut object = backups.create(&PostParams::default(), &object).await?;
    ensure!(object.metadata.uid.is_some(), "no uid");
    let complete =
        json!({"phase": "Completed", "completionTimestamp": Timestamp::now().to_string()});
    json_patch::merge(&mut object.data["status"], &complete);
    object.metadata.managed_fields = None;
    let document = serde_json::to_vec(&object)?;
    store.put(name, "velero-backup.json", document).await?;
    store
        .put(name, &format!("{name}.tar.gz"), tarball(name))
        .await?;
    for (file, content) in extra {
        store.put(name, file, content.clone()).await?;
    }
    let status = json!({"status": complete});
    let patch = Patch::Merge(&status);
    backups.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Returns the content of a tarball, which no two backups share.
fn tarball(name: &str) -> Vec<u8> {
    format!("the tarball of {name}").into_bytes()
}
