//! What our ServiceAccount may do in a Velero namespace, by the API server's own judgement.

use super::locations::any_reference;
use super::{CheckSubject, Diagnostic};
use crate::ca::references::CaTarget;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, Read, Velero};
use crate::names::{BUNDLE, SECRET_READER_ROLE};

/// What it may do whatever Velero's namespaces are.
pub(super) fn ours(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = format!("ServiceAccount {}/{}", cluster.namespace, cluster.account());
    let of = CheckSubject::new("rights", subject);
    vec![match lacking(&cluster.lacks) {
        Err(why) => of.unknown(why),
        Ok(None) => of.ok("it has those of the manifests"),
        Ok(Some(lacking)) => of.fail(
            format!("it may not {lacking}"),
            "kubectl apply -k manifests",
        ),
    }]
}

pub(super) fn check(cluster: &ClusterSnapshot, velero: &Velero) -> Vec<Diagnostic> {
    let namespace = &velero.namespace;
    let secrets = CheckSubject::new("rights", format!("Secrets in namespace {namespace}"));
    let secrets = match lacking(&velero.lacks_on_secrets) {
        Err(why) => secrets.unknown(why),
        Ok(None) => secrets.ok("velero-trust may read them"),
        Ok(Some(lacking)) => {
            let said = format!("velero-trust may not {lacking}");
            let bind = format!(
                "kubectl -n {namespace} create rolebinding {SECRET_READER_ROLE} \
                 --clusterrole={SECRET_READER_ROLE} --serviceaccount={}:{}",
                cluster.namespace,
                cluster.account()
            );
            if any_reference(velero, |source| {
                matches!(source.target, CaTarget::Secret(_))
            }) {
                secrets.fail(format!("{said}, and a BSL names one"), bind)
            } else {
                secrets.warn(format!("{said}; no BSL names one yet"), bind)
            }
        }
    };
    let bundle = CheckSubject::new("rights", format!("ConfigMap {namespace}/{BUNDLE}"));
    let bundle = match lacking(&velero.lacks_on_bundle) {
        Err(why) => bundle.unknown(why),
        Ok(None) => bundle.ok("velero-trust may publish it"),
        Ok(Some(lacking)) => bundle.fail(
            format!("velero-trust may not {lacking}"),
            "kubectl apply -k manifests",
        ),
    };
    vec![secrets, bundle]
}

fn lacking(lacks: &Read<Vec<String>>) -> Result<Option<String>, &str> {
    let lacks = lacks.as_ref().map_err(String::as_str)?;
    Ok((!lacks.is_empty()).then(|| lacks.join(", ")))
}
