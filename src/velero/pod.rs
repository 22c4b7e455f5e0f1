//! A view of a Pod: what tells whether it is Velero's, and what the injection looks at.

use serde::Deserialize;

use super::lenient::null_is_default;
use super::metadata::Metadata;
use super::text::{Text, or_empty};

/// The part of a Pod that we read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod<'a> {
    /// `metadata`.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub metadata: Metadata<'a>,
    /// `spec`.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub spec: PodSpec<'a>,
}

/// The part of `spec` that we read. Ephemeral containers are not read: they cannot be there when
/// a Pod is created.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec<'a> {
    /// The containers.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub containers: Vec<Container<'a>>,
    /// The init containers.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub init_containers: Vec<Container<'a>>,
    /// The volumes; `None` where a patch has to make the list.
    #[serde(borrow)]
    pub volumes: Option<Vec<Volume<'a>>>,
    /// The operating system that the Pod is for.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub os: Os<'a>,
    /// The labels that its node must have.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub node_selector: NodeSelector<'a>,
}

/// The part of a container that we read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container<'a> {
    /// Its name; Velero names those of its data movers by a uid.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// What is run instead of the image's entry point.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub command: Vec<Text<'a>>,
    /// The arguments.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub args: Vec<Text<'a>>,
    /// The variables; `None` where a patch has to make the list.
    #[serde(borrow)]
    pub env: Option<Vec<EnvVar<'a>>>,
    /// Where more variables come from.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub env_from: Vec<EnvFrom<'a>>,
    /// The mounts; `None` where a patch has to make the list.
    #[serde(borrow)]
    pub volume_mounts: Option<Vec<VolumeMount<'a>>>,
    /// The raw block devices.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub volume_devices: Vec<VolumeDevice<'a>>,
}

/// A variable.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EnvVar<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// Its value; none when it is empty or comes from elsewhere (`valueFrom`).
    #[serde(borrow)]
    pub value: Option<Text<'a>>,
}

/// All keys of a ConfigMap or a Secret as variables. Which keys that are nobody can know here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EnvFrom<'a> {
    /// What is put before each key.
    #[serde(borrow)]
    pub prefix: Option<Text<'a>>,
}

/// A mount.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount<'a> {
    /// The volume.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// Where it is mounted.
    #[serde(borrow)]
    pub mount_path: Option<Text<'a>>,
    /// The part of the volume that is mounted.
    #[serde(borrow)]
    pub sub_path: Option<Text<'a>>,
    /// The same, with variables in it.
    #[serde(borrow)]
    pub sub_path_expr: Option<Text<'a>>,
}

/// A raw block device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeDevice<'a> {
    /// Where it appears.
    #[serde(borrow)]
    pub device_path: Option<Text<'a>>,
}

/// A volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The ConfigMap in it, if that is what it holds.
    #[serde(borrow)]
    pub config_map: Option<ConfigMapVolume<'a>>,
}

/// A volume that holds a ConfigMap.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConfigMapVolume<'a> {
    /// The ConfigMap.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The keys that become files; all of them when there is none.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub items: Vec<KeyToPath<'a>>,
}

/// A key of a ConfigMap that becomes a file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct KeyToPath<'a> {
    /// The key.
    #[serde(borrow)]
    pub key: Option<Text<'a>>,
    /// The file.
    #[serde(borrow)]
    pub path: Option<Text<'a>>,
}

/// `spec.os`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Os<'a> {
    /// `linux` or `windows`.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
}

/// `spec.nodeSelector`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSelector<'a> {
    /// The operating system of the node.
    #[serde(borrow, rename = "kubernetes.io/os")]
    pub os: Option<Text<'a>>,
}

impl Pod<'_> {
    /// Whether it runs on Windows. `spec.os` decides where it is set (Velero sets it on what it
    /// spawns since 1.16, and on its templates); then the node selector, which the API server
    /// needs no feature for; then the name that Velero gives to its Windows DaemonSet.
    pub fn is_windows(&self) -> bool {
        let os = or_empty(self.spec.os.name.as_ref());
        let node = or_empty(self.spec.node_selector.os.as_ref());
        match (os, node) {
            ("", "") => self.metadata.label("name") == Some("node-agent-windows"),
            ("", node) => node == "windows",
            (os, _) => os == "windows",
        }
    }
}

impl Container<'_> {
    /// Its name, or the empty string.
    pub fn name(&self) -> &str {
        or_empty(self.name.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_windows(pod: &str) -> bool {
        serde_json::from_str::<Pod<'_>>(pod).unwrap().is_windows()
    }

    #[test]
    fn reads_null_as_not_set_everywhere() {
        let pod: Pod<'_> = serde_json::from_str(
            r#"{"metadata": null, "spec": {"containers": [{"name": null, "command": null,
                "args": null, "env": null, "envFrom": null, "volumeMounts": null,
                "volumeDevices": null}], "initContainers": null, "volumes": null, "os": null,
                "nodeSelector": null}}"#,
        )
        .unwrap();
        assert!(pod.spec.volumes.is_none());
        assert!(pod.spec.containers[0].env.is_none());
        assert!(serde_json::from_str::<Pod<'_>>(r#"{"spec": null}"#).is_ok());
    }

    #[test]
    fn finds_windows_by_os_then_by_node_then_by_the_name_of_the_daemon_set() {
        assert!(is_windows(r#"{"spec": {"os": {"name": "windows"}}}"#));
        assert!(is_windows(
            r#"{"spec": {"nodeSelector": {"kubernetes.io/os": "windows"}}}"#
        ));
        assert!(is_windows(
            r#"{"metadata": {"labels": {"name": "node-agent-windows"}}}"#
        ));
        assert!(!is_windows(
            r#"{"metadata": {"labels": {"name": "node-agent-windows"}},
                "spec": {"os": {"name": "linux"}}}"#
        ));
        assert!(!is_windows("{}"));
    }
}
