//! Asks the API server for the permissions of our ServiceAccount. The reviews store nothing.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::cluster_snapshot::Read;
use crate::kubernetes::error;
use crate::names;

/// Permissions: verbs on a resource.
#[derive(Clone, Copy, Debug)]
pub(super) struct Right {
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    /// The name of the only object that the permissions apply to; `None` for all objects.
    pub(super) name: Option<&'static str>,
    pub(super) verbs: &'static [&'static str],
}

pub(super) const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
) -> Right {
    Right {
        group,
        resource,
        name: None,
        verbs,
    }
}

/// Permissions to read the Secrets of a Velero namespace, which contain CAs.
pub(super) const SECRET_RIGHTS: Right = right("", "secrets", &["get", "list", "watch"]);

/// Permissions for the bundle of a Velero namespace. A server-side apply that creates the object
/// needs both `create` and `patch`.
pub(super) const BUNDLE_RIGHTS: Right = Right {
    name: Some(names::BUNDLE),
    ..right(
        "",
        "configmaps",
        &["get", "list", "watch", "create", "patch"],
    )
};

/// Permissions in the whole cluster, in addition to the bundle.
pub(super) const CLUSTER_RIGHTS: [Right; 23] = [
    right(
        "velero.io",
        "backupstoragelocations",
        &["get", "list", "watch"],
    ),
    right("velero.io", "backups", &["get", "list", "watch", "patch"]),
    right("velero.io", "restores", &["get", "list", "watch", "patch"]),
    right(
        "velero.io",
        "downloadrequests",
        &["get", "create", "delete"],
    ),
    right("velero.io", "podvolumebackups", &["list"]),
    right(
        "velero-trust.io",
        "backuprecords",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    right("velero-trust.io", "backuprecords/status", &["patch"]),
    right(
        "velero-trust.io",
        "trustedkeys",
        &["get", "list", "watch", "create"],
    ),
    Right {
        name: Some(names::EXCLUDED_NAMESPACE),
        ..right("", "namespaces", &["get"])
    },
    right("", "namespaces", &["list", "watch"]),
    right("", "pods", &["list", "watch"]),
    right("apps", "deployments", &["list", "watch"]),
    right("apps", "daemonsets", &["list", "watch"]),
    right("events.k8s.io", "events", &["create"]),
    right("authorization.k8s.io", "subjectaccessreviews", &["create"]),
    right(
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        &["list", "watch"],
    ),
    right(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        &["list", "watch"],
    ),
    activate(
        "validatingwebhookconfigurations",
        "velero-trust-backupstoragelocations",
    ),
    activate("validatingwebhookconfigurations", "velero-trust-restores"),
    activate("validatingwebhookconfigurations", "velero-trust-canary"),
    activate("mutatingwebhookconfigurations", "velero-trust-pods"),
    activate("mutatingwebhookconfigurations", "velero-trust-backups"),
    activate("mutatingwebhookconfigurations", "velero-trust-restores"),
];

/// Permissions to make the webhooks of one configuration active.
const fn activate(resource: &'static str, name: &'static str) -> Right {
    Right {
        name: Some(name),
        ..right("admissionregistration.k8s.io", resource, &["patch"])
    }
}

/// Permissions in our own namespace.
pub(super) const OWN_NAMESPACE_RIGHTS: [Right; 6] = [
    right("coordination.k8s.io", "leases", &["get", "create", "patch"]),
    right(
        "",
        "configmaps",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    right("", "secrets", &["list", "watch", "create"]),
    Right {
        name: Some(names::SIGNING_KEY),
        ..right("", "secrets", &["get"])
    },
    Right {
        name: Some(names::SERVING_CA),
        ..right("", "secrets", &["get", "update"])
    },
    right("discovery.k8s.io", "endpointslices", &["list", "watch"]),
];

/// Our ServiceAccount.
pub(super) struct Account {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Account {
    /// Returns the verbs of `right` that the account lacks, each as `verb resource`. Without a
    /// `namespace`, the account needs them in all namespaces.
    pub(super) async fn missing_rights(
        &self,
        client: &Client,
        namespace: Option<&str>,
        right: Right,
    ) -> Read<Vec<String>> {
        let Right {
            group,
            resource,
            name,
            verbs,
        } = right;
        let requests = verbs.iter().map(async |verb| {
            let attributes = ResourceAttributes {
                namespace: namespace.map(str::to_owned),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                name: name.map(str::to_owned),
                verb: Some((*verb).to_owned()),
                ..ResourceAttributes::default()
            };
            let allowed = self.is_allowed(client, attributes).await?;
            Ok((!allowed).then(|| format!("{verb} {resource}")))
        });
        let answers = try_join_all(requests).await;
        let answers = answers.map_err(|error: kube::Error| error::lookup_error(&error).message)?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Like [`Account::missing_rights`], for the Secrets of the Velero namespace `namespace`, of which BSLs
    /// name those in `named`. In `kube-system`, only these need to be read.
    pub(super) async fn missing_secret_rights(
        &self,
        client: &Client,
        namespace: &str,
        named: &BTreeSet<String>,
    ) -> Read<Vec<String>> {
        if namespace != names::EXCLUDED_NAMESPACE {
            return self
                .missing_rights(client, Some(namespace), SECRET_RIGHTS)
                .await;
        }
        let requests = named.iter().map(async |name| {
            let attributes = ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                group: Some(SECRET_RIGHTS.group.to_owned()),
                resource: Some(SECRET_RIGHTS.resource.to_owned()),
                name: Some(name.clone()),
                verb: Some("get".to_owned()),
                ..ResourceAttributes::default()
            };
            let allowed = self.is_allowed(client, attributes).await?;
            Ok((!allowed).then(|| get_secret(name)))
        });
        let answers = try_join_all(requests).await;
        let answers = answers.map_err(|error: kube::Error| error::lookup_error(&error).message)?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Like [`Account::missing_rights`], for all permissions that do not belong to a single Velero
    /// namespace.
    pub(super) async fn missing_installation_rights(&self, client: &Client) -> Read<Vec<String>> {
        let own_namespace = OWN_NAMESPACE_RIGHTS.map(|right| (Some(&*self.namespace), right));
        let all = CLUSTER_RIGHTS
            .map(|right| (None, right))
            .into_iter()
            .chain(own_namespace);
        let requests = all.map(|(namespace, right)| self.missing_rights(client, namespace, right));
        Ok(try_join_all(requests)
            .await?
            .into_iter()
            .flatten()
            .collect())
    }

    async fn is_allowed(
        &self,
        client: &Client,
        attributes: ResourceAttributes,
    ) -> kube::Result<bool> {
        let reviews = Api::<SubjectAccessReview>::all(client.clone());
        let review = self.review(attributes);
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    fn review(&self, attributes: ResourceAttributes) -> SubjectAccessReview {
        let Self { namespace, name } = self;
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{namespace}:{name}")),
                groups: Some(groups.into()),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        }
    }
}

/// Returns how [`Account::missing_secret_rights`] calls the right to get the Secret `name`.
pub(super) fn get_secret(name: &str) -> String {
    format!("get secrets/{name}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Returns each permission as `group resource name verb`.
    fn rights_as_text(rights: &[Right]) -> BTreeSet<String> {
        let verbs = rights.iter().flat_map(|right| {
            let name = right.name.unwrap_or_default();
            let verb = move |verb| format!("{} {} {name} {verb}", right.group, right.resource);
            right.verbs.iter().map(verb)
        });
        verbs.collect()
    }

    fn in_manifests(kind: &str, name: &str) -> BTreeSet<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/rbac.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let matches =
            |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
        let role = objects.iter().find(matches).unwrap();
        let list = |rule: &Value, key: &str| -> Vec<String> {
            let all = rule[key].as_array().into_iter().flatten();
            all.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let mut all = BTreeSet::new();
        for rule in role["rules"].as_array().unwrap() {
            let mut names = list(rule, "resourceNames");
            if names.is_empty() {
                names.push(String::new());
            }
            for group in list(rule, "apiGroups") {
                for resource in list(rule, "resources") {
                    for name in &names {
                        let as_text = |verb| format!("{group} {resource} {name} {verb}");
                        all.extend(list(rule, "verbs").into_iter().map(as_text));
                    }
                }
            }
        }
        all
    }

    #[test]
    fn what_is_asked_is_what_the_manifests_grant() {
        let cluster = [&CLUSTER_RIGHTS[..], &[BUNDLE_RIGHTS]].concat();
        assert_eq!(
            rights_as_text(&cluster),
            in_manifests("ClusterRole", names::APP)
        );
        assert_eq!(
            rights_as_text(&OWN_NAMESPACE_RIGHTS),
            in_manifests("Role", names::APP)
        );
        let reader = in_manifests("ClusterRole", names::SECRET_READER_ROLE);
        assert_eq!(rights_as_text(&[SECRET_RIGHTS]), reader);
    }
}
