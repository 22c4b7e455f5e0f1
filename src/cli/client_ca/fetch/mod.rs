//! Fetches the CA certificates for a user's machine from the cluster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ca::bundle::{merge, resolve_ca};
use crate::ca::bundle_issue::NOT_OWNED_FIX;
use crate::ca::endpoint::DeniedAddresses;
use crate::ca::rules::{Location, judge};
use crate::ca::{pem, references};
use crate::cli::cluster;
use crate::cli::cluster_args::ClusterArgs;
use crate::clock;
use crate::decision::{Facts, Lookup, LookupError, LookupErrorKind, Severity};
use crate::dial::Proxies;
use crate::kubernetes::{bundle, error, location};
use crate::names;
use crate::sources::cluster::{BackupFiles, Cluster, ListingTrust};
use crate::sources::{LookupOptions, Source as _};
use crate::velero::bsl::Bsl;

/// Time limit for all requests. The client itself would retry for minutes.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Where to read the certificates from.
pub(super) struct CaSource<'a> {
    /// The namespace of Velero.
    pub(super) namespace: &'a str,
    /// The BSL to read the CA of. Without it, the bundle of the namespace is read.
    pub(super) bsl: Option<&'a str>,
}

/// The certificates for `velero --cacert`.
#[derive(Debug)]
pub(super) struct Ca {
    /// The certificates, as PEM.
    pub(super) pem: String,
    /// Number of certificates, at least one.
    pub(super) count: usize,
    /// Problems to report although there are certificates.
    pub(super) warnings: Vec<String>,
}

impl CaSource<'_> {
    /// Reads the certificates.
    pub(super) async fn fetch(&self, cluster: &ClusterArgs) -> anyhow::Result<Ca> {
        let client = cluster::connect(cluster).await?;
        let found = async {
            match self.bsl {
                None => self.bundle_ca(client).await,
                Some(bsl) => self.bsl_ca(client, bsl).await,
            }
        };
        match tokio::time::timeout(LOOKUP_TIMEOUT, found).await {
            Ok(found) => found,
            Err(_) => bail!(
                "the API server did not answer within {} s",
                LOOKUP_TIMEOUT.as_secs()
            ),
        }
    }

    async fn bundle_ca(&self, client: Client) -> anyhow::Result<Ca> {
        let namespace = self.namespace;
        let name = format!("ConfigMap {namespace}/{}", names::BUNDLE);
        let config_maps = Api::<ConfigMap>::namespaced(client, namespace);
        let map = config_maps.get_opt(names::BUNDLE).await;
        let map = map.map_err(|error| read_error(&name, &error::lookup_error(&error)))?;
        let map = map.with_context(|| {
            format!(
                "there is no {name}: velero-trust publishes it where a BackupStorageLocation is; \
                 is Velero in another namespace (--velero-namespace), or velero-trust not \
                 installed?"
            )
        })?;
        if !bundle::is_ours(&map.metadata) {
            bail!(
                "{name} was not made by velero-trust, so nothing in it is trusted; use --bsl, or \
                 {NOT_OWNED_FIX}"
            );
        }
        let text = bundle::text(&map).unwrap_or_default();
        let count = pem::read(text.as_bytes()).certificates.len();
        if count == 0 {
            bail!("{name} holds no certificate; look at velero-trust's log, or use --bsl");
        }
        Ok(Ca {
            pem: text.to_owned(),
            count,
            warnings: Vec::new(),
        })
    }

    async fn bsl_ca(&self, client: Client, name: &str) -> anyhow::Result<Ca> {
        let namespace = self.namespace;
        let what = format!("BackupStorageLocation {namespace}/{name}");
        let found = location::in_namespace(&client, namespace)
            .get_opt(name)
            .await;
        let found = found.map_err(|error| read_error(&what, &error::lookup_error(&error)))?;
        let found = found.with_context(|| {
            format!(
                "there is no {what}; `kubectl get backupstoragelocations -A` lists the existing ones"
            )
        })?;
        let text = serde_json::to_string(&found)?;
        let bsl: Bsl<'_> =
            serde_json::from_str(&text).with_context(|| format!("{what} cannot be understood"))?;
        let facts = look_up(client, required_lookups(namespace, &bsl)).await;
        let location = Location {
            namespace,
            dry_run: false,
            bsl: &bsl,
            old: None,
            now: clock::now(),
        };
        location_ca(&location, &what, &facts)
    }
}

/// Returns the look-ups that are needed to resolve the CA of `bsl`, without duplicates.
fn required_lookups(namespace: &str, bsl: &Bsl<'_>) -> Vec<Lookup> {
    let needs = resolve_ca(namespace, bsl, &Facts::default()).report.needs;
    let needs: BTreeSet<_> = needs.into_iter().collect();
    needs.into_iter().collect()
}

async fn look_up(client: Client, needs: Vec<Lookup>) -> Facts {
    let options = LookupOptions {
        deadline: Instant::now() + LOOKUP_TIMEOUT,
        dry_run: true,
        caller: None,
    };
    // Neither a bundle nor the files of a backup are looked up here, so that the roots, our own namespace
    // the denied addresses and the proxies do not matter.
    let (_, base) = watch::channel(None);
    let denied = DeniedAddresses::in_cluster(None);
    let proxies = Proxies::default();
    let files = BackupFiles::new(client.clone(), denied, proxies, ListingTrust::Never);
    let source = Cluster::new(client, names::APP, base, Arc::new(files));
    source.resolve(&needs, options).await
}

/// Returns the CA of a location, resolved from all its references.
fn location_ca(location: &Location<'_>, what: &str, facts: &Facts) -> anyhow::Result<Ca> {
    if references::ca_references(location.namespace, location.bsl).is_empty() {
        bail!(
            "{what} names no CA. If its store has a public certificate, velero needs none; if not, \
             name the CA by spec.objectStorage.caCertRef or by the annotation {}",
            names::CA_SECRET_ANNOTATION
        );
    }
    let found = resolve_ca(location.namespace, location.bsl, facts);
    if let Some((lookup, reason)) = found.report.unknowns.first() {
        return Err(read_error(&lookup.to_string(), reason));
    }
    // Report the findings of the webhook's rules. They say more than the report of the resolution,
    // which only names what it left out, and they cover more problems.
    let findings = judge(location, facts).findings.into_iter();
    let denials = findings.filter(|finding| finding.rule.severity == Severity::Deny);
    let warnings: Vec<_> = denials
        .map(|finding| format!("{what}: {finding}"))
        .collect();
    let bundle = merge(&found.certificates);
    if bundle.count == 0 {
        bail!("{}", warnings.join("; "));
    }
    Ok(Ca {
        pem: bundle.text,
        count: bundle.count,
        warnings,
    })
}

/// Returns the error for an object that cannot be read, in terms of the user's permissions.
fn read_error(what: &str, reason: &LookupError) -> anyhow::Error {
    match reason.kind {
        LookupErrorKind::Forbidden if what.starts_with("Secret") => anyhow::anyhow!(
            "you have no right to read {what}; ask for `get` on it, or leave --bsl out: the bundle \
             of the namespace is a ConfigMap"
        ),
        LookupErrorKind::Forbidden => anyhow::anyhow!(
            "you have no right to read {what}; ask for `get` on it ({})",
            reason.message
        ),
        _ => anyhow::anyhow!("cannot read {what}: {}", reason.message),
    }
}

#[cfg(test)]
mod tests;
