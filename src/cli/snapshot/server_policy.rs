//! What the server runs with, from its Deployment: the policy for Restores, and other options.

use clap::ValueEnum as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use kube::{Api, Client};

use super::NoReport;
use crate::cli::key_type::KeyType;
use crate::cli::policy::PolicyOptions;
use crate::cli::restores::{self, RestoresSetting};
use crate::decision::{Policy, RestoresMode};
use crate::kubernetes::error;
use crate::names;

/// Reads the policy of the installation in the namespace `own`. Without one, nothing reviews
/// Restores.
///
/// # Errors
/// Why the policy is not known.
pub(in crate::cli) async fn read_restores_policy(
    client: &Client,
    own: &str,
) -> Result<Policy, String> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), own);
    let deployment = deployments.get_opt(names::APP).await;
    match deployment.map_err(|error| error::lookup_error(&error).message)? {
        None => Ok(Policy::new(RestoresMode::Off)),
        Some(deployment) => of_deployment(own, &deployment),
    }
}

/// Whether the controllers of the installation in the namespace `own` leave `namespace` alone. Its
/// Deployment says so; where that is not known, it is deduced from the missing report.
pub(in crate::cli) async fn is_excluded(
    client: &Client,
    own: &str,
    namespace: &str,
    no_report: Option<&NoReport>,
) -> bool {
    if namespace != names::EXCLUDED_NAMESPACE {
        return false;
    }
    includes_kube_system(client, own).await.map_or_else(
        || no_report.is_some_and(NoReport::is_absent),
        |included| !included,
    )
}

/// Whether the servers of the installation in the namespace `own` are started with
/// `--include-kube-system`; `None` if that is not known.
pub(super) async fn includes_kube_system(client: &Client, own: &str) -> Option<bool> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), own);
    let deployment = deployments.get_opt(names::APP).await.ok().flatten()?;
    is_kube_system_included(&deployment)
}

/// Returns the type of the key that the leader of the installation in the namespace `own` makes if there is
/// none; `None` if that is not known.
pub(in crate::cli) async fn read_key_type(client: &Client, own: &str) -> Option<KeyType> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), own);
    let deployment = deployments.get_opt(names::APP).await.ok().flatten()?;
    key_type(&deployment)
}

fn key_type(deployment: &Deployment) -> Option<KeyType> {
    let values = values(server(deployment)?, "--key-type", "VELERO_TRUST_KEY_TYPE");
    match values.ok()?.last() {
        None => Some(KeyType::default()),
        Some(value) => KeyType::from_str(value, false).ok(),
    }
}

/// Returns the container of the server.
fn server(deployment: &Deployment) -> Option<&Container> {
    let spec = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let mut containers = spec.containers.iter();
    containers.find(|container| container.name == names::APP)
}

fn is_kube_system_included(deployment: &Deployment) -> Option<bool> {
    let variable = "VELERO_TRUST_INCLUDE_KUBE_SYSTEM";
    is_set(server(deployment)?, "--include-kube-system", variable)
}

/// Whether the option without a value is given; `None` if that is not known.
fn is_set(container: &Container, option: &str, variable: &str) -> Option<bool> {
    let mut arguments = container.args.iter().flatten();
    if arguments.any(|argument| argument == option) {
        return Some(true);
    }
    let values = values(container, option, variable);
    match values.ok()?.first().map(String::as_str) {
        None | Some("false") => Some(false),
        Some("true") => Some(true),
        Some(_) => None,
    }
}

