//! The recorder with an API server and a store in memory, which do what a test says.

mod adopt;
mod departed;
mod download;
mod final_phase;
mod forged;
mod import;
mod keys;
mod kills;
mod lone;
mod lost_key;
#[cfg(target_os = "linux")]
mod many;
mod namespaces;
mod restores;
mod slow;
mod store;
mod strangers;
mod tampered;
mod trouble;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::api::Api;
use self::gate::Gate;
use self::store::S3;
use super::super::channels::WaitingByBackup;
use super::super::records::watch_records;
use super::super::{ControllerContext, RecorderSettings};
use super::signing::wait_for_signer;
use crate::ca::endpoint::DeniedAddresses;
use crate::controllers::testing::{api, gate};
use crate::decision::{Facts, Lookup};
use crate::integrity::public_key::Algorithm;
use crate::names;
use crate::sources::{LookupOptions, Source};

const BACKUPS: &str = "/apis/velero.io/v1/namespaces/velero/backups";
const RECORDS: &str = "/apis/velero-trust.io/v1alpha1/backuprecords";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/velero/events";

/// Longest time for anything here.
const PATIENCE: Duration = Duration::from_mins(1);

/// The recorder looks nothing up.
struct NoSource;

impl Source for NoSource {
    fn resolve<'a>(&'a self, _: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        std::future::pending().boxed()
    }
}

/// A cluster with a store, and a recorder that can be killed.
struct Scene {
    api: Api,
    s3: S3,
    gate: Gate,
    running: Option<JoinHandle<()>>,
    waiting: watch::Sender<Option<WaitingByBackup>>,
    trouble: watch::Sender<Option<&'static str>>,
    /// Whether Velero is asked for tarballs.
    asks_velero: bool,
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

fn uid(number: usize) -> String {
    format!("3f2a0000-0000-4000-8000-{number:012x}")
}

impl Scene {
    async fn start() -> Self {
        let gate = Gate::default();
        let (api, s3) = (Api::new(gate.clone()), S3::start(gate.clone()).await);
        let uid = json!({"metadata": {"uid": "cluster"}});
        api.put("/api/v1/namespaces/kube-system", uid);
        let bundle = json!({"data": {"ca-bundle.crt": "# none\n"}});
        let maps = "/api/v1/namespaces/velero/configmaps";
        api.put(&format!("{maps}/{}", names::BUNDLE), bundle);
        // [default], aws_access_key_id=a, aws_secret_access_key=b
        let keys = "W2RlZmF1bHRdCmF3c19hY2Nlc3Nfa2V5X2lkPWEKYXdzX3NlY3JldF9hY2Nlc3Nfa2V5PWIK";
        let secret = json!({"data": {"cloud": keys}});
        api.put("/api/v1/namespaces/velero/secrets/cloud", secret);
        let scene = Self {
            api,
            s3,
            gate,
            running: None,
            waiting: watch::channel(None).0,
            trouble: watch::channel(None).0,
            asks_velero: false,
        };
        scene.set_location(&json!({}));
        scene
    }

