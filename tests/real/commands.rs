//! What every command has in common, on a real cluster.

use crate::shared::{Shared, binary};
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::Installation;

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![shared.installed("commands::know_where_they_are", know_where_they_are)]
}

fn know_where_they_are(cluster: &Cluster, _: &Installation) -> Result<()> {
    let command = Cli::new(binary().to_owned(), Some(cluster.kubeconfig()))?;
    let version = command.ok(&["version"])?;
    let lines: Vec<_> = version.lines().collect();
    let ours = env!("CARGO_PKG_VERSION");
    ensure!(
        lines.len() == 3
            && lines[0] == format!("client: {ours}")
            && lines[1] == format!("server: {ours}")
            && lines[2].starts_with("kubernetes: v1."),
        "{version}"
    );

    let velero = cluster.namespace("habit")?;
    let kubectl = cluster.kubectl();
    let create = [
        "create",
        "deployment",
        "velero",
        "--image=velero",
        "--replicas=0",
    ];
    kubectl.ok(&[&create[..], &["-n", &velero]].concat())?;
    let commands: [&[&str]; 12] = [
        &["status"],
        &["rollout"],
        &["doctor"],
        &["certs", "--install"],
        &["backup", "list"],
        &["backup", "show", "b"],
        &["keys", "list"],
        &["keys", "export"],
        &["keys", "show"],
        &["keys", "rotate"],
        &["keys", "revoke", "k", "--reason=r"],
        &["keys", "trust", "--from-backup=b", "--fingerprint=0"],
    ];
    for arguments in commands {
        let output = command.run(&[arguments, &["-n", &velero]].concat())?;
        let says =
            format!("namespace {velero} is Velero's, and velero-trust is not installed in it; -n");
        ensure!(
            output.code == Some(2) && output.stderr.contains(&says) && output.stdout.is_empty(),
            "{arguments:?}: {output:?}"
        );
    }
    Ok(())
}
