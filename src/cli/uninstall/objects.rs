//! The objects of an installation, in the order in which they are deleted.

use std::fmt;

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{
    ApiResource, DeleteParams, GroupVersionKind, ListParams, Patch, PatchParams, PropagationPolicy,
};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, Client, Error, ResourceExt as _};
use serde_json::json;

use crate::kubernetes::registered_webhooks::own_label;
use crate::kubernetes::{location, owned_config_map};
use crate::names;

/// Objects of one kind.
pub(super) struct Group {
    resource: ApiResource,
    /// `None` for objects of the cluster, and for those of all namespaces.
    namespace: Option<String>,
    which: Which,
}

/// Which objects of a kind.
enum Which {
    /// Those with this label.
    Labelled(String),
    /// Those of these names.
    Named(Vec<String>),
    /// Those with this name in any namespace.
    Everywhere(&'static str),
    /// This namespace, if it is that of the manifests, and Velero is not in it.
    OwnNamespace(String),
    /// Those of the ClusterRole [`names::SECRET_READER_ROLE`] for the account in this namespace.
    SecretReaders(String),
}

/// An object that was found.
pub(super) struct Found {
    resource: ApiResource,
    object: PartialObjectMeta<DynamicObject>,
}

/// Kind, namespace and name.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.resource.kind)?;
        if let Some(namespace) = self.namespace() {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.object.name_any())
    }
}

fn resource(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}

/// Returns what an installation in namespace `own` is made of, but for its webhook configurations and what
/// outlives it.
pub(super) fn of_installation(own: &str) -> Vec<Group> {
    let labelled = |group, kind, namespace: Option<&str>| Group {
        resource: resource(group, kind),
        namespace: namespace.map(str::to_owned),
        which: Which::Labelled(own_label()),
    };
    let named = |group, kind, names: &[&str]| Group {
        resource: resource(group, kind),
        namespace: Some(own.to_owned()),
        which: Which::Named(names.iter().map(|name| (*name).to_owned()).collect()),
    };
    let rbac = "rbac.authorization.k8s.io";
    let admission = "admissionregistration.k8s.io";
    vec![
        labelled("apps", "Deployment", Some(own)),
        // From here on the Pods that still drain write nothing.
        labelled(rbac, "ClusterRoleBinding", None),
        labelled(rbac, "RoleBinding", Some(own)),
        Group {
            resource: resource(rbac, "RoleBinding"),
            namespace: None,
            which: Which::SecretReaders(own.to_owned()),
        },
        labelled(admission, "ValidatingAdmissionPolicyBinding", None),
        labelled(admission, "ValidatingAdmissionPolicy", None),
        labelled(rbac, "ClusterRole", None),
        labelled(rbac, "Role", Some(own)),
        labelled("", "ServiceAccount", Some(own)),
        labelled("policy", "PodDisruptionBudget", Some(own)),
        labelled("networking.k8s.io", "NetworkPolicy", Some(own)),
        labelled("", "Service", Some(own)),
        named("coordination.k8s.io", "Lease", &[names::APP]),
        Group {
            resource: resource("", "ConfigMap"),
            namespace: Some(own.to_owned()),
            which: Which::Labelled(owned_config_map::SELECTOR.to_owned()),
        },
        named("", "Secret", &[names::SERVING_CA]),
        Group {
            resource: resource("", "Secret"),
            namespace: Some(own.to_owned()),
            which: Which::Labelled(own_label()),
        },
        // Last: until then no leader makes a webhook active.
        named("", "ConfigMap", &[names::OFF]),
    ]
}

/// Returns what outlives an installation in namespace `own`: the key that signs, the kinds of the records and keys,
/// and the namespace.
pub(super) fn keys(own: &str) -> Vec<Group> {
    vec![
        Group {
            resource: resource("", "Secret"),
            namespace: Some(own.to_owned()),
            which: Which::Named(vec![names::SIGNING_KEY.to_owned()]),
        },
        Group {
            resource: resource("apiextensions.k8s.io", "CustomResourceDefinition"),
            namespace: None,
            which: Which::Labelled(own_label()),
        },
        Group {
            resource: resource("", "Namespace"),
            namespace: None,
            which: Which::OwnNamespace(own.to_owned()),
        },
    ]
}

impl Group {
    /// The bundles of all Velero namespaces.
    pub(super) fn bundles() -> Self {
        Self {
            resource: resource("", "ConfigMap"),
            namespace: None,
            which: Which::Everywhere(names::BUNDLE),
        }
    }

