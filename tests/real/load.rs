//! Callers that go on asking the webhook by way of the API server.

use anyhow::{Result, bail};
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use velero_trust_testing::cluster::Cluster;

/// What callers may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The refusal of the webhook.
    Refused,
    /// That, or nothing is asked: only a call that fails is wrong.
    RefusedOrUnasked,
}

/// Callers that write by dry run what the webhook refuses.
pub(crate) struct Load {
    answer: Answer,
    /// The `objectStorage` of the location that is written, without its bucket, and the rule that refuses it.
    storage: (Value, &'static str),
    callers: usize,
    /// Time between two calls of one caller.
    pause: Duration,
    client: kube::Client,
    runtime: tokio::runtime::Runtime,
    asked: AtomicUsize,
}

impl Load {
    pub(crate) fn new(cluster: &Cluster, answer: Answer) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Self {
            answer,
            storage: (json!({"caCert": "bm90aGluZw=="}), "[VT010]"),
            callers: 4,
            pause: Duration::from_millis(100),
            client: runtime.block_on(cluster.access().client())?,
            runtime,
            asked: AtomicUsize::new(0),
        })
    }

    /// Lets them write what cannot be judged without a look at a Secret. A dry run is admitted then, with a warning.
    pub(crate) fn of_a_secret(mut self) -> Self {
        self.storage = (
            json!({"caCertRef": {"name": "none", "key": "ca.crt"}}),
            "[VT001]",
        );
        self
    }

    /// Lets so many callers ask without a pause.
    pub(crate) fn without_pause(mut self, callers: usize) -> Self {
        self.callers = callers;
        self.pause = Duration::ZERO;
        self
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Returns what was answered otherwise than by the webhook, while `work` was done.
    pub(crate) fn during(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<String>> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let callers = scope.spawn(|| {
                self.runtime.block_on(async {
                    let callers = (0..self.callers).map(|_| self.call(&is_over));
                    futures::future::join_all(callers).await.concat()
                })
            });
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            let failed = callers.join();
            done?;
            match failed {
                Ok(failed) => Ok(failed),
                Err(_) => bail!("a caller panicked"),
            }
        })
    }

    async fn call(&self, is_over: &AtomicBool) -> Vec<String> {
        let kind = GroupVersionKind::gvk("velero.io", "v1", "BackupStorageLocation");
        let kind = ApiResource::from_gvk(&kind);
        let all = Api::<DynamicObject>::namespaced_with(self.client.clone(), "default", &kind);
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let (storage, rule) = &self.storage;
        let mut object = json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"name": "under-load"},
            "spec": {"provider": "aws", "objectStorage": storage},
        });
        object["spec"]["objectStorage"]["bucket"] = json!("b");
        let mut failed = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let Ok(object) = serde_json::from_value(object.clone()) else {
                return vec!["not an object".to_owned()];
            };
            let answer = all.create(&params, &object).await;
            self.asked.fetch_add(1, Ordering::Relaxed);
            match answer {
                Err(error) if error.to_string().contains(rule) => {}
                Ok(_) if self.answer == Answer::RefusedOrUnasked => {}
                other => failed.push(format!("{other:?}")),
            }
            tokio::time::sleep(self.pause).await;
        }
        failed
    }
}
