//! The credentials of Velero's installation: the Secret that its Deployment mounts where a variable such as
//! `AWS_SHARED_CREDENTIALS_FILE` points, as `velero install` and the Helm chart do.

use serde::Deserialize;

use crate::bucket::settings::SecretKey;
use crate::kubernetes::workloads::WorkloadTemplate;

#[derive(Deserialize)]
struct Deployment {
    spec: DeploymentSpec,
}

#[derive(Deserialize)]
struct DeploymentSpec {
    template: Template,
}

#[derive(Deserialize)]
struct Template {
    spec: PodSpec,
}

#[derive(Deserialize)]
struct PodSpec {
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    env: Vec<Variable>,
    #[serde(default)]
    volume_mounts: Vec<Mount>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    #[serde(default)]
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    name: String,
    #[serde(rename = "mountPath")]
    path: String,
    #[serde(default)]
    sub_path: Option<String>,
}

#[derive(Deserialize)]
struct Volume {
    name: String,
    #[serde(default)]
    secret: Option<SecretVolume>,
    #[serde(default)]
    projected: Option<Projected>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretVolume {
    #[serde(default)]
    secret_name: Option<String>,
    #[serde(default)]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Projected {
    #[serde(default)]
    sources: Vec<Source>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(default)]
    secret: Option<ProjectedSecret>,
}

#[derive(Deserialize)]
struct ProjectedSecret {
    name: String,
    #[serde(default)]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    key: String,
    path: String,
}

/// Returns the key of a Secret that a Deployment of Velero mounts as its file of credentials, which
/// `variable` names. `None` if the Deployment is not Velero's, or has no such file.
pub fn mounted_credentials(deployment: &str, variable: &str) -> Option<SecretKey> {
    WorkloadTemplate::from_json(deployment)?;
    let deployment: Deployment = serde_json::from_str(deployment).ok()?;
    let PodSpec {
        containers,
        volumes,
    } = deployment.spec.template.spec;
    containers.iter().find_map(|container| {
        let mut variables = container.env.iter();
        let file = variables
            .find(|one| one.name == variable)?
            .value
            .as_deref()?;
        // The mount with the longest path is the one that the file is in.
        let mounts = container.volume_mounts.iter().filter_map(|mount| {
            let path = path_in_volume(mount, file)?;
            Some((mount.path.len(), mount, path))
        });
        let (_, mount, path) = mounts.max_by_key(|(length, ..)| *length)?;
        let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
        volume.secret_key(&path)
    })
}

/// Returns where `file` is in the volume of `mount`.
fn path_in_volume(mount: &Mount, file: &str) -> Option<String> {
    let rest = file.strip_prefix(mount.path.trim_end_matches('/'))?;
    let sub_path = mount.sub_path.as_deref().filter(|path| !path.is_empty());
    let path = match (rest, sub_path) {
        ("", path) => path?.to_owned(),
        (rest, None) => rest.strip_prefix('/')?.to_owned(),
        (rest, Some(path)) => format!("{path}/{}", rest.strip_prefix('/')?),
    };
    Some(path)
}

impl Volume {
    /// Returns the key of the Secret that is the file at `path` of the volume.
    fn secret_key(&self, path: &str) -> Option<SecretKey> {
        let of = |name: &str, items: Option<&Vec<Item>>| {
            let key = match items {
                Some(items) => &items.iter().find(|item| item.path == path)?.key,
                None => path,
            };
            let (name, key) = (name.to_owned(), key.to_owned());
            (!key.contains('/')).then_some(SecretKey { name, key })
        };
        if let Some(secret) = &self.secret {
            return of(secret.secret_name.as_deref()?, secret.items.as_ref());
        }
        let sources = &self.projected.as_ref()?.sources;
        let mut secrets = sources.iter().filter_map(|source| source.secret.as_ref());
        secrets.find_map(|secret| of(&secret.name, secret.items.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";

    fn deployment(change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut object = json!({
            "kind": "Deployment",
            "metadata": {"name": "velero", "namespace": "velero", "uid": "u"},
            "spec": {"template": {
                "metadata": {"labels": {"component": "velero", "deploy": "velero"}},
                "spec": {
                    "containers": [{
                        "name": "velero", "image": "velero/velero:v1.18.3",
                        "command": ["/velero"], "args": ["server"],
                        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                            {"name": FILE, "value": "/credentials/cloud"}],
                        "volumeMounts": [{"name": "scratch", "mountPath": "/"},
                            {"name": "creds", "mountPath": "/credentials"}],
                    }],
                    "volumes": [{"name": "scratch", "emptyDir": {}},
                        {"name": "creds", "secret": {"secretName": "cloud-credentials"}}],
                },
            }},
        });
        change(&mut object["spec"]["template"]["spec"]);
        let SecretKey { name, key } = mounted_credentials(&object.to_string(), FILE)?;
        Some(format!("{name}/{key}"))
    }

    #[test]
    fn the_secret_behind_the_file_is_found() {
        let usual = deployment(|_| ());
        assert_eq!(usual.as_deref(), Some("cloud-credentials/cloud"));
        let items = deployment(|pod| {
            pod["volumes"][1]["secret"]["items"] = json!([{"key": "aws", "path": "cloud"}]);
        });
        assert_eq!(items.as_deref(), Some("cloud-credentials/aws"));
        let single = deployment(|pod| {
            let mount = &mut pod["containers"][0]["volumeMounts"][1];
            *mount = json!({"name": "creds", "mountPath": "/credentials/cloud", "subPath": "key"});
        });
        assert_eq!(single.as_deref(), Some("cloud-credentials/key"));
        let projected = deployment(|pod| {
            let sources =
                json!([{"serviceAccountToken": {"path": "t"}}, {"secret": {"name": "s"}}]);
            pod["volumes"][1] = json!({"name": "creds", "projected": {"sources": sources}});
        });
        assert_eq!(projected.as_deref(), Some("s/cloud"));
    }

    #[test]
    fn a_deployment_without_such_a_file_has_none() {
        let without = |change: fn(&mut Value)| assert_eq!(deployment(change), None);
        without(|pod| pod["containers"][0]["env"] = json!([]));
        without(|pod| pod["containers"][0]["env"][1]["value"] = json!("/elsewhere/cloud"));
        without(|pod| pod["volumes"][1] = json!({"name": "creds", "emptyDir": {}}));
        without(|pod| pod["volumes"][1]["secret"]["items"] = json!([{"key": "a", "path": "b"}]));
        without(|pod| pod["containers"][0]["env"][1]["value"] = json!("/credentials/a/b"));
        assert_eq!(mounted_credentials("{}", FILE), None);
        // Not Velero's.
        without(|pod| pod["containers"][0]["command"] = json!(["/other"]));
    }
}
