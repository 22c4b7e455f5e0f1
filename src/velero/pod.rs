//! A view of a Pod: the fields that tell whether it is Velero's and that the injection needs.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::lenient::null_is_default;
use super::list::List;
use super::metadata::Metadata;
use super::pod_limits::{
    MAX_CONTAINERS, MAX_DEVICES, MAX_MOUNTS, MAX_VARIABLE_SOURCES, MAX_VARIABLES, MAX_VOLUMES,
    MAX_WORDS,
};
use super::text::{Text, or_empty};
use crate::names::BUNDLE_KEY;

/// The fields of a Pod that velero-trust reads. Each list is read up to a bound that is far from
/// what real Pods have ([`super::pod_limits`]).
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

/// The fields of `spec` that velero-trust reads. Ephemeral containers are not read: a Pod cannot
/// have any when it is created.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec<'a> {
    /// The containers.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub containers: List<Container<'a>, MAX_CONTAINERS>,
    /// The init containers.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub init_containers: List<Container<'a>, MAX_CONTAINERS>,
    /// The volumes; `None` if a patch has to create the list.
    #[serde(borrow)]
    pub volumes: Option<List<Volume<'a>, MAX_VOLUMES>>,
    /// The operating system of the Pod.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub os: Os<'a>,
    /// The labels that the Pod's node must have.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub node_selector: NodeSelector<'a>,
}

/// The fields of a container that velero-trust reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container<'a> {
    /// The container's name. Velero names the containers of its data movers by a uid.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The command that replaces the image's entry point.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub command: List<Text<'a>, MAX_WORDS>,
    /// The arguments.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub args: List<Text<'a>, MAX_WORDS>,
    /// The environment variables; `None` if a patch has to create the list.
    #[serde(borrow)]
    pub env: Option<List<EnvVar<'a>, MAX_VARIABLES>>,
    /// The sources of further environment variables.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub env_from: List<EnvFrom<'a>, MAX_VARIABLE_SOURCES>,
    /// The volume mounts; `None` if a patch has to create the list.
    #[serde(borrow)]
    pub volume_mounts: Option<List<VolumeMount<'a>, MAX_MOUNTS>>,
    /// The raw block devices.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub volume_devices: List<VolumeDevice<'a>, MAX_DEVICES>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EnvVar<'a> {
    /// The variable's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The variable's value; `None` if it is empty or comes from elsewhere (`valueFrom`).
    #[serde(borrow)]
    pub value: Option<Text<'a>>,
}

/// All keys of a ConfigMap or a Secret as environment variables. The Pod does not tell which keys
/// these are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EnvFrom<'a> {
    /// The prefix of each variable's name.
    #[serde(borrow)]
    pub prefix: Option<Text<'a>>,
}

/// A volume mount.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount<'a> {
    /// The volume's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The path in the container.
    #[serde(borrow)]
    pub mount_path: Option<Text<'a>>,
    /// The path in the volume.
    #[serde(borrow)]
    pub sub_path: Option<Text<'a>>,
    /// The path in the volume, with references to environment variables.
    #[serde(borrow)]
    pub sub_path_expr: Option<Text<'a>>,
}

/// A raw block device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeDevice<'a> {
    /// The path of the device in the container.
    #[serde(borrow)]
    pub device_path: Option<Text<'a>>,
}

/// A volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume<'a> {
    /// The volume's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The source, if it is a ConfigMap.
    #[serde(borrow)]
    pub config_map: Option<ConfigMapVolume<'a>>,
}

/// A ConfigMap as the source of a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConfigMapVolume<'a> {
    /// The ConfigMap's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The keys that become files.
    #[serde(deserialize_with = "null_is_default")]
    pub items: Items,
}

/// The keys of a ConfigMap that become files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items {
    /// Whether [`BUNDLE_KEY`] becomes a file of its name. So it does where no keys are chosen.
    pub have_bundle: bool,
}

impl Default for Items {
    fn default() -> Self {
        Self { have_bundle: true }
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct KeyToPath<'a> {
            #[serde(borrow)]
            key: Option<Text<'a>>,
            #[serde(borrow)]
            path: Option<Text<'a>>,
        }

        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
                let mut is_empty = true;
                let mut have_bundle = false;
                while let Some(KeyToPath { key, path }) = list.next_element()? {
                    is_empty = false;
                    have_bundle |= [key, path]
                        .iter()
                        .all(|text| or_empty(text.as_ref()) == BUNDLE_KEY);
                }
                Ok(Items {
                    have_bundle: have_bundle || is_empty,
                })
            }
        }

        deserializer.deserialize_seq(Keys)
    }
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
    /// Whether the Pod runs on Windows. `spec.os` decides if it is set: since 1.16 Velero sets it
    /// on the Pods that it creates and on its templates. Otherwise the node selector decides, which
    /// needs no feature of the API server. Otherwise the name of Velero's Windows DaemonSet
    /// decides.
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
    /// Returns the container's name, or the empty string.
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
