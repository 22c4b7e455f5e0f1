//! Velero with one store behind a private CA and one behind a public CA. AWS_CA_BUNDLE replaces the
//! roots that the AWS SDK would use, so the bundle must hold both.

use super::UNKNOWN;
use super::location_is;
use super::scene::{all, injected};
use crate::bundle;
use crate::shared::binary;
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::json;
use std::fs;
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installer};
use velero_trust_testing::minio::Minio;
use velero_trust_testing::scratch;

const NAMES: [&str; 2] = ["private", "public"];

pub(super) fn both_hosts() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    // Stands in for a server on the Internet: its CA is not in any store here, but it is one of the
    // roots that velero-trust is configured to use as public roots.
    let public = Minio::start(&[BUCKET])?;
    let folder = scratch::folder("roots")?;
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, public.authority.pem())?;

    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": VELERO_NAMESPACE},
    });
    kubectl.apply(&namespace.to_string())?;
    let options = ["--public-roots", &roots.display().to_string()];
    let installation = Installer::new(&cluster, binary(), installer::NAMESPACE)?
        .with_options(&options)
        .install()?;

    let private = cluster.minio()?;
    let (mut of_private, secret) =
        private.location_by_annotation(VELERO_NAMESPACE, NAMES[0], BUCKET);
    let mut of_public = public.location(VELERO_NAMESPACE, NAMES[1], BUCKET);
    let soon = json!({"spec": {"validationFrequency": "1s"}});
    merge(&mut of_private, &soon);
    merge(&mut of_public, &soon);
    for object in [secret, of_private, of_public] {
        kubectl.apply(&object.to_string())?;
    }
    for minio in [private, &public] {
        bundle::holds(kubectl, VELERO_NAMESPACE, &minio.authority.pem())
            .with_context(|| installation.webhook.log())?;
    }
    cluster.install_velero(VELERO_NAMESPACE, &[])?;
    let server = ("deployment", "velero");
    let injected = injected(kubectl, VELERO_NAMESPACE, server, "velero")?;

    {
        let server = cluster.start_velero(VELERO_NAMESPACE, &[])?;
        for name in NAMES {
            let status = location_is(&cluster, VELERO_NAMESPACE, name, "Unavailable");
            let status = status.with_context(|| server.tail())?;
            ensure!(status.contains(UNKNOWN), "{name}: {status}");
        }
    }
    let server = cluster.start_velero(VELERO_NAMESPACE, &all(&injected))?;
    for name in NAMES {
        location_is(&cluster, VELERO_NAMESPACE, name, "Available")
            .with_context(|| server.tail())?;
    }
    Ok(())
}
