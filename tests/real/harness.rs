//! The harness itself: the servers are the real ones and work together, and they are neither
//! reachable from outside nor left behind.

use crate::shared::{Shared, alone};
use crate::{holder, processes};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, PostParams};
use libtest_mimic::Trial;
use serde_json::Value;
use std::time::Duration;
use velero_trust_testing::api_server::ApiServer;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::minio::Minio;
use velero_trust_testing::{scratch, wait};

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![
        shared.trial(
            "harness::controllers_make_the_pods_of_velero_install",
            controllers_make_pods,
        ),
        shared.trial("harness::deleted_namespaces_go", deleted_namespaces_go),
        shared.trial(
            "harness::service_accounts_have_access_of_their_own",
            service_accounts_have_access,
        ),
        shared.trial(
            "harness::velero_reaches_minio_by_its_private_ca_only",
            velero_reaches_minio,
        ),
        shared.trial(
            "harness::servers_listen_on_loopback_only",
            servers_listen_on_loopback_only,
        ),
        alone(
            "harness::an_api_server_of_its_own_needs_no_controllers",
            an_api_server_of_its_own,
        ),
        alone(
            "harness::a_server_that_cannot_start_says_why",
            a_failed_start_says_why,
        ),
        alone(
            "harness::minio_is_trusted_by_its_private_ca_only",
            minio_is_trusted_by_its_ca_only,
        ),
        alone(
            "harness::nothing_survives_a_killed_harness",
            holder::nothing_survives_a_killed_harness,
        ),
    ]
}

fn controllers_make_pods(cluster: &Cluster) -> Result<()> {
    let namespace = cluster.namespace("install")?;
    cluster.install_velero(&namespace, &[])?;
    for owner in ["ReplicaSet", "DaemonSet"] {
        wait::poll(&format!("a Pod of a {owner}"), wait::PATIENCE, || {
            let pods = cluster.kubectl().get(&["pods", "-n", &namespace])?;
            let pods = pods
                .pointer("/items")
                .and_then(Value::as_array)
                .context("no list")?;
            let owners = pods
                .iter()
                .map(|pod| pod.pointer("/metadata/ownerReferences/0/kind"));
            ensure!(
                owners.flatten().any(|kind| kind == owner),
                "{} Pods of others",
                pods.len()
            );
            Ok(())
        })?;
    }
    Ok(())
}

fn deleted_namespaces_go(cluster: &Cluster) -> Result<()> {
    let namespace = cluster.namespace("short-lived")?;
    cluster
        .kubectl()
        .ok(&["create", "configmap", "content", "-n", &namespace])?;
    cluster
        .kubectl()
        .ok(&["delete", "namespace", &namespace, "--timeout=60s"])?;
    let output = cluster.kubectl().run(&["get", "namespace", &namespace])?;
    ensure!(
        output.stderr.contains("(NotFound)"),
        "it is still there: {output:?}"
    );
    Ok(())
}

fn service_accounts_have_access(cluster: &Cluster) -> Result<()> {
    let namespace = cluster.namespace("accounts")?;
    let access = cluster.service_account(&namespace, "default")?;
    let review = cluster.block_on(async {
        let reviews = Api::<SelfSubjectReview>::all(access.client().await?);
        anyhow::Ok(
            reviews
                .create(&PostParams::default(), &SelfSubjectReview::default())
                .await?,
        )
    })?;
    let name = review
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username);
    ensure!(
        name == Some(format!("system:serviceaccount:{namespace}:default")),
        "it is {name:?}"
    );
    Ok(())
}

fn minio_is_trusted_by_its_ca_only() -> Result<()> {
    let minio = Minio::start(&[])?;
    minio.check_live(&minio.authority.pem())?;
    let error = minio
        .check_live("")
        .err()
        .context("it was trusted without its CA")?;
    ensure!(
        format!("{error:#}").contains("UnknownIssuer"),
        "it was refused for another reason: {error:#}"
    );
    Ok(())
}

fn an_api_server_of_its_own() -> Result<()> {
    let servers = [ApiServer::start()?, ApiServer::start()?];
    for server in &servers {
        server
            .kubectl()?
            .ok(&["run", "pod", "--image=none", "-n", "default"])?;
    }
    Ok(())
}

fn a_failed_start_says_why() -> Result<()> {
    let error = ApiServer::start_with(&["--no-such-flag"])
        .err()
        .context("it started")?;
    ensure!(
        format!("{error:#}").contains("unknown flag: --no-such-flag"),
        "{error:#}"
    );
    Ok(())
}

fn velero_reaches_minio(cluster: &Cluster) -> Result<()> {
    let minio = cluster.minio()?;
    let velero = cluster.velero()?;
    minio.make_bucket("private-ca")?;
    let (with_ca, secret) = minio.location_with_ca(VELERO_NAMESPACE, "with-ca", "private-ca");
    let without_ca = minio.location(VELERO_NAMESPACE, "without-ca", "private-ca");
    for object in [secret, with_ca, without_ca] {
        cluster.kubectl().apply(&object.to_string())?;
    }

    let status = |name: &str, phase: &str| {
        wait::poll(
            &format!("{name} to be {phase}"),
            Duration::from_mins(1),
            || {
                let location = cluster.kubectl().get(&[
                    "backupstoragelocation",
                    name,
                    "-n",
                    VELERO_NAMESPACE,
                ])?;
                let status = location.pointer("/status").context("no status")?;
                ensure!(
                    status.pointer("/phase").is_some_and(|seen| seen == phase),
                    "{status}"
                );
                Ok(status.to_string())
            },
        )
    };
    status("with-ca", "Available").with_context(|| velero.tail())?;
    let refused = status("without-ca", "Unavailable").with_context(|| velero.tail())?;
    ensure!(
        refused.contains("certificate signed by unknown authority"),
        "{refused}"
    );
    cluster.kubectl().ok(&[
        "delete",
        "backupstoragelocation",
        "with-ca",
        "without-ca",
        "-n",
        VELERO_NAMESPACE,
    ])?;
    Ok(())
}

fn servers_listen_on_loopback_only(cluster: &Cluster) -> Result<()> {
    /// 127.0.0.1, the same address as IPv6, and ::1.
    const LOOPBACK: [&str; 3] = [
        "0100007F",
        "0000000000000000FFFF00000100007F",
        "00000000000000000000000001000000",
    ];

    cluster.velero()?;
    let addresses = processes::listening_addresses(&processes::of(scratch::root()?)?);
    let abroad: Vec<_> = addresses
        .iter()
        .filter(|address| !LOOPBACK.iter().any(|ip| address.starts_with(ip)))
        .collect();
    ensure!(abroad.is_empty(), "servers listen on {abroad:?}");
    // etcd (two ports), the API server, MinIO and Velero's metrics: the check is not empty.
    ensure!(addresses.len() >= 5, "only {addresses:?} are listened on");
    Ok(())
}
