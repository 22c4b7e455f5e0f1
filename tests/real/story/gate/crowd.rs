//! Many Restores of one backup at once, with two replicas.

use super::Bed;
use crate::story::{PATIENCE, wait_for_phase};
use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::Duration;
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::store_proxy::StoreProxy;
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

/// Restores that are created at once.
const MANY: usize = 10;

/// Longest time from the moment at which the files are read to the next try of Velero. It takes a fraction;
/// machines are noisy.
const NEXT_TRY: Duration = Duration::from_secs(10);

pub(super) fn story(bed: &mut Bed) -> Result<()> {
    let bucket = StoreProxy::start(bed.cluster.minio()?)?;
    let config = json!({"spec": {"config": {"s3Url": bucket.url}}}).to_string();
    let patch = ["patch", "bsl", "default", "-n", VELERO_NAMESPACE];
    let patch = [&patch[..], &["--type=merge", "-p", &config]].concat();
    bed.cluster.kubectl().ok(&patch)?;
    bed.back_up("good")?;
    let second = bed.installation.installer.serve_beside("second")?;
    let replicas = [&bed.installation.webhook, &second];
    let addresses = [replicas[0].address()?, replicas[1].address()?];
    bed.installation.installer.set_replicas(&addresses);
    are_asked(bed, replicas)?;
    ten_at_once(bed, replicas, &bucket).with_context(|| second.log())
}

/// Waits until the API server asks both replicas.
fn are_asked(bed: &Bed, replicas: [&Webhook; 2]) -> Result<()> {
    wait::poll("both replicas to be asked", PATIENCE, || {
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        create(bed, "asked", "good", &params)?;
        for replica in replicas {
            let reviews = replica.events("review admitted");
            let is_asked = reviews.iter().any(|review| {
                let name = review["name"].as_str().unwrap_or_default();
                name.starts_with("asked")
            });
            ensure!(is_asked, "{} is not asked", replica.url);
        }
        Ok(())
    })
}

/// Creates many Restores at the same time.
fn create(bed: &Bed, name: &str, backup: &str, params: &PostParams) -> Result<()> {
    let kind = GroupVersionKind::gvk("velero.io", "v1", "Restore");
    let resource = ApiResource::from_gvk(&kind);
    let client: Client = bed.cluster.client();
    let restores = Api::<DynamicObject>::namespaced_with(client, VELERO_NAMESPACE, &resource);
    let objects = (0..MANY).map(|index| {
        let object = crate::story::restore(&format!("{name}-{index}"), backup);
        serde_json::from_str::<DynamicObject>(&object)
    });
    let objects = objects.collect::<Result<Vec<_>, _>>()?;
    let created = objects.iter().map(|object| restores.create(params, object));
    bed.cluster.block_on(try_join_all(created))?;
    Ok(())
}

/// All are restored, and share what is read.
fn ten_at_once(bed: &Bed, replicas: [&Webhook; 2], bucket: &StoreProxy) -> Result<()> {
    let before = bucket.requests().len();
    create(bed, "many", "good", &PostParams::default())?;
    for index in 0..MANY {
        let name = format!("many-{index}");
        wait_for_phase(&bed.cluster, "restore", &name, "Completed")?;
    }
    let requests = bucket.requests().split_off(before);
    let of_tarball = requests
        .iter()
        .filter(|request| request.method == "GET" && request.path.ends_with("/good.tar.gz"));
    let (ours, theirs): (Vec<_>, Vec<_>) =
        of_tarball.partition(|request| !request.agent.contains("aws-sdk-go"));
    ensure!(
        theirs.len() >= MANY,
        "Velero read it {} times",
        theirs.len()
    );
    let read = ours.len();
    ensure!((1..=2).contains(&read), "we read the tarball {read} times");
    let after = next_try(replicas)?;
    eprintln!(
        "{MANY} Restores at once: tarball read {read} times, Velero's next try after {after:?}"
    );
    ensure!(after <= NEXT_TRY, "Velero tried again after {after:?}");
    bed.close()
}

/// Returns how long after the files were read Velero began the first Restore.
fn next_try(replicas: [&Webhook; 2]) -> Result<Duration> {
    let time = |event: &Value| event["timestamp"].as_str()?.parse::<Timestamp>().ok();
    let [leader, _] = replicas;
    let read = leader.events("read the files for Restores");
    let read = read.first().and_then(time).context("nothing was read")?;
    let admitted = replicas.map(|replica| replica.events("review admitted"));
    let begun = admitted.iter().flatten().filter(|review| {
        let name = review["name"].as_str().unwrap_or_default();
        review["operation"] == "UPDATE" && name.starts_with("many")
    });
    let first = begun.filter_map(time).min().context("none began")?;
    Ok(first.duration_since(read).try_into()?)
}