fn of_deployment(own: &str, deployment: &Deployment) -> Result<Policy, String> {
    let container = server(deployment)
        .ok_or_else(|| format!("Deployment {own}/{0} has no container {0}", names::APP))?;
    let rules = values(container, "--rule", "VELERO_TRUST_RULE")?;
    let rules = rules.iter().flat_map(|rules| rules.split(','));
    let options = PolicyOptions::new(rules.map(str::to_owned).collect());
    let policy = options.policy(RestoresMode::default());
    let mut policy = policy.map_err(|error| error.to_string())?;
    let modes = values(container, "--restores", "VELERO_TRUST_RESTORES")?;
    set_modes(&modes, &mut policy)
        .map_err(|why| format!("Deployment {own}/{}: --restores: {why}", names::APP))?;
    let existing = values(
        container,
        "--record-existing",
        "VELERO_TRUST_RECORD_EXISTING",
    )?;
    policy.records_existing = existing.last().is_none_or(|value| value != "off");
    let partial = is_set(container, "--accept-partial", "VELERO_TRUST_ACCEPT_PARTIAL");
    policy.accepts_partial = partial == Some(true);
    own.clone_into(&mut policy.own_namespace);
    Ok(policy)
}

/// Sets the modes of `values`, each of which may be several.
fn set_modes(values: &[String], policy: &mut Policy) -> Result<(), String> {
    let settings = values.iter().flat_map(|values| values.split(','));
    let settings: Result<Vec<RestoresSetting>, _> = settings.map(str::parse).collect();
    restores::apply(&settings?, policy).map_err(|error| error.to_string())
}

