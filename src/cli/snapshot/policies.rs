//! Reads the admission policies of the manifests, and whom they take for velero-trust.

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Map, Value};

use crate::kubernetes::error;
use crate::kubernetes::registered_webhooks::own_label;
use crate::names;

/// The policies and their bindings.
const MANIFEST: &str = include_str!("../../../manifests/policies.yaml");

/// The admission policies of the manifests.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Policies {
    /// Kind and name of each policy or binding that is not there, or not as in the manifests.
    pub(in crate::cli) not_as_shipped: Vec<String>,
    /// The number of policies and bindings of the manifests.
    pub(in crate::cli) shipped: usize,
    /// The ServiceAccounts that the policies take for velero-trust's, as `namespace/name`.
    pub(in crate::cli) accounts: Vec<String>,
}

/// Reads the policies.
///
/// # Errors
/// Why they could not be read.
pub(in crate::cli) async fn read_policies(client: &Client) -> Result<Policies, String> {
    let mut live = Vec::new();
    for kind in [
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ] {
        let resource = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let all = Api::<DynamicObject>::all_with(client.clone(), &ApiResource::from_gvk(&resource));
        let list = all.list(&ListParams::default().labels(&own_label())).await;
        let list = list.map_err(|error| error::lookup_error(&error).message)?;
        let objects = list.items.into_iter();
        live.extend(objects.map(|object| {
            let name = object.name_any();
            (kind, name, object.data)
        }));
    }
    let bindings = Api::<ClusterRoleBinding>::all(client.clone());
    let binding = bindings.get_opt(names::APP).await;
    let binding = binding.map_err(|error| error::lookup_error(&error).message)?;
    let subjects = binding.and_then(|binding| binding.subjects);
    let accounts = subjects.into_iter().flatten().map(|subject| {
        let namespace = subject.namespace.unwrap_or_default();
        format!("{namespace}/{}", subject.name)
    });
    let shipped: Vec<Value> = serde_saphyr::from_multiple(MANIFEST).unwrap_or_default();
    Ok(Policies {
        not_as_shipped: not_as_shipped(&shipped, &live),
        shipped: shipped.len(),
        accounts: accounts.collect(),
    })
}

/// The selectors that the API server adds to `spec.matchConstraints`, empty, so that they select
/// everything (`SetDefaults_MatchResources` in `pkg/apis/admissionregistration/v1/defaults.go`). The
/// manifests set all other fields that it has a default for.
const ADDED_SELECTORS: [&str; 2] = ["namespaceSelector", "objectSelector"];

/// Returns kind and name of each of the `shipped` objects that is not among those that are `live`, as
/// kind, name and fields, as it is in the manifests.
fn not_as_shipped(shipped: &[Value], live: &[(&str, String, Value)]) -> Vec<String> {
    let text = |object: &Value, pointer| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let described = shipped.iter().filter_map(|shipped| {
        let (kind, name) = (text(shipped, "/kind"), text(shipped, "/metadata/name"));
        let is_live = live.iter().any(|(live_kind, live_name, data)| {
            let same = *live_kind == kind && *live_name == name;
            same && is_as_shipped(&data["spec"], &shipped["spec"])
        });
        (!is_live).then(|| format!("{kind} {name}"))
    });
    described.collect()
}

