//! Stories: the whole life of a backup with all webhooks active, and the same cluster while
//! velero-trust is down. Each story has its own cluster, because webhook configurations are
//! cluster-wide.

pub(crate) mod adopted;
mod down;
mod gate;
mod held;
mod judged;
mod life;
mod outlived;
pub(crate) mod recorded;
mod reserved;
mod rewritten;
mod seen;
mod verified;

use crate::pods;
use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::time::Duration;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installation, Installer};
use velero_trust_testing::kubelet::Injected;
use velero_trust_testing::tour::{Tour, steps};
use velero_trust_testing::wait;

/// Longer than Velero's slowest loop, which takes one minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("story::the_whole_life_of_a_backup", life::story),
        alone(
            "story::nothing_of_velero_fails_while_we_are_down",
            down::story,
        ),
        alone("story::what_works_without_us_goes_on_working", held::story),
        alone(
            "story::no_restore_is_rewritten_to_an_unchecked_backup",
            rewritten::story,
        ),
        alone("story::a_backup_is_recorded_and_verified", recorded::story),
        alone("story::records_outlive_the_installation", outlived::story),
        alone(
            "story::no_backup_keeps_annotations_that_it_came_with",
            reserved::story,
        ),
        alone(
            "story::a_restore_begins_only_from_signed_bytes",
            gate::only_signed_bytes,
        ),
        alone(
            "story::a_person_says_what_a_restore_may_be",
            gate::what_a_person_says,
        ),
        alone(
            "story::only_the_tarball_is_known_where_velero_alone_may_read",
            gate::where_velero_alone_may_read,
        ),
        alone(
            "story::a_restore_waits_and_goes_on_by_itself",
            gate::waits_and_goes_on,
        ),
        alone(
            "story::the_oldest_velero_restores_only_signed_bytes",
            gate::with_the_oldest_velero,
        ),
        alone(
            "story::restores_of_one_backup_share_what_is_read",
            gate::many_at_once,
        ),
        alone("story::what_make_cluster_proposes_works", tour),
    ]
}

/// Each command that `make cluster` proposes gives the result that it promises.
fn tour() -> Result<()> {
    let cluster = Cluster::start()?;
    let tour = Tour::start(&cluster, binary())?;
    for step in steps() {
        tour.run(&step)
            .with_context(|| tour.installation.webhook.log())?;
    }
    Ok(())
}

/// Installs velero-trust as described in the README.
pub(crate) fn install(cluster: &Cluster) -> Result<Installation> {
    Installer::new(cluster, binary(), installer::NAMESPACE)?.install()
}

/// Returns one object of Velero's namespace.
pub(crate) fn get(cluster: &Cluster, kind: &str, name: &str) -> Result<Value> {
    cluster.kubectl().get(&[kind, name, "-n", VELERO_NAMESPACE])
}

/// Returns the value at `pointer`, or null.
pub(crate) fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

/// Waits until `status.phase` of an object is `phase`, and returns the object.
pub(crate) fn wait_for_phase(
    cluster: &Cluster,
    kind: &str,
    name: &str,
    phase: &str,
) -> Result<Value> {
    wait::poll(&format!("{kind} {name} to be {phase}"), PATIENCE, || {
        let object = get(cluster, kind, name)?;
        let status = object.pointer("/status").context("it has no status")?;
        let seen = status.pointer("/phase").and_then(Value::as_str);
        ensure!(seen == Some(phase), "{status}");
        Ok(object)
    })
}

/// Runs the velero CLI as a user.
pub(crate) fn velero(cluster: &Cluster, arguments: &[&str]) -> Result<Output> {
    cluster.velero_cli()?.run(arguments)
}

/// Runs velero-trust as an administrator of the cluster.
pub(crate) fn velero_trust(cluster: &Cluster, arguments: &[&str]) -> Result<Output> {
    Cli::new(binary().to_owned(), Some(cluster.kubeconfig()))?.run(arguments)
}

/// Fails unless the command failed and printed all of `words`.
pub(crate) fn ensure_refused(what: &str, output: &Output, words: &[&str]) -> Result<()> {
    ensure!(output.code != Some(0), "{what} passed: {output:?}");
    for word in words {
        ensure!(
            output.stderr.contains(word),
            "{what} was refused, but not with `{word}`: {}",
            output.stderr
        );
    }
    Ok(())
}

/// Fails unless the command succeeded.
pub(crate) fn ensure_passed(what: &str, output: &Output) -> Result<()> {
    ensure!(output.code == Some(0), "{what} failed: {output:?}");
    Ok(())
}

/// Makes a backup as a user, and waits until it is completed.
fn back_up(cluster: &Cluster, name: &str) -> Result<()> {
    let arguments = [
        "backup",
        "create",
        name,
        "--include-namespaces",
        "default",
        "--wait",
    ];
    ensure_passed(&format!("backup {name}"), &velero(cluster, &arguments)?)?;
    wait_for_phase(cluster, "backup", name, "Completed").map(drop)
}

/// Returns a Restore of `backup`.
pub(crate) fn restore(name: &str, backup: &str) -> String {
    json!({
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {"name": name, "namespace": VELERO_NAMESPACE},
        "spec": {"backupName": backup},
    })
    .to_string()
}

/// Returns what admission added to the newest Pod of Velero's server.
pub(crate) fn injected_into_server(cluster: &Cluster) -> Result<Injected> {
    let server = ("deployment", "velero");
    Injected::of_newest(cluster.kubectl(), VELERO_NAMESPACE, server, "velero")
}

/// Waits for a Pod of Velero's server with exactly what the injection promises.
pub(crate) fn wait_for_injection(cluster: &Cluster) -> Result<Injected> {
    wait::poll("a server Pod with the bundle", PATIENCE, || {
        let injected = injected_into_server(cluster)?;
        let variables: Vec<_> = injected
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        ensure!(
            variables == pods::VARIABLES,
            "the Pod was given {variables:?}"
        );
        ensure!(
            injected.mounts.contains_key("/certs"),
            "no ConfigMap is mounted at /certs: {injected:?}"
        );
        Ok(injected)
    })
}
