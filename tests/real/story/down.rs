//! What must keep working, and what must not, while the server is down and its webhook
//! configurations are active.

use super::recorded::{install_ledger, wait_for_annotation};
use super::{
    PATIENCE, at, back_up, ensure_passed, ensure_refused, get, injected_into_server, install,
    restore, velero, wait_for_injection, wait_for_phase,
};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use velero_trust_testing::cli::Output;
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::velero::Velero;
use velero_trust_testing::wait;

/// A Backup that Velero did not make, and without files.
const MADE_UP: &str = "made-up";

/// The bucket of a second location.
const SPARE: &str = "spare";

pub(super) fn story() -> Result<()> {
    let cluster = Cluster::start()?;
    let server = cluster.velero()?;
    install_ledger(&cluster)?;
    let mut installation = install(&cluster)?;
    prepare(&cluster, server)?;

    installation.kill()?;
    // Start with what Velero does once a minute, so that the rest happens meanwhile.
    let before = get(&cluster, "bsl", "default")?;
    let lost = get(&cluster, "backup", "lost")?;
    let delete = ["delete", "backup", "lost", "-n", VELERO_NAMESPACE];
    cluster.kubectl().ok(&delete)?;
    velero_works_on(&cluster, server)?;
    labels_and_pods_pass(&cluster)?;
    velero_syncs(&cluster, &before, &lost).with_context(|| server.tail())?;
    the_operator_works_on(&cluster).with_context(|| server.tail())?;
    what_we_judge_waits_for_us(&cluster)?;

    installation.start_again(&[])?;
    all_is_well(&cluster).with_context(|| installation.webhook.log())?;

    installation.kill()?;
    installation.start_again(&["--restores=warn"])?;
    restores_begin_with_a_warning(&cluster).with_context(|| installation.webhook.log())
}

/// Creates two good locations, two backups in the first one, and a completed Restore.
fn prepare(cluster: &Cluster, server: &Velero) -> Result<()> {
    cluster.minio()?.make_bucket(SPARE)?;
    add_location(cluster, "default", BUCKET)?;
    add_location(cluster, SPARE, SPARE)?;
    patch(cluster, "default", &json!({"default": true}))?;
    for name in ["default", SPARE] {
        wait_for_phase(cluster, "bsl", name, "Available").with_context(|| server.tail())?;
    }
    for name in ["doomed", "lost"] {
        back_up(cluster, name).with_context(|| server.tail())?;
    }
    wait_for_annotation(cluster, "lost")?;
    let output = cluster.kubectl().create(&restore("done", "lost"))?;
    ensure_passed("a Restore of a recorded backup", &output)?;
    wait_for_phase(cluster, "restore", "done", "Completed").with_context(|| server.tail())?;
    Ok(())
}

fn add_location(cluster: &Cluster, name: &str, bucket: &str) -> Result<()> {
    let (mut location, secret) = cluster
        .minio()?
        .location_with_ca(VELERO_NAMESPACE, name, bucket);
    merge(
        &mut location,
        &json!({"spec": {"validationFrequency": "1s"}}),
    );
    cluster.kubectl().apply(&secret.to_string())?;
    let output = cluster.kubectl().create(&location.to_string())?;
    ensure_passed("a good location", &output)
}

/// Applies a merge patch to the spec of a location, as a user.
fn patch_spec(cluster: &Cluster, name: &str, spec: &Value) -> Result<Output> {
    let patch = json!({"spec": spec}).to_string();
    let arguments = [
        "patch",
        "bsl",
        name,
        "-n",
        VELERO_NAMESPACE,
        "--type=merge",
        "-p",
        &patch,
    ];
    cluster.kubectl().run(&arguments)
}

fn patch(cluster: &Cluster, name: &str, spec: &Value) -> Result<()> {
    ensure_passed(
        &format!("{spec} on {name}"),
        &patch_spec(cluster, name, spec)?,
    )
}

fn velero_works_on(cluster: &Cluster, server: &Velero) -> Result<()> {
    back_up(cluster, "while-down").with_context(|| server.tail())?;
    for (kind, name) in [("backup", "doomed"), ("restore", "done")] {
        let output = velero(cluster, &[kind, "delete", name, "--confirm"])?;
        ensure_passed(&format!("the order to delete {kind} {name}"), &output)?;
    }
    // Velero removes its finalizer from the Restore, and the Backup once its data is deleted.
    wait::poll("both to be deleted", PATIENCE, || {
        let left = ["restore/done", "backup/doomed"];
        let get = [
            "get",
            "-n",
            VELERO_NAMESPACE,
            "--ignore-not-found",
            "-o",
            "name",
        ];
        let left = cluster.kubectl().ok(&[&get[..], &left].concat())?;
        ensure!(left.is_empty(), "left: {left}");
        Ok(())
    })
    .with_context(|| server.tail())
}

