//! A Go program that uses the system roots. It stands in for the providers whose servers do not run
//! here.

use super::ensure_untrusted;
use super::scene::{AWS_CA_BUNDLE, SSL_CERT_DIR, Scene, all, only};
use super::tool::Shell;
use anyhow::{Context as _, Result, ensure};
use velero_trust_testing::cluster::Cluster;

pub(super) fn are_ours(cluster: &Cluster, scene: &Scene) -> Result<()> {
    let get = format!("system-roots {}/minio/health/live", cluster.minio()?.url);
    for injected in [&scene.server, &scene.node_agent] {
        let output = Shell::new(&[])?.run(&get)?;
        ensure_untrusted("without us", &output)?;
        let output = Shell::new(&only(AWS_CA_BUNDLE, injected))?.run(&get)?;
        ensure_untrusted("with AWS_CA_BUNDLE alone", &output)?;
        for variables in [only(SSL_CERT_DIR, injected), all(injected)] {
            let status = Shell::new(&variables)?.ok(&get);
            let status = status.with_context(|| format!("with {variables:?}"))?;
            ensure!(status == "200 OK\n", "{status}");
        }
    }
    Ok(())
}
