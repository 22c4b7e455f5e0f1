//! What users may do, by the objects of RBAC in some files.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use serde_json::Value;

use super::object::DEFAULT_NAMESPACE;
use crate::decision::{Key, User, Verb};

/// The API that the objects are of.
pub(super) const API_VERSION: &str = "rbac.authorization.k8s.io/v1";

/// Roles, and who has them. Rules that a role aggregates from others do not count.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles {
    /// The rules of a role, by its namespace; none for one of the cluster.
    rules: BTreeMap<(Option<String>, String), Vec<PolicyRule>>,
    bindings: Vec<Binding>,
}

#[derive(Clone, Debug)]
struct Binding {
    /// Where the role counts; none for the whole cluster.
    namespace: Option<String>,
    role: RoleRef,
    subjects: Vec<Subject>,
}

impl Roles {
    /// Adds the object of `kind`. Returns whether it is one of RBAC.
    pub(super) fn add(&mut self, kind: &str, object: &Value) -> Result<bool, String> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        let namespace = object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str);
        let namespace = Some(namespace.unwrap_or(DEFAULT_NAMESPACE).to_owned());
        match kind {
            "Role" => {
                let role: Role = read(object)?;
                self.rules
                    .insert((namespace, name), role.rules.unwrap_or_default());
            }
            "ClusterRole" => {
                let role: ClusterRole = read(object)?;
                self.rules
                    .insert((None, name), role.rules.unwrap_or_default());
            }
            "RoleBinding" => {
                let binding: RoleBinding = read(object)?;
                self.bind(namespace, binding.role_ref, binding.subjects);
            }
            "ClusterRoleBinding" => {
                let binding: ClusterRoleBinding = read(object)?;
                self.bind(None, binding.role_ref, binding.subjects);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn bind(&mut self, namespace: Option<String>, role: RoleRef, subjects: Option<Vec<Subject>>) {
        self.bindings.push(Binding {
            namespace,
            role,
            subjects: subjects.unwrap_or_default(),
        });
    }

    /// Whether `user` has `verb` on `backup`, or on all of its namespace if its name is empty.
    pub(super) fn allow(&self, user: &User, verb: Verb, backup: &Key) -> bool {
        self.bindings.iter().any(|binding| {
            let is_there = |namespace: &String| *namespace == backup.namespace;
            binding.namespace.as_ref().is_none_or(is_there)
                && binding
                    .subjects
                    .iter()
                    .any(|subject| is_subject(subject, user))
                && self
                    .rules(binding)
                    .iter()
                    .any(|rule| allows(rule, verb, &backup.name))
        })
    }

    fn rules(&self, binding: &Binding) -> &[PolicyRule] {
        let is_of_namespace = binding.role.kind == "Role";
        let namespace = binding.namespace.clone().filter(|_| is_of_namespace);
        let rules = self.rules.get(&(namespace, binding.role.name.clone()));
        rules.map(Vec::as_slice).unwrap_or_default()
    }
}

fn read<T: serde::de::DeserializeOwned>(object: &Value) -> Result<T, String> {
    T::deserialize(object).map_err(|error| error.to_string())
}

fn is_subject(subject: &Subject, user: &User) -> bool {
    let Subject {
        kind,
        name,
        namespace,
        ..
    } = subject;
    match kind.as_str() {
        "User" => *name == user.name,
        "Group" => user.groups.contains(name),
        "ServiceAccount" => {
            let namespace = namespace.as_deref().unwrap_or_default();
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn allows(rule: &PolicyRule, verb: Verb, backup: &str) -> bool {
    let has = |all: Option<&Vec<String>>, wanted: &str| {
        all.is_some_and(|all| all.iter().any(|one| one == "*" || one == wanted))
    };
    let names = rule.resource_names.as_deref().unwrap_or_default();
    has(rule.api_groups.as_ref(), "velero.io")
        && has(rule.resources.as_ref(), "backups")
        && has(Some(&rule.verbs), verb.as_str())
        && (names.is_empty() || names.iter().any(|name| name == backup))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(kind: &str, name: &str, rule: &Value) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": kind,
            "metadata": {"name": name, "namespace": "velero"}, "rules": [rule],
        })
    }

    fn binding(kind: &str, namespace: &str, role: [&str; 2], subject: &Value) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": kind,
            "metadata": {"name": "x", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role[0], "name": role[1]},
            "subjects": [subject],
        })
    }

    fn roles(objects: &[Value]) -> Roles {
        let mut roles = Roles::default();
        for object in objects {
            assert_eq!(
                roles.add(object["kind"].as_str().unwrap(), object),
                Ok(true)
            );
        }
        roles
    }

    fn jane() -> User {
        User {
            name: "jane".into(),
            groups: vec!["admins".into()],
            ..User::default()
        }
    }

    fn rule(change: &Value) -> Value {
        let mut rule = json!({
            "apiGroups": ["velero.io"], "resources": ["backups"], "verbs": ["restore-unverified"],
        });
        json_patch::merge(&mut rule, change);
        rule
    }

    #[test]
    fn a_rule_allows_what_it_names() {
        let verb = Verb::RestoreUnverified;
        let is_allowed = |change: &Value, verb, backup: &str| {
            let roles = roles(&[
                role("ClusterRole", "r", &rule(change)),
                binding(
                    "ClusterRoleBinding",
                    "",
                    ["ClusterRole", "r"],
                    &json!({"kind": "User", "name": "jane"}),
                ),
            ]);
            roles.allow(&jane(), verb, &Key::new("velero", backup))
        };
        assert!(is_allowed(&json!({}), verb, "b"));
        assert!(is_allowed(&json!({}), verb, ""));
        assert!(!is_allowed(&json!({}), Verb::RestoreTampered, "b"));
        let all = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
        assert!(is_allowed(&all, Verb::RestoreTampered, "b"));
        assert!(!is_allowed(&json!({"apiGroups": [""]}), verb, "b"));
        assert!(!is_allowed(&json!({"resources": ["restores"]}), verb, "b"));
        let named = json!({"resourceNames": ["b"]});
        assert!(is_allowed(&named, verb, "b"));
        assert!(!is_allowed(&named, verb, "c") && !is_allowed(&named, verb, ""));
    }

    #[test]
    fn a_role_counts_where_and_for_whom_it_is_bound() {
        let is_allowed = |kind: &str, namespace: &str, of: &str, subject: Value| {
            let roles = roles(&[
                role(of, "r", &rule(&json!({}))),
                binding(kind, namespace, [of, "r"], &subject),
            ]);
            roles.allow(&jane(), Verb::RestoreUnverified, &Key::new("velero", "b"))
        };
        let group = || json!({"kind": "Group", "name": "admins"});
        assert!(is_allowed("RoleBinding", "velero", "Role", group()));
        assert!(is_allowed("RoleBinding", "velero", "ClusterRole", group()));
        assert!(!is_allowed("RoleBinding", "other", "ClusterRole", group()));
        assert!(!is_allowed(
            "RoleBinding",
            "velero",
            "Role",
            json!({"kind": "User", "name": "joe"})
        ));
        let account = json!({"kind": "ServiceAccount", "name": "jane", "namespace": "velero"});
        assert!(!is_allowed(
            "RoleBinding",
            "velero",
            "Role",
            account.clone()
        ));
        let roles = roles(&[
            role("Role", "r", &rule(&json!({}))),
            binding("RoleBinding", "velero", ["Role", "r"], &account),
        ]);
        let account = User {
            name: "system:serviceaccount:velero:jane".into(),
            ..User::default()
        };
        assert!(roles.allow(&account, Verb::RestoreUnverified, &Key::new("velero", "b")));
    }

    #[test]
    fn other_kinds_are_left_and_a_malformed_one_is_told() {
        let mut roles = Roles::default();
        assert_eq!(roles.add("Other", &json!({})), Ok(false));
        let malformed = json!({"apiVersion": API_VERSION, "kind": "Role", "rules": 5});
        assert!(roles.add("Role", &malformed).is_err());
    }
}