fn labels_and_pods_pass(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    for object in ["backup/while-down", "bsl/default"] {
        kubectl.ok(&["label", object, "-n", VELERO_NAMESPACE, "seen=yes"])?;
        kubectl.ok(&["annotate", object, "-n", VELERO_NAMESPACE, "note=ours-not"])?;
    }
    delete_server_pods(cluster)?;
    // The failure policy is to ignore: Velero's Pod is created, but without the bundle.
    let injected = wait::poll("a new Pod of the server", PATIENCE, || {
        injected_into_server(cluster)
    })?;
    ensure!(
        injected.variables.is_empty(),
        "somebody answered in our place: {injected:?}"
    );
    Ok(())
}

fn delete_server_pods(cluster: &Cluster) -> Result<()> {
    let pods = ["pods", "-n", VELERO_NAMESPACE, "-l", "deploy=velero"];
    cluster.kubectl().ok(&[&["delete"], &pods[..]].concat())?;
    Ok(())
}

/// Velero writes the status of the location, and creates the Backup that it finds in the bucket.
fn velero_syncs(cluster: &Cluster, before: &Value, lost: &Value) -> Result<()> {
    wait::poll("Velero's status writes and its sync", PATIENCE, || {
        let location = get(cluster, "bsl", "default")?;
        for field in ["/status/lastValidationTime", "/status/lastSyncedTime"] {
            let seen = at(&location, field);
            ensure!(
                seen.is_string() && seen != at(before, field),
                "{field} is still {seen}"
            );
        }
        let found = get(cluster, "backup", "lost")?;
        let uid = "/metadata/uid";
        ensure!(at(&found, uid) != at(lost, uid), "it was never deleted");
        Ok(())
    })
}

/// Changes that an operator needs in an emergency, and how Velero reacts to them.
fn the_operator_works_on(cluster: &Cluster) -> Result<()> {
    patch(cluster, "default", &json!({"accessMode": "ReadOnly"}))?;
    patch(cluster, "default", &json!({"validationFrequency": "2s"}))?;
    patch(cluster, SPARE, &json!({"default": true}))?;
    // Velero keeps the location that was created last, or either of two created in the same second.
    wait::poll("Velero to leave one default", PATIENCE, || {
        let locations = ["default", SPARE].map(|name| get(cluster, "bsl", name));
        let mut defaults = 0;
        for location in locations {
            defaults += usize::from(*at(&location?, "/spec/default") == json!(true));
        }
        ensure!(defaults == 1, "there are {defaults}");
        Ok(())
    })
}

/// What the API server says of a Service behind which nobody answers.
const NO_ANSWER: &str = "failed to call webhook: Post ";

fn what_we_judge_waits_for_us(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let locations = [
        "failed calling webhook \"backupstoragelocations.velero-trust.io\"",
        NO_ANSWER,
    ];
    let config = patch_spec(cluster, "default", &json!({"config": {"tagging": "a=b"}}))?;
    ensure_refused("a change of spec.config", &config, &locations)?;
    let storage = json!({"objectStorage": {"prefix": "elsewhere"}});
    let storage = patch_spec(cluster, "default", &storage)?;
    ensure_refused("a change of spec.objectStorage", &storage, &locations)?;
    let annotation = "velero-trust.io/ca-secret=default-ca/ca.crt";
    let annotate = [
        "annotate",
        "bsl/default",
        "-n",
        VELERO_NAMESPACE,
        annotation,
    ];
    ensure_refused("our annotation", &kubectl.run(&annotate)?, &locations)?;
    let location = cluster.minio()?.location(VELERO_NAMESPACE, "new", BUCKET);
    let location = kubectl.create(&location.to_string())?;
    ensure_refused("a new location", &location, &locations)?;

    let restores = "failed calling webhook \"restores.velero-trust.io\"";
    let output = kubectl.create(&restore("too-early", "while-down"))?;
    ensure_refused("a new Restore", &output, &[restores, NO_ANSWER])
}

fn all_is_well(cluster: &Cluster) -> Result<()> {
    patch(cluster, "default", &json!({"config": {"tagging": "a=b"}}))?;
    wait_for_annotation(cluster, "while-down")?;
    let made_up = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {"name": MADE_UP, "namespace": VELERO_NAMESPACE},
        "spec": {"storageLocation": "default"},
        "status": {"phase": "Completed"},
    });
    cluster.kubectl().apply(&made_up.to_string())?;
    wait::poll("a backup without files to be refused", PATIENCE, || {
        let output = cluster.kubectl().create(&restore("judged", MADE_UP))?;
        ensure_refused("its Restore", &output, &["[VT101]", "is Unreadable"])
    })?;
    delete_server_pods(cluster)?;
    wait_for_injection(cluster).map(drop)
}

/// What the README recommends for day one.
fn restores_begin_with_a_warning(cluster: &Cluster) -> Result<()> {
    let output = cluster.kubectl().create(&restore("warned", MADE_UP))?;
    ensure_passed("a Restore on day one", &output)?;
    ensure!(output.stderr.contains("Warning: [VT101]"), "{output:?}");
    Ok(())
}