    /// Sets the location, with these fields of its spec in addition.
    fn set_location(&self, spec: &Value) {
        let mut location = json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
            "metadata": {"namespace": "velero"},
            "spec": {
                "provider": "aws",
                "objectStorage": {"bucket": "bucket"},
                "credential": {"name": "cloud", "key": "cloud"},
                "config": {"region": "r", "s3ForcePathStyle": "true", "s3Url": self.s3.url},
            },
        });
        json_patch::merge(&mut location["spec"], spec);
        let path = "/apis/velero.io/v1/namespaces/velero/backupstoragelocations/default";
        self.api.put(path, location);
    }

    /// Returns a Backup as Velero stores it at this moment.
    fn backup(name: &str, uid: &str, phase: &str) -> Value {
        let now = Timestamp::now();
        json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {
                "namespace": "velero", "name": name, "uid": uid,
                "managedFields": [{
                    "manager": "velero-server", "time": now.to_string(),
                    "fieldsV1": {"f:status": {"f:phase": {}}},
                }],
            },
            "spec": {"storageLocation": "default"},
            "status": {"phase": phase, "startTimestamp": "2026-01-01T00:00:00Z"},
        })
    }

    fn set_backup(&self, name: &str, uid: &str, phase: &str) {
        let path = format!("{BACKUPS}/{name}");
        self.api.put(&path, Self::backup(name, uid, phase));
    }

    /// Adds a complete Backup with its files.
    fn complete(&self, name: &str, uid: &str) {
        let document = Self::backup(name, uid, "Completed").to_string();
        let now = Timestamp::now();
        let folder = format!("backups/{name}");
        self.s3.put(
            &format!("{folder}/velero-backup.json"),
            document.as_bytes(),
            now,
        );
        self.s3
            .put(&format!("{folder}/{name}.tar.gz"), b"tarball", now);
        self.set_backup(name, uid, "Completed");
    }

    fn run(&mut self) {
        self.run_with(true);
    }

    fn run_with(&mut self, records_existing: bool) {
        self.run_to_sign_with(Algorithm::EcdsaP256, records_existing);
    }

    fn run_to_sign_with(&mut self, key_type: Algorithm, records_existing: bool) {
        let context = self.context(key_type, records_existing);
        let waiting = self.waiting.subscribe();
        let (records, work) = watch_records(&context.client).share();
        let running = super::run(context, records, waiting, self.trouble.clone());
        self.running = Some(tokio::spawn(join(running, work).map(drop)));
    }

    /// Runs a recorder that looks for its key once that is notified.
    fn run_to_sign_later(&mut self) -> Arc<Notify> {
        let context = self.context(Algorithm::EcdsaP256, true);
        let begin = Arc::new(Notify::new());
        let (waiting, notified) = (self.waiting.subscribe(), Arc::clone(&begin));
        let trouble = self.trouble.clone();
        let (records, work) = watch_records(&context.client).share();
        let running = async move {
            let settings = context.settings.recorder.clone().unwrap();
            let signer = || async {
                notified.notified().await;
                wait_for_signer(&context, settings.key_type).await
            };
            Box::pin(super::record(
                &context,
                settings.clone(),
                records,
                waiting,
                trouble,
                signer,
            ))
            .await;
        };
        self.running = Some(tokio::spawn(join(running, work).map(drop)));
        begin
    }

    fn context(&self, key_type: Algorithm, records_existing: bool) -> Arc<ControllerContext> {
        let (_sender, common_roots) = watch::channel(Some(Arc::default()));
        let source = Arc::new(NoSource);
        let mut context = ControllerContext::for_test(self.api.client(), source, common_roots);
        context.settings.recorder = Some(RecorderSettings {
            denied: DeniedAddresses::nothing(),
            records_existing,
            download_requests: self.asks_velero,
            retention: Duration::from_hours(1),
            key_type,
        });
        Arc::new(context)
    }

    async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
    }

    fn record(&self, name: &str, uid: &str) -> Option<Value> {
        self.api.get(&format!("{RECORDS}/{name}.{uid}"))
    }

    fn status(&self, name: &str, uid: &str) -> Value {
        let record = self.record(name, uid).unwrap_or_default();
        record["status"].clone()
    }

    fn checksum(&self, name: &str) -> Option<String> {
        let backup = self.api.get(&format!("{BACKUPS}/{name}"))?;
        let checksum = &backup["metadata"]["annotations"][names::CHECKSUM_ANNOTATION];
        checksum.as_str().map(str::to_owned)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !is_so(self) {
                sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:#?}", self.gate.passed());
    }

    /// Waits until the Backup says what is recorded.
    async fn until_annotated(&self, name: &str) {
        self.until("the annotation", |scene| scene.checksum(name).is_some())
            .await;
    }

    async fn until_state(&self, name: &str, uid: &str, state: &str) {
        let what = format!("{name} to be {state}");
        self.until(&what, |scene| scene.status(name, uid)["state"] == state)
            .await;
    }

    /// Waits until the files are judged not to be Velero's, and asserts the reason.
    async fn until_unobserved(&self, name: &str, uid: &str, reason: &str) {
        self.until_state(name, uid, "Unobserved").await;
        assert_eq!(self.status(name, uid)["reason"], reason);
    }

    /// Waits until nothing happens for this time.
    async fn rest(&self, time: Duration) {
        let mut before = usize::MAX;
        while self.gate.passed().len() != before {
            before = self.gate.passed().len();
            sleep(time).await;
        }
    }
}
