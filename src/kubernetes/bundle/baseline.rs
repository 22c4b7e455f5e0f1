//! Writes the first bundle of a namespace when a Pod in it is reviewed.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Error};

use super::{BundleStatus, annotation, config_map, is_ours};
use crate::ca::common_roots::CommonRoots;
use crate::kubernetes::location;
use crate::names;

/// Whether the Pods of a namespace can mount its bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnsureOutcome {
    /// The bundle exists.
    Exists {
        /// Whether the namespace is held.
        held: bool,
    },
    /// A ConfigMap of the bundle's name exists, but velero-trust did not write it.
    NotOwned,
    /// No bundle exists, and there is no certificate to put into one. Velero cannot start with an
    /// empty file.
    NoRoots,
}

/// The reason for the hold of a namespace that the publisher has not evaluated yet.
const NOT_EVALUATED: &str = "its BackupStorageLocations were not looked at yet";

/// Ensures that `namespace` has a bundle. If it has none, this writes the baseline, which needs no
/// Secret. If a location of the namespace works already, the namespace is held until the publisher
/// has evaluated its locations. The write never takes a field from another field manager, so that
/// the publisher always wins. A dry run writes nothing.
pub async fn ensure(
    client: &Client,
    namespace: &str,
    dry_run: bool,
    base: &CommonRoots,
) -> kube::Result<EnsureOutcome> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    if let Some(map) = config_maps.get_metadata_opt(names::BUNDLE).await? {
        return Ok(if is_ours(&map.metadata) {
            let held = annotation(&map.metadata, names::bundle::HOLD).is_some();
            EnsureOutcome::Exists { held }
        } else {
            EnsureOutcome::NotOwned
        });
    }
    let baseline = base.bundle();
    if baseline.certificates.is_empty() {
        return Ok(EnsureOutcome::NoRoots);
    }
    let held = has_available(client, namespace).await?;
    if dry_run {
        return Ok(EnsureOutcome::Exists { held });
    }
    let params = PatchParams::apply(names::BOOTSTRAP_FIELD_MANAGER);
    let status = BundleStatus {
        last_added: None,
        hold: held.then_some(NOT_EVALUATED),
    };
    let baseline = config_map(namespace, &baseline, status);
    match config_maps
        .patch(names::BUNDLE, &params, &Patch::Apply(baseline))
        .await
    {
        Ok(_) => Ok(EnsureOutcome::Exists { held }),
        // The publisher wrote the bundle first.
        Err(Error::Api(status)) if status.code == 409 => Ok(EnsureOutcome::Exists { held }),
        Err(error) => Err(error),
    }
}

/// Returns whether Velero can reach the store of a location in `namespace`.
async fn has_available(client: &Client, namespace: &str) -> kube::Result<bool> {
    let bsls = location::in_namespace(client, namespace);
    match bsls.list(&ListParams::default()).await {
        Ok(list) => Ok(list.iter().any(|bsl| location::read(bsl).is_available())),
        // Velero's CRDs are not installed.
        Err(Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}
