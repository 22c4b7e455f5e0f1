//! Checks the permissions of our ServiceAccount, as the API server reports them.

use super::{CheckSubject, Diagnostic};
use crate::cli::advice::apply_manifest;
use crate::cli::doctor::access::get_secret;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, Read, VeleroNamespace, named_secrets};
use crate::kubernetes::secret_access::grant_command;
use crate::names::BUNDLE;

/// Checks the permissions that do not belong to a single Velero namespace.
pub(super) fn check_installation(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let name = format!("ServiceAccount {}/{}", cluster.namespace, cluster.account());
    let subject = CheckSubject::new("rights", name);
    vec![match join_missing(&cluster.missing_rights) {
        Err(why) => subject.unknown(why),
        Ok(None) => subject.ok("it has those of the manifests"),
        Ok(Some(missing)) => subject.fail(
            format!("it may not {missing}"),
            apply_manifest(&cluster.namespace, "rbac.yaml"),
        ),
    }]
}

pub(super) fn check(cluster: &ClusterSnapshot, velero: &VeleroNamespace) -> Vec<Diagnostic> {
    let namespace = &velero.namespace;
    let secrets = CheckSubject::new("rights", format!("Secrets in namespace {namespace}"));
    let secrets = match join_missing(&velero.missing_secret_rights) {
        Err(why) => secrets.unknown(why),
        Ok(None) => secrets.ok("velero-trust may read those with CAs"),
        Ok(Some(missing)) => {
            let message = format!("velero-trust may not {missing}");
            let account = format!(
                "--serviceaccount={}:{}",
                cluster.namespace,
                cluster.account()
            );
            let named = named_secrets(namespace, &velero.locations);
            let is_missing = |name: &&str| {
                let missing = velero.missing_secret_rights.as_ref();
                missing.is_ok_and(|missing| missing.contains(&get_secret(name)))
            };
            let unread = named.iter().map(String::as_str).filter(is_missing);
            let bind = grant_command(namespace, unread, &account);
            if named.is_empty() {
                secrets.warn(format!("{message}; no BSL names one yet"), bind)
            } else {
                secrets.fail(format!("{message}, and a BSL names one"), bind)
            }
        }
    };
    let bundle = CheckSubject::new("rights", format!("ConfigMap {namespace}/{BUNDLE}"));
    let bundle = match join_missing(&velero.missing_bundle_rights) {
        Err(why) => bundle.unknown(why),
        Ok(None) => bundle.ok("velero-trust may publish it"),
        Ok(Some(missing)) => bundle.fail(
            format!("velero-trust may not {missing}"),
            apply_manifest(&cluster.namespace, "rbac.yaml"),
        ),
    };
    vec![secrets, bundle]
}

/// Returns the missing permissions as one text; `None` if none is missing.
fn join_missing(missing: &Read<Vec<String>>) -> Result<Option<String>, &str> {
    let missing = missing.as_ref().map_err(String::as_str)?;
    Ok((!missing.is_empty()).then(|| missing.join(", ")))
}
