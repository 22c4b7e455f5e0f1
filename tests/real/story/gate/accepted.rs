//! What a user expects of a backup, or accepts.

use super::{Bed, SHOP, elsewhere, restore_of, traces};
use crate::story::adopted::{Jane, bind};
use crate::story::recorded::open;
use crate::story::{at, ensure_passed, ensure_refused, get, velero, wait_for_phase};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::wait;

pub(super) fn story(bed: &mut Bed) -> Result<()> {
    backups(bed)?;
    let untried = traces::of_create(bed, "partial")?;
    expected(bed)?;
    traces::of_begin(bed, "good")?;
    accepted(bed)?;
    traces::has_none(bed, "partial", &untried)?;
    partial(bed)?;
    elsewhere::story(bed, "good")
}

/// Makes all backups of this story. One has a Pod whose hook fails.
fn backups(bed: &Bed) -> Result<()> {
    bed.open()?;
    bed.make("good", &[])?;
    bed.make("burnt", &[])?;
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "till", "namespace": SHOP,
            "annotations": {"pre.hook.backup.velero.io/command": "[\"/bin/true\"]"},
        },
        "spec": {"containers": [{"name": "till", "image": "none"}]},
    });
    bed.cluster.kubectl().apply(&pod.to_string())?;
    let create = ["backup", "create", "partial", "--include-namespaces", SHOP];
    ensure_passed("partial", &velero(&bed.cluster, &create)?)?;
    wait_for_phase(&bed.cluster, "backup", "partial", "PartiallyFailed")?;
    bed.are_recorded(&["good", "burnt", "partial"])?;
    bed.close()
}

/// A backup that Velero made with errors.
fn partial(bed: &Bed) -> Result<()> {
    let created = bed.create("partial", "partial", &Value::Null)?;
    ensure_passed("partial", &created)?;
    for word in ["[VT110]", "finished with errors"] {
        ensure!(created.stderr.contains(word), "{word}: {created:?}");
    }
    bed.has_restored("partial", "observed").map(drop)
}

/// The checksum of the tarball, or that of all that is signed.
fn expected(bed: &Bed) -> Result<()> {
    let backup = get(&bed.cluster, "backup", "good")?;
    let other = format!("sha256:{}", "0".repeat(64));
    let refused = bed.create(
        "wrong",
        "good",
        &json!({"velero-trust.io/backup-checksum": other}),
    )?;
    ensure_refused("another checksum", &refused, &["[VT104]", "is recorded"])?;
    for (index, kind) in ["checksum", "manifest"].into_iter().enumerate() {
        let pointer = format!("/metadata/annotations/velero-trust.io~1{kind}");
        let digest = at(&backup, &pointer).as_str().context("not annotated")?;
        let name = format!("expected-{index}");
        let annotations = json!({"velero-trust.io/backup-checksum": digest});
        ensure_passed(kind, &bed.create(&name, "good", &annotations)?)?;
        bed.has_restored(&name, "observed")?;
    }
    Ok(())
}

/// A tampered backup is restored by who may do that, and it is remembered.
fn accepted(bed: &Bed) -> Result<()> {
    let store = bed.cluster.block_on(open(&bed.cluster))?;
    let file = "burnt-volumeinfo.json.gz";
    let listing = bed.cluster.block_on(store.list("burnt"))?;
    ensure!(listing.contains(file), "{listing:?}");
    bed.cluster.block_on(store.delete("burnt", file))?;
    let jane = Jane::new(&bed.cluster)?;
    let kubectl = bed.cluster.kubectl();
    let resource = "--resource=restores.velero.io";
    kubectl.ok(&[
        "create",
        "clusterrole",
        "may-restore",
        "--verb=get,list,create,patch",
        resource,
    ])?;
    bind(&bed.cluster, "may-restore")?;
    let create = |name: &str| {
        let object = json!({
            "apiVersion": "velero.io/v1", "kind": "Restore",
            "metadata": {
                "name": name, "namespace": VELERO_NAMESPACE,
                "annotations": {"velero-trust.io/accept-insecure": "the cluster burns"},
            },
            "spec": {"backupName": "burnt"},
        });
        jane.kubectl
            .run_with_input(&["create", "-f", "-"], &object.to_string())
    };
    let refused = create("without")?;
    let words = ["[VT121]", "had not the verb restore-unverified"];
    ensure_refused("without the right", &refused, &words)?;

    bind(&bed.cluster, "velero-trust-restore-unverified")?;
    wait::poll("the right to be known", wait::PATIENCE, || {
        ensure_passed("with the weaker right", &create("weaker")?)
    })?;
    let words = [
        "[VT115]",
        file,
        "jane may not accept that: it needs the verb restore-tampered",
    ];
    bed.is_stopped("weaker", &words)?;

    bind(&bed.cluster, "velero-trust-restore-tampered")?;
    wait::poll("the right to be known", wait::PATIENCE, || {
        let _ = kubectl.run(&["delete", "restore", "burning", "-n", VELERO_NAMESPACE])?;
        ensure_passed("with the stronger right", &create("burning")?)?;
        let restore = restore_of(&bed.cluster, "burning")?;
        let with = at(
            &restore,
            "/metadata/annotations/velero-trust.io~1accepted-with",
        );
        ensure!(with == "restore-tampered", "{with}");
        Ok(())
    })?;
    let verdict = bed.has_restored("burning", "observed")?;
    ensure!(verdict["accepted"] == json!(["VT115"]), "{verdict}");
    let restore = restore_of(&bed.cluster, "burning")?;
    let by = at(
        &restore,
        "/metadata/annotations/velero-trust.io~1accepted-by",
    );
    ensure!(by == "jane", "{by}");
    is_remembered(bed)
}

fn is_remembered(bed: &Bed) -> Result<()> {
    wait::poll("the record to tell of it", wait::PATIENCE, || {
        let record = crate::story::recorded::record_of(&bed.cluster, "burnt")?;
        let accepted = at(&record, "/status/verification/accepted/0");
        let told = |key: &str| at(accepted, key).as_str().unwrap_or_default().to_owned();
        ensure!(
            told("/by") == "jane" && told("/reason") == "the cluster burns",
            "{accepted}"
        );
        ensure!(told("/restore") == "burning", "{accepted}");
        Ok(())
    })?;
    let events = bed
        .cluster
        .kubectl()
        .get(&["events", "-n", VELERO_NAMESPACE])?;
    let events = at(&events, "/items").as_array().context("no list")?;
    for kind in ["Restore", "Backup"] {
        let told = |event: &&Value| {
            event["reason"] == "RestoreAccepted" && event["involvedObject"]["kind"] == kind
        };
        ensure!(
            events.iter().any(|event| told(&event)),
            "no Event on the {kind}"
        );
    }
    Ok(())
}
