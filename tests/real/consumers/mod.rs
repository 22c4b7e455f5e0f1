//! Every program that talks to an object store for Velero, run as a process with exactly what the
//! webhook injected into the real Pod of its kind, against MinIO behind a CA that is in no system
//! store. Each must first fail to connect to MinIO without the injection.

mod public;
mod repositories;
mod scene;
mod server;
mod system_roots;
mod tool;

use crate::shared::{Shared, alone};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use scene::Scene;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use velero_trust_testing::cli::Output;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::failure;
use velero_trust_testing::wait;

/// Go's error for a server whose CA is unknown.
const UNKNOWN: &str = "x509: certificate signed by unknown authority";

/// Longer than Velero's slowest loop, which takes one minute.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    let scene = Arc::default();
    let trial = |name, run| on_the_scene(shared, &scene, name, run);
    vec![
        alone(
            "consumers::aws_plugin_reaches_a_private_and_a_public_host",
            public::both_hosts,
        ),
        trial(
            "consumers::velero_server_finds_regions_and_makes_kopia_repositories",
            server::trusts_it,
        ),
        trial(
            "consumers::restic_backs_up_and_restores",
            repositories::restic,
        ),
        trial(
            "consumers::kopia_backs_up_and_restores",
            repositories::kopia,
        ),
        trial(
            "consumers::restic_and_kopia_with_a_ca_of_their_own_use_no_other",
            repositories::with_a_ca_of_their_own,
        ),
        trial(
            "consumers::go_programs_trust_it_as_system_roots",
            system_roots::are_ours,
        ),
    ]
}

/// Returns a trial on the shared scene, which the first trial to run sets up.
fn on_the_scene(
    shared: &Shared,
    scene: &Arc<OnceLock<Result<Scene, String>>>,
    name: &str,
    run: fn(&Cluster, &Scene) -> Result<()>,
) -> Trial {
    let scene = Arc::clone(scene);
    shared.installed(name, move |cluster, _| {
        let scene =
            scene.get_or_init(|| Scene::make(cluster).map_err(|error| failure::tell(&error, &[])));
        match scene {
            Ok(scene) => run(cluster, scene),
            Err(error) => anyhow::bail!("the Pods were not made: {error}"),
        }
    })
}

/// Fails unless the program failed because the CA is unknown.
fn ensure_untrusted(what: &str, output: &Output) -> Result<()> {
    ensure!(output.code != Some(0), "{what} passed: {output:?}");
    ensure!(
        output.stderr.contains(UNKNOWN),
        "{what} failed for another reason: {output:?}"
    );
    Ok(())
}

/// Waits until the phase of a location is `phase`, and returns its status.
fn location_is(cluster: &Cluster, namespace: &str, name: &str, phase: &str) -> Result<String> {
    wait::poll(&format!("{name} to be {phase}"), PATIENCE, || {
        let location = ["bsl", name, "-n", namespace];
        let location = cluster.kubectl().get(&location)?;
        let status = location.pointer("/status").context("no status")?;
        let seen = status.pointer("/phase").and_then(Value::as_str);
        ensure!(seen == Some(phase), "{status}");
        Ok(status.to_string())
    })
}