    /// Returns those that are there.
    pub(super) async fn find(&self, client: &Client) -> anyhow::Result<Vec<Found>> {
        let api = api(client, &self.resource, self.namespace.as_deref());
        let listed = match &self.which {
            Which::Labelled(label) => {
                api.list_metadata(&ListParams::default().labels(label))
                    .await
            }
            Which::Everywhere(name) => {
                let params = ListParams::default().fields(&format!("metadata.name={name}"));
                api.list_metadata(&params).await
            }
            Which::Named(names) => return self.get(&api, names).await,
            Which::SecretReaders(own) => return self.secret_readers(client, own).await,
            Which::OwnNamespace(own) => return self.own_namespace(client, &api, own).await,
        };
        let objects = match listed {
            Ok(list) => list.items,
            // Not every cluster has every kind.
            Err(Error::Api(status)) if status.is_not_found() => Vec::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot list {}", self.resource.plural));
            }
        };
        let mut found = self.found(objects);
        if !matches!(self.which, Which::Everywhere(_)) {
            // Velero's Pods mount it, where velero-trust is in Velero's namespace.
            found.retain(|one| one.object.name_any() != names::BUNDLE);
        }
        Ok(found)
    }

    async fn own_namespace(
        &self,
        client: &Client,
        api: &Api<DynamicObject>,
        own: &str,
    ) -> anyhow::Result<Vec<Found>> {
        let mut found = self.get(api, &[own.to_owned()]).await?;
        found.retain(|one| {
            let label = one.object.labels().get("app.kubernetes.io/name");
            label.is_some_and(|label| label == names::APP)
        });
        let deployments = Api::<Deployment>::namespaced(client.clone(), own);
        let locations = location::in_namespace(client, own);
        let all = ListParams::default();
        let deployments = deployments.list_metadata(&all).await;
        let deployments = deployments.context("cannot list deployments")?.items;
        let locations = match locations.list_metadata(&all).await {
            Ok(list) => list.items.len(),
            Err(Error::Api(status)) if status.is_not_found() => 0,
            Err(error) => return Err(error).context("cannot list backupstoragelocations"),
        };
        let is_others = deployments.iter().any(|one| one.name_any() != names::APP);
        if is_others || locations > 0 {
            found.clear();
        }
        Ok(found)
    }

    async fn get(&self, api: &Api<DynamicObject>, names: &[String]) -> anyhow::Result<Vec<Found>> {
        let mut objects = Vec::new();
        for name in names {
            let object = api.get_metadata_opt(name).await;
            let object =
                object.with_context(|| format!("cannot read {} {name}", self.resource.kind))?;
            objects.extend(object);
        }
        Ok(self.found(objects))
    }

    async fn secret_readers(&self, client: &Client, own: &str) -> anyhow::Result<Vec<Found>> {
        let all = Api::<DynamicObject>::all_with(client.clone(), &self.resource);
        let all = all.list(&ListParams::default()).await;
        let all = all.with_context(|| format!("cannot list {}", self.resource.plural))?;
        let readers = all
            .items
            .into_iter()
            .filter(|one| is_secret_reader(one, own));
        let metadata = readers.map(|one| PartialObjectMeta {
            types: one.types,
            metadata: one.metadata,
            _phantom: std::marker::PhantomData,
        });
        Ok(self.found(metadata.collect()))
    }

    fn found(&self, objects: Vec<PartialObjectMeta<DynamicObject>>) -> Vec<Found> {
        let found = objects.into_iter().map(|object| Found {
            resource: self.resource.clone(),
            object,
        });
        found.collect()
    }
}

/// Whether it lets the account of the installation in namespace `own` read Secrets, and nobody else.
fn is_secret_reader(binding: &DynamicObject, own: &str) -> bool {
    let role = binding.data.pointer("/roleRef/name");
    let account = json!({"kind": "ServiceAccount", "name": names::APP, "namespace": own});
    role.is_some_and(|role| role == names::SECRET_READER_ROLE)
        && binding.data.get("subjects") == Some(&json!([account]))
}

fn api(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

impl Found {
    pub(super) fn namespace(&self) -> Option<&str> {
        self.object.metadata.namespace.as_deref()
    }

    /// Deletes it.
    pub(super) async fn delete(&self, client: &Client) -> anyhow::Result<()> {
        let api = api(client, &self.resource, self.namespace());
        let name = self.object.name_any();
        let deleted = async {
            if self.resource.kind == "CustomResourceDefinition" {
                // The policies that keep it may not be gone for every API server yet.
                let annotations =
                    json!({"metadata": {"annotations": {names::ALLOW_DELETION: "true"}}});
                let patch = Patch::Merge(annotations);
                api.patch_metadata(&name, &PatchParams::default(), &patch)
                    .await?;
            }
            let params = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Background),
                ..DeleteParams::default()
            };
            api.delete(&name, &params).await.map(drop)
        };
        match deleted.await {
            Err(Error::Api(status)) if status.is_not_found() => Ok(()),
            result => result.with_context(|| format!("cannot delete {self}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_binds_our_account_alone_is_deleted_in_other_namespaces() {
        let binding = |role: &str, subjects: serde_json::Value| {
            let binding = json!({
                "metadata": {"name": "b", "namespace": "velero"},
                "roleRef": {"name": role}, "subjects": subjects,
            });
            is_secret_reader(&serde_json::from_value(binding).unwrap(), "guards")
        };
        let ours = json!({"kind": "ServiceAccount", "name": "velero-trust", "namespace": "guards"});
        let other = json!({"kind": "ServiceAccount", "name": "velero-trust", "namespace": "x"});
        let role = names::SECRET_READER_ROLE;
        assert!(binding(role, json!([ours])));
        assert!(!binding(role, json!([other])));
        assert!(!binding(role, json!([ours, other])));
        assert!(!binding("view", json!([ours])));
    }

    #[test]
    fn what_writes_goes_before_what_was_written_and_the_switch_goes_last() {
        let groups = of_installation("guards");
        let at = |kind: &str| groups.iter().position(|group| group.resource.kind == kind);
        assert!(at("Deployment") < at("ClusterRoleBinding"));
        assert!(at("ClusterRoleBinding") < at("ConfigMap"));
        let last = groups.last().unwrap();
        assert!(matches!(&last.which, Which::Named(names) if *names == [names::OFF]));
        // Nothing of it is kept for later.
        let kept = [names::SIGNING_KEY, names::BUNDLE];
        let named = groups.iter().filter_map(|group| match &group.which {
            Which::Named(names) => Some(names),
            _ => None,
        });
        assert!(!named.flatten().any(|name| kept.contains(&name.as_str())));
    }
}
