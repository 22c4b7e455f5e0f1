//! CAs that objects with a label in the namespace of velero-trust add to every bundle.

use crate::bundle::{PATIENCE, holds, location_with, squeezed};
use crate::servers::Servers;
use crate::shared::alone;
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::{installer, wait};

const VELERO: &str = "default";

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone(
        "extra_cas::that_velero_restored_are_not_taken_and_others_leave_at_once",
        come_and_go,
    )]
}

fn come_and_go() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    let [own, planted, corp] = [
        Authority::new("own")?.pem(),
        Authority::new("planted")?.pem(),
        Authority::new("corp")?.pem(),
    ];
    kubectl.apply(&location_with(VELERO, "minio", &own).to_string())?;
    let replica = servers.replica(&[])?;
    holds(kubectl, VELERO, &own).with_context(|| replica.log())?;

    for kind in ["ConfigMap", "Secret"] {
        labelled(&servers, kind, "planted", &planted, true)?;
    }
    labelled(&servers, "ConfigMap", "corp", &corp, false)?;
    let bundle = holds(kubectl, VELERO, &corp).with_context(|| replica.log())?;
    ensure!(
        !squeezed(&bundle).contains(&squeezed(&planted)),
        "a restored object adds its CA"
    );
    for object in ["ConfigMap planted", "Secret planted"] {
        wait::poll("the report", PATIENCE, || {
            let report = servers.report(VELERO)?;
            let issues = report["issues"].to_string();
            ensure!(issues.contains(object), "{report}");
            let extra = &report["extraCas"];
            ensure!(extra[0]["source"] == "ConfigMap corp key ca.crt", "{extra}");
            let subject = extra[0]["certificates"][0]["subject"].to_string();
            ensure!(subject.contains("corp"), "{extra}");
            ensure!(extra[1].is_null(), "{extra}");
            Ok(())
        })
        .with_context(|| replica.log())?;
    }
    wait::poll("the Events", PATIENCE, || {
        let all = kubectl.get(&["events.events.k8s.io", "-n", installer::NAMESPACE])?;
        let all = all["items"].as_array().context("no list")?;
        for kind in ["ConfigMap", "Secret"] {
            let about = |event: &&Value| {
                event["regarding"]["kind"] == kind && event["regarding"]["name"] == "planted"
            };
            let reasons: Vec<_> = all.iter().filter(about).map(|one| &one["reason"]).collect();
            ensure!(reasons == ["ExtraCARefused"], "{kind}: {all:?}");
        }
        Ok(())
    })
    .with_context(|| replica.log())?;

    // Velero overwrites one that was good: what it held before stays.
    let corp_map = ["configmap", "corp", "-n", installer::NAMESPACE];
    kubectl.ok(&[&["label"], &corp_map[..], &["velero.io/restore-name=r"]].concat())?;
    wait::poll("the report to name it", PATIENCE, || {
        let report = servers.report(VELERO)?;
        let issues = report["issues"].to_string();
        ensure!(issues.contains("ConfigMap corp"), "{report}");
        Ok(())
    })
    .with_context(|| replica.log())?;
    holds(kubectl, VELERO, &corp)?;

    // Somebody looks at it and says that it is good.
    let planted_map = ["configmap", "planted", "-n", installer::NAMESPACE];
    kubectl.ok(&[&["label"], &planted_map[..], &["velero.io/restore-name-"]].concat())?;
    holds(kubectl, VELERO, &planted).with_context(|| replica.log())?;

    // What is taken away leaves the bundle at once: only the CAs of locations are retained.
    kubectl.ok(&[&["delete"], &planted_map[..]].concat())?;
    kubectl.ok(&[&["delete"], &corp_map[..]].concat())?;
    wait::poll("both to leave", PATIENCE, || {
        let map = servers.bundle(VELERO)?;
        let origins = &map["metadata"]["annotations"]["velero-trust.io/origins"];
        let origins = origins.as_str().unwrap_or_default();
        let is_clean = origins.starts_with("locations=1 public=");
        ensure!(is_clean, "{origins}");
        Ok(())
    })
    .with_context(|| replica.log())
}

/// Applies a labelled object with `pem`, as Velero would leave it if it `was_restored`.
fn labelled(
    servers: &Servers,
    kind: &str,
    name: &str,
    pem: &str,
    was_restored: bool,
) -> Result<()> {
    let mut object = json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": {
            "name": name, "namespace": installer::NAMESPACE,
            "labels": {"velero-trust.io/ca": "true"},
        },
    });
    let data = if kind == "Secret" {
        "stringData"
    } else {
        "data"
    };
    object[data] = json!({"ca.crt": pem});
    if was_restored {
        object["metadata"]["labels"]["velero.io/restore-name"] = "r".into();
        object["metadata"]["labels"]["velero.io/backup-name"] = "b".into();
    }
    servers.kubectl.apply(&object.to_string())?;
    Ok(())
}
