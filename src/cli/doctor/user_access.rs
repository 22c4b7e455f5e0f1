//! Asks the API server for the permissions of the user that an installation needs. The reviews store
//! nothing, and every user may create them.

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::access::{
    BUNDLE_RIGHTS, CLUSTER_RIGHTS, OWN_NAMESPACE_RIGHTS, Right, SECRET_RIGHTS, right,
};
use super::cluster_snapshot::Read;
use crate::kubernetes::error;

/// The verbs of `kubectl apply`, and of a server-side apply.
const APPLY: &[&str] = &["get", "create", "patch"];

/// Permissions in the whole cluster, for the manifests and for `certs --install`.
const CLUSTER_INSTALL_RIGHTS: [Right; 8] = [
    right("", "namespaces", APPLY),
    right("apiextensions.k8s.io", "customresourcedefinitions", APPLY),
    right("rbac.authorization.k8s.io", "clusterroles", APPLY),
    right("rbac.authorization.k8s.io", "clusterrolebindings", APPLY),
    right(
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        &["get", "list", "create", "patch"],
    ),
    right(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        &["get", "list", "create", "patch"],
    ),
    right(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        APPLY,
    ),
    right(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        APPLY,
    ),
];

/// Permissions in our own namespace, for the manifests and for `certs --install`.
const NAMESPACE_INSTALL_RIGHTS: [Right; 7] = [
    right("", "serviceaccounts", APPLY),
    right("", "services", APPLY),
    right("", "secrets", APPLY),
    right("apps", "deployments", APPLY),
    right("policy", "poddisruptionbudgets", APPLY),
    right("rbac.authorization.k8s.io", "roles", APPLY),
    right("rbac.authorization.k8s.io", "rolebindings", APPLY),
];

/// The permission for the binding in the namespace of the manifests for Velero.
const VELERO_INSTALL_RIGHTS: (Option<&str>, Right) = (
    Some("velero"),
    right("rbac.authorization.k8s.io", "rolebindings", APPLY),
);

/// The permission to create roles with more permissions than one's own.
const ESCALATE: Right = right(
    "rbac.authorization.k8s.io",
    "clusterroles",
    &["escalate", "bind"],
);

/// Returns what the user lacks to install velero-trust in `namespace`, each as
/// `verb/verb resource.group`. Whoever creates a role needs its permissions or may escalate.
pub(super) async fn missing_install_rights(client: &Client, namespace: &str) -> Read<Vec<String>> {
    let in_cluster = CLUSTER_INSTALL_RIGHTS.map(|right| (None, right));
    let in_namespace = NAMESPACE_INSTALL_RIGHTS.map(|right| (Some(namespace), right));
    let all = in_cluster.into_iter().chain(in_namespace);
    let mut missing = all_missing(client, all.chain([VELERO_INSTALL_RIGHTS])).await?;
    missing.dedup();
    if !all_missing(client, [(None, ESCALATE)].into_iter())
        .await?
        .is_empty()
    {
        let in_cluster = CLUSTER_RIGHTS
            .into_iter()
            .chain([BUNDLE_RIGHTS, SECRET_RIGHTS]);
        let in_cluster = in_cluster.map(|right| (None, right));
        let in_namespace = OWN_NAMESPACE_RIGHTS.map(|right| (Some(namespace), right));
        let to_grant = all_missing(client, in_cluster.chain(in_namespace)).await?;
        missing.extend(to_grant.into_iter().map(|right| format!("grant {right}")));
    }
    Ok(missing)
}

async fn all_missing(
    client: &Client,
    rights: impl Iterator<Item = (Option<&str>, Right)>,
) -> Read<Vec<String>> {
    let missing = rights.map(|(namespace, right)| missing(client, namespace, right));
    let missing = try_join_all(missing).await.map_err(|error| {
        let error: kube::Error = error;
        error::lookup_error(&error).message
    })?;
    Ok(missing.into_iter().flatten().collect())
}

/// Returns the verbs of `right` that the user lacks as one text; `None` if none is missing. Without a
/// `namespace`, the user needs them in all namespaces.
async fn missing(
    client: &Client,
    namespace: Option<&str>,
    right: Right,
) -> kube::Result<Option<String>> {
    let Right {
        group,
        resource,
        name,
        verbs,
    } = right;
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let requests = verbs.iter().map(async |verb| {
        let attributes = ResourceAttributes {
            namespace: namespace.map(str::to_owned),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            name: name.map(str::to_owned),
            verb: Some((*verb).to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = reviews.create(&PostParams::default(), &review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        Ok::<_, kube::Error>((!allowed).then_some(*verb))
    });
    let verbs = try_join_all(requests).await?;
    let verbs: Vec<_> = verbs.into_iter().flatten().collect();
    Ok((!verbs.is_empty()).then(|| format!("{} {}", verbs.join("/"), full_name(group, resource))))
}

/// Returns the resource as kubectl takes it.
fn full_name(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use serde_json::Value;

    use super::*;

    /// The resources of the manifests, and the Secret that `certs --install` writes.
    #[test]
    fn what_the_user_is_asked_for_is_what_the_manifests_contain() {
        let mut expected = BTreeSet::from([(true, "secrets".to_owned())]);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests");
        let folders = ["", "/crds", "/components/secret-reader"];
        let files = folders.map(|name| fs::read_dir(format!("{folder}{name}")).unwrap());
        for file in files.into_iter().flatten() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
            for object in objects {
                let kind = object["kind"].as_str().unwrap().to_lowercase();
                if ["kustomization", "component"].contains(&&*kind) {
                    continue;
                }
                let version = object["apiVersion"].as_str().unwrap();
                let group = version
                    .split_once('/')
                    .map_or("", |(group, _version)| group);
                let is_namespaced = object["metadata"]["namespace"].is_string();
                let plural = match kind.strip_suffix('y') {
                    Some(stem) => format!("{stem}ies"),
                    None => format!("{kind}s"),
                };
                expected.insert((is_namespaced, full_name(group, &plural)));
            }
        }
        let names = |rights: &[Right], is_namespaced: bool| {
            let names = rights
                .iter()
                .map(|right| full_name(right.group, right.resource));
            names
                .map(|name| (is_namespaced, name))
                .collect::<BTreeSet<_>>()
        };
        let mut asked = names(&CLUSTER_INSTALL_RIGHTS, false);
        asked.extend(names(&NAMESPACE_INSTALL_RIGHTS, true));
        assert_eq!(asked, expected);
    }
}
