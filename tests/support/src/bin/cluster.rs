//! `make cluster`: a real cluster with Velero and MinIO on this machine, until Ctrl-C.

#![expect(clippy::print_stdout, reason = "a program that talks to a person")]

use anyhow::Result;
use std::time::Instant;
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::rig;

fn main() -> Result<()> {
    let started = Instant::now();
    println!("starting a real API server, controllers, MinIO and Velero on loopback …");
    let cluster = Cluster::start()?;
    cluster.velero()?;
    add_location(&cluster)?;
    println!(
        "ready after {:.1} s\n\n{}",
        started.elapsed().as_secs_f64(),
        hints(&cluster)?
    );
    cluster.block_on(tokio::signal::ctrl_c())?;
    println!("\nending all servers");
    Ok(())
}

/// A location that names MinIO's private CA by a Secret.
fn add_location(cluster: &Cluster) -> Result<()> {
    let minio = cluster.minio()?;
    let (location, secret) = minio.location_with_ca(VELERO_NAMESPACE, "default", BUCKET);
    cluster.kubectl().apply(&secret.to_string())?;
    cluster.kubectl().apply(&location.to_string())?;
    Ok(())
}

fn hints(cluster: &Cluster) -> Result<String> {
    let tools = rig::binary("kubectl")?;
    let tools = tools.parent().unwrap_or(&tools).display();
    Ok(format!(
        "In another terminal:

  export KUBECONFIG={kubeconfig}
  export PATH={tools}:$PATH

  # Made by the real controllers; without a kubelet they stay Pending:
  kubectl get pods -n {VELERO_NAMESPACE}
  # The real Velero server reaches MinIO by its private CA:
  velero backup-location get
  kubectl create configmap hello -n default --from-literal=who=me
  velero backup create first --include-namespaces default --wait

Ctrl-C ends everything and removes its files.",
        kubeconfig = cluster.kubeconfig().display(),
    ))
}
