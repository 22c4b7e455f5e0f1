//! What `lint` says about the schema of BackupStorageLocations, against the API server with Velero's
//! own CustomResourceDefinitions.

use crate::servers::Servers;
use crate::shared::alone;
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust::admission::schema;
use velero_trust::decision::Report;

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone(
        "schema::lint_refuses_and_drops_what_the_api_server_does",
        same_as_api_server,
    )]
}

/// Locations whose spec is good but for one thing.
fn locations() -> Vec<Value> {
    let location = |pointer: &str, value: Value| {
        let mut location = json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {
                "provider": "aws",
                "accessMode": "ReadWrite",
                "backupSyncPeriod": "1m",
                "config": {"region": "minio"},
                "credential": {"name": "a", "key": "b"},
                "default": true,
                "objectStorage": {"bucket": "b", "prefix": "p",
                    "caCertRef": {"name": "c", "key": "d"}},
                "validationFrequency": "1m",
            },
        });
        let (parent, field) = pointer.rsplit_once('/').unwrap_or_default();
        let parent = location.pointer_mut(parent).and_then(Value::as_object_mut);
        if let Some(parent) = parent {
            parent.insert(field.to_owned(), value);
        }
        location
    };
    let fields = [
        "/spec/provider",
        "/spec/accessMode",
        "/spec/backupSyncPeriod",
        "/spec/config",
        "/spec/config/region",
        "/spec/credential",
        "/spec/credential/key",
        "/spec/default",
        "/spec/objectStorage",
        "/spec/objectStorage/bucket",
        "/spec/objectStorage/caCert",
        "/spec/objectStorage/caCertRef/key",
        "/spec/validationFrequency",
        "/spec/unknown",
        "/spec/objectStorage/cacert",
        "/unknown",
    ];
    let values = [
        json!(null),
        json!(true),
        json!(7),
        json!("text"),
        json!([]),
        json!({}),
    ];
    let mut all: Vec<_> = fields
        .iter()
        .flat_map(|field| values.iter().map(|value| location(field, value.clone())))
        .collect();
    // The validator of the API server takes a list for bytes; nobody means one.
    all.retain(|location| !location["spec"]["objectStorage"]["caCert"].is_array());
    for text in ["YQ==", "YQ==\n", "Y\nQ==", "ReadOnly"] {
        all.push(location("/spec/objectStorage/caCert", text.into()));
        all.push(location("/spec/accessMode", text.into()));
    }
    all
}

fn same_as_api_server() -> Result<()> {
    let servers = Servers::start()?;
    let create = [
        "create",
        "--dry-run=server",
        "--validate=ignore",
        "-o",
        "json",
        "-f",
        "-",
    ];
    let mut refused = 0;
    let mut wrong = Vec::new();
    let all = locations();
    for location in &all {
        let mut read = location.clone();
        let mut report = Report::default();
        schema::check(&mut read, &mut report);
        let findings = report.findings.iter();
        let findings: Vec<_> = findings
            .map(|found| (found.rule.id, found.path.to_string()))
            .collect();
        let said = findings.iter().any(|(rule, _)| *rule == "VT000");
        let output = servers
            .kubectl
            .run_with_input(&create, &location.to_string())?;
        let is_refused = output.code != Some(0);
        if said != is_refused {
            wrong.push(format!(
                "lint: {findings:?}, the API server: {}, {location}",
                output.stderr
            ));
        }
        refused += usize::from(is_refused);
        if !is_refused {
            let stored: Value = serde_json::from_str(&output.stdout).context("no JSON")?;
            // What lint goes on with is what is stored.
            if !said && stored["spec"] != read["spec"] {
                wrong.push(format!("lint: {read}, the API server: {stored}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(
        (20..all.len() - 20).contains(&refused),
        "{refused} of {}",
        all.len()
    );
    Ok(())
}
