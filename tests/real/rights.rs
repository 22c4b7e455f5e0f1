//! The rights of the manifests: `velero-trust doctor` names each one that is missing.

use crate::servers::Servers;
use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::{installer, wait};

/// A namespace with a location, where velero-trust needs Secrets and the bundle.
const NAMESPACE: &str = "default";

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone(
        "rights::each_that_is_missing_is_named",
        each_is_named,
    )]
}

fn each_is_named() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    installer::bind(kubectl, NAMESPACE)?;
    let location = json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {"provider": "aws", "objectStorage": {"bucket": "b"}},
    });
    kubectl.apply(&location.to_string())?;
    // Before an installation, nobody asks for the rights of its ServiceAccount.
    let deployment = fs::read_to_string(installer::manifests().join("deployment.yaml"))?;
    kubectl.apply(&deployment)?;
    let doctor = Cli::new(binary().to_owned(), Some(servers.kubeconfig()))?;
    has_all(&doctor)?;

    let text = fs::read_to_string(installer::manifests().join("rbac.yaml"))?;
    let roles: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let mut count = 0;
    for role in roles.iter().filter(|role| role["rules"].is_array()) {
        let rights = one_by_one(role);
        for (missing, right) in rights.iter().enumerate() {
            let kept = rights.iter().enumerate();
            let kept = kept.filter(|(index, _)| *index != missing);
            let kept: Vec<_> = kept.map(|(_, right)| right).collect();
            let mut reduced = role.clone();
            reduced["rules"] = json!(kept);
            kubectl.apply(&reduced.to_string())?;
            let name = |field: &str| right[field][0].as_str().unwrap_or_default();
            let expected = format!("may not {} {}", name("verbs"), name("resources"));
            wait::poll(&expected, wait::PATIENCE, || {
                let said = missing_rights(&doctor)?;
                // Without Secrets, the message goes on with whether a location needs one.
                let [said] = &said[..] else {
                    anyhow::bail!("not one: {said:?}");
                };
                let rest = said.split_once(&expected).map(|(_, rest)| rest);
                let rest = rest.with_context(|| said.clone())?;
                ensure!(!rest.starts_with(','), "{said}");
                Ok(())
            })?;
            count += 1;
        }
        kubectl.apply(&role.to_string())?;
        has_all(&doctor)?;
    }
    ensure!(count > 25, "only {count} rights");
    Ok(())
}

/// Returns the rules of a role as rules of one verb on one resource and, if it is named, one object each.
fn one_by_one(role: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    let rules = list(&role["rules"]).into_iter().flat_map(|rule| {
        let names = list(&rule["resourceNames"]);
        if names.is_empty() {
            return vec![rule];
        }
        let with_object = |name| {
            let mut one = rule.clone();
            one["resourceNames"] = json!([name]);
            one
        };
        names.into_iter().map(with_object).collect()
    });
    for rule in rules {
        for resource in list(&rule["resources"]) {
            for verb in list(&rule["verbs"]) {
                let mut one = rule.clone();
                one["resources"] = json!([resource]);
                one["verbs"] = json!([verb]);
                all.push(one);
            }
        }
    }
    all
}

fn has_all(doctor: &Cli) -> Result<()> {
    wait::poll("no right to be missing", wait::PATIENCE, || {
        let said = missing_rights(doctor)?;
        ensure!(said.is_empty(), "{said:?}");
        Ok(())
    })
}

/// Returns what doctor says of rights that are missing.
fn missing_rights(doctor: &Cli) -> Result<Vec<String>> {
    let output = doctor.run(&["doctor", "--output=json"])?;
    let document: Value =
        serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    let checks = document["checks"].as_array().context("no checks")?;
    let missing = checks
        .iter()
        .filter(|check| check["check"] == "rights" && check["level"] != "ok");
    Ok(missing
        .map(|check| check["message"].as_str().unwrap_or_default().to_owned())
        .collect())
}