/// Whether `live` is `shipped`, besides [`ADDED_SELECTORS`]. Any other field can switch a policy off.
fn is_as_shipped(live: &Value, shipped: &Value) -> bool {
    match (live, shipped) {
        (Value::Object(live), Value::Object(shipped)) => {
            let is_added = |key: &str, value: &Value| {
                ADDED_SELECTORS.contains(&key) && *value == Value::Object(Map::new())
            };
            let as_shipped = |(key, live): (&String, &Value)| match shipped.get(key) {
                Some(shipped) => is_as_shipped(live, shipped),
                None => is_added(key, live),
            };
            live.iter().all(as_shipped) && shipped.keys().all(|key| live.contains_key(key))
        }
        _ => live == shipped,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all() -> Vec<(&'static str, String, Value)> {
        let shipped: Vec<Value> = serde_saphyr::from_multiple(MANIFEST).unwrap();
        let live = shipped.into_iter().map(|mut object| {
            let kind = match object["kind"].as_str().unwrap() {
                "ValidatingAdmissionPolicy" => "ValidatingAdmissionPolicy",
                _ => "ValidatingAdmissionPolicyBinding",
            };
            if let Some(matched) = object["spec"].get_mut("matchConstraints") {
                // What the API server adds.
                matched["namespaceSelector"] = json!({});
                matched["objectSelector"] = json!({});
            }
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            (kind, name, object)
        });
        live.collect()
    }

    fn told(live: &[(&str, String, Value)]) -> Vec<String> {
        let shipped: Vec<Value> = serde_saphyr::from_multiple(MANIFEST).unwrap();
        not_as_shipped(&shipped, live)
    }

    #[test]
    fn each_policy_and_binding_is_compared_with_the_manifests() {
        assert!(all().len() >= 8);
        assert_eq!(told(&all()), Vec::<String>::new());
        for index in 0..all().len() {
            let (kind, name, _) = all()[index].clone();
            let mut without = all();
            without.remove(index);
            assert_eq!(told(&without), [format!("{kind} {name}")]);
        }
    }

    #[test]
    fn a_policy_that_somebody_weakened_is_told() {
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 12] = [
            ("ValidatingAdmissionPolicy velero-trust-records", |spec| {
                spec["validations"][0]["expression"] = json!("true");
            }),
            ("ValidatingAdmissionPolicy velero-trust-records", |spec| {
                let conditions = spec["matchConditions"].as_array_mut().unwrap();
                conditions.push(json!({"name": "never", "expression": "false"}));
            }),
            ("ValidatingAdmissionPolicy velero-trust-restored", |spec| {
                spec["failurePolicy"] = json!("Ignore");
            }),
            (
                "ValidatingAdmissionPolicyBinding velero-trust-records",
                |spec| {
                    spec["validationActions"] = json!(["Audit"]);
                },
            ),
            // Fields that the manifests do not have.
            ("ValidatingAdmissionPolicy velero-trust-restored", |spec| {
                let never = json!([{"name": "never", "expression": "false"}]);
                spec["matchConditions"] = never;
            }),
            (
                "ValidatingAdmissionPolicy velero-trust-recorded-backups",
                |spec| {
                    let rules = &mut spec["matchConstraints"];
                    rules["excludeResourceRules"] = rules["resourceRules"].clone();
                },
            ),
            ("ValidatingAdmissionPolicy velero-trust-records", |spec| {
                let rule = &mut spec["matchConstraints"]["resourceRules"][0];
                rule["resourceNames"] = json!(["none"]);
            }),
            ("ValidatingAdmissionPolicy velero-trust-records", |spec| {
                let selector = &mut spec["matchConstraints"]["objectSelector"];
                *selector = json!({"matchLabels": {"none": "such"}});
            }),
            ("ValidatingAdmissionPolicy velero-trust-records", |spec| {
                let selector = &mut spec["matchConstraints"]["namespaceSelector"];
                *selector = json!({"matchLabels": {"none": "such"}});
            }),
            (
                "ValidatingAdmissionPolicyBinding velero-trust-new-backups",
                |spec| {
                    let selector = json!({"matchLabels": {"none": "such"}});
                    spec["matchResources"] = json!({"namespaceSelector": selector});
                },
            ),
            (
                "ValidatingAdmissionPolicyBinding velero-trust-restored",
                |spec| {
                    spec["paramRef"] = json!({"name": "none"});
                },
            ),
            (
                "ValidatingAdmissionPolicyBinding velero-trust-records",
                |spec| {
                    spec["paramRef"]["namespace"] = json!("none");
                },
            ),
        ];
        for (object, change) in changes {
            let mut live = all();
            let found = live.iter_mut();
            let mut found = found.filter(|(kind, name, _)| format!("{kind} {name}") == object);
            change(&mut found.next().unwrap().2["spec"]);
            assert_eq!(told(&live), [object]);
        }
    }
}
