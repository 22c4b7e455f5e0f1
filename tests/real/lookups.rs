//! What a look-up of Backups costs, with Backups as large as the API server stores them.

use crate::servers::Servers;
use crate::shared::alone;
use anyhow::{Context as _, Result, bail, ensure};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::thread;
use velero_trust_testing::https;
use velero_trust_testing::webhook::Webhook;

const NAMESPACE: &str = "large";

/// Number of Backups of the Schedule.
const BACKUPS: usize = 100;

/// Length of a text in each, in bytes.
const TEXT_BYTES: usize = 1_000_000;

/// Maximum memory of the server.
const MAX_PEAK_BYTES: u64 = 64 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone(
        "lookups::a_schedule_of_large_backups_fits_into_the_memory",
        large_backups,
    )]
}

fn large_backups() -> Result<()> {
    let servers = Servers::start()?;
    servers.namespace(NAMESPACE)?;
    create(&servers)?;
    let mut replica = servers.limited_replica()?;
    let by_schedule = json!({"scheduleName": "nightly"});
    let by_name = json!({"backupName": "nightly-042"});
    let (answer, beside) = thread::scope(|scope| {
        let large = scope.spawn(|| review(&servers, &replica, &by_schedule));
        let mut beside = 0;
        while !large.is_finished() {
            let answer = review(&servers, &replica, &by_name)?;
            ensure!(answer.contains("[VT108]"), "{answer}");
            beside += 1;
        }
        let large = large.join();
        anyhow::Ok((large.unwrap_or_else(|_| bail!("it panicked")), beside))
    })
    .with_context(|| replica.tail())?;
    ensure!(replica.is_running()?, "it was killed: {}", replica.tail());
    let answer = answer.with_context(|| replica.tail())?;
    // The newest has a checksum, and no other Backup.
    ensure!(answer.contains("[VT108]"), "{answer}");
    ensure!(answer.contains("nightly-042"), "{answer}");
    ensure!(beside > 0, "no other review was answered beside it");
    let peak = replica.peak()?;
    ensure!(peak < MAX_PEAK_BYTES, "{} MiB", peak >> 20);
    Ok(())
}

/// Creates the Backups. Their names have another order than their times.
fn create(servers: &Servers) -> Result<()> {
    let kind = GroupVersionKind::gvk("velero.io", "v1", "Backup");
    let resource = ApiResource::from_gvk(&kind);
    let client = servers.client.clone();
    let backups = Api::<DynamicObject>::namespaced_with(client, NAMESPACE, &resource);
    let text = "x".repeat(TEXT_BYTES);
    servers.runtime.block_on(async {
        for number in 0..BACKUPS {
            let (day, annotations) = if number == 42 {
                let checksum = format!("sha256:{}", "0".repeat(64));
                (2, json!({"velero-trust.io/checksum": checksum}))
            } else {
                (1, json!({}))
            };
            let backup = json!({
                "apiVersion": "velero.io/v1",
                "kind": "Backup",
                "metadata": {
                    "name": format!("nightly-{number:03}"),
                    "annotations": annotations,
                    "labels": {"velero.io/schedule-name": "nightly"},
                },
                "spec": {"includedNamespaces": [text]},
                "status": {
                    "phase": "Completed",
                    "startTimestamp": format!("2026-01-{day:02}T01:00:00Z"),
                },
            });
            let backup = serde_json::from_value(backup)?;
            backups.create(&PostParams::default(), &backup).await?;
        }
        Ok(())
    })
}

/// Sends the review of a Restore with this `spec`, as the API server would. Returns the answer.
fn review(servers: &Servers, replica: &Webhook, spec: &Value) -> Result<String> {
    let review: Value = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "large",
            "kind": {"group": "velero.io", "version": "v1", "kind": "Restore"},
            "resource": {"group": "velero.io", "version": "v1", "resource": "restores"},
            "name": "large", "namespace": NAMESPACE, "operation": "CREATE",
            "userInfo": {"username": "jane"},
            "object": {"metadata": {"name": "large"}, "spec": spec},
        }
    });
    let url = format!("{}/validate/restores?timeout=30s", replica.url);
    let headers = [("Content-Type", "application/json")];
    let answer = https::send("POST", &url, &servers.ca()?, &headers, &review.to_string())?;
    Ok(answer.body)
}