/// Returns the values of `option` on the command line of the container, else that of `variable`.
fn values(container: &Container, option: &str, variable: &str) -> Result<Vec<String>, String> {
    let mut arguments = container.args.iter().flatten();
    let mut values = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == option {
            values.extend(arguments.next().cloned());
        } else if let Some(value) = argument
            .strip_prefix(option)
            .and_then(|rest| rest.strip_prefix('='))
        {
            values.push(value.to_owned());
        }
    }
    if !values.is_empty() {
        return Ok(values);
    }
    if container.env_from.iter().flatten().next().is_some() {
        return Err(format!("{variable} may come from another object"));
    }
    let mut variables = container.env.iter().flatten();
    match variables.find(|one| one.name == variable) {
        None => Ok(values),
        Some(one) if one.value_from.is_some() => {
            Err(format!("{variable} comes from another object"))
        }
        Some(one) => Ok(one.value.clone().into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(container: &Value) -> Deployment {
        let mut container = container.clone();
        container["name"] = "velero-trust".into();
        let deployment = json!({"spec": {"selector": {}, "template": {"spec": {
            "containers": [container],
        }}}});
        serde_json::from_value(deployment).unwrap()
    }

    fn policy(container: &Value) -> Result<Policy, String> {
        of_deployment("guards", &deployment(container))
    }

    #[test]
    fn kube_system_is_included_by_an_option_or_a_variable() {
        let variable = |value: &str| json!({"env": [{"name": "VELERO_TRUST_INCLUDE_KUBE_SYSTEM", "value": value}]});
        for (container, expected) in [
            (json!({"args": ["serve"]}), Some(false)),
            (
                json!({"args": ["serve", "--include-kube-system", "--probe"]}),
                Some(true),
            ),
            (variable("true"), Some(true)),
            (variable("false"), Some(false)),
            (variable("$(X)"), None),
            (json!({"envFrom": [{}]}), None),
        ] {
            let included = is_kube_system_included(&deployment(&container));
            assert_eq!(included, expected, "{container}");
        }
    }

    #[test]
    fn the_type_of_a_new_key_is_that_of_the_option_or_the_variable() {
        let variable =
            |value: &str| json!({"env": [{"name": "VELERO_TRUST_KEY_TYPE", "value": value}]});
        let option = |value: &str| json!({"args": ["serve", format!("--key-type={value}")]});
        for (container, expected) in [
            (json!({"args": ["serve"]}), Some(KeyType::EcdsaP256)),
            (option("ed25519"), Some(KeyType::Ed25519)),
            (option("ecdsa-p256"), Some(KeyType::EcdsaP256)),
            (option("rsa"), None),
            (variable("ed25519"), Some(KeyType::Ed25519)),
            (json!({"envFrom": [{}]}), None),
        ] {
            let found = key_type(&deployment(&container));
            assert_eq!(found, expected, "{container}");
        }
    }

    #[test]
    fn a_namespace_has_its_own_mode() {
        for container in [
            json!({"args": ["--restores=warn", "--restores", "staging=off", "--restores=lab=enforce"]}),
            json!({"args": ["--restores=warn,staging=off,lab=enforce"]}),
            json!({"env": [{"name": "VELERO_TRUST_RESTORES", "value": "staging=off,lab=enforce,warn"}]}),
        ] {
            let policy = policy(&container).unwrap();
            let modes = ["velero", "staging", "lab"].map(|name| policy.restores_mode(name));
            let expected = [RestoresMode::Warn, RestoresMode::Off, RestoresMode::Enforce];
            assert_eq!(modes, expected, "{container}");
        }
    }

    #[test]
    fn whether_backups_from_before_are_recorded_is_known() {
        for (container, expected) in [
            (json!({}), true),
            (json!({"args": ["--record-existing=on"]}), true),
            (json!({"args": ["--record-existing", "off"]}), false),
            (
                json!({"env": [{"name": "VELERO_TRUST_RECORD_EXISTING", "value": "off"}]}),
                false,
            ),
        ] {
            let records = policy(&container).map(|policy| policy.records_existing);
            assert_eq!(records, Ok(expected), "{container}");
        }
    }

    #[test]
    fn whether_tarballs_alone_are_restored_is_known() {
        for (container, expected) in [
            (json!({}), false),
            (json!({"args": ["serve", "--accept-partial"]}), true),
            (
                json!({"env": [{"name": "VELERO_TRUST_ACCEPT_PARTIAL", "value": "true"}]}),
                true,
            ),
        ] {
            let accepts = policy(&container).map(|policy| policy.accepts_partial);
            assert_eq!(accepts, Ok(expected), "{container}");
        }
    }

    #[test]
    fn the_policy_is_that_of_the_container() {
        let mode = |container: &Value| policy(container).map(|policy| policy.restores);
        let variable = |value: &str| json!([{"name": "VELERO_TRUST_RESTORES", "value": value}]);
        for (container, expected) in [
            (json!({}), RestoresMode::Enforce),
            (
                json!({"args": ["serve", "--restores=warn"]}),
                RestoresMode::Warn,
            ),
            (
                json!({"args": ["serve", "--restores", "off"]}),
                RestoresMode::Off,
            ),
            (json!({"env": variable("off")}), RestoresMode::Off),
            (
                json!({"args": ["--restores=warn"], "env": variable("off")}),
                RestoresMode::Warn,
            ),
        ] {
            assert_eq!(mode(&container), Ok(expected), "{container}");
        }
        for unknown in [
            json!({"args": ["--restores=${MODE}"]}),
            json!({"env": [{"name": "VELERO_TRUST_RESTORES", "valueFrom": {}}]}),
            json!({"envFrom": [{}]}),
            json!({"args": ["--rule=VT999=warn", "--restores=off"]}),
        ] {
            assert!(mode(&unknown).is_err(), "{unknown}");
        }
        for (contradiction, says) in [
            (
                json!({"args": ["--restores=warn", "--restores=off"]}),
                "more than once",
            ),
            (
                json!({"args": ["--restores=lab=warn,lab=off"]}),
                "namespace `lab`",
            ),
            (json!({"args": ["--restores=loud"]}), "`loud` is none of"),
        ] {
            let error = policy(&contradiction).unwrap_err();
            assert!(
                error.starts_with("Deployment guards/velero-trust: --restores: "),
                "{error}"
            );
            assert!(error.contains(says), "{error}");
        }
        let rules = json!({"args": ["--rule=VT101=warn,VT103=off", "--rule", "VT110=deny"]});
        let mut expected = Policy::default();
        let all = crate::admission::all_rules();
        for rule in ["VT101=warn", "VT103=off", "VT110=deny"] {
            expected.set(rule, all.iter()).unwrap();
        }
        expected.own_namespace = "guards".to_owned();
        assert_eq!(policy(&rules), Ok(expected));
    }
}
