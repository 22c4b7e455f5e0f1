//! How much of a Pod is read. Kubernetes itself limits only its size: etcd takes requests of 1.5 MiB.
//!
//! Each entry of a list needs memory, and the injection may add to each container, so that a Pod of
//! ever so many entries could cost a hundred times what it sends. The bounds are an order of
//! magnitude above the largest Pods of Velero, which `tests/pods` has: 2 containers, 9 words, 5
//! variables, 8 mounts and 8 volumes, apart from plugins.

use super::list::List;
use super::pod::{Container, Pod};
use crate::decision::FieldPath;

/// Most containers of a Pod, and most init containers. Velero's own have one, and one init container
/// for each plugin. Clusters are tested with two containers in a Pod on average
/// (<https://kubernetes.io/docs/setup/best-practices/cluster-large/>).
pub const MAX_CONTAINERS: usize = 64;

/// Most words of a command, and most arguments. The kernel gives all of them, and the environment,
/// 2 MiB (`execve(2)`).
pub const MAX_WORDS: usize = 1024;

/// Most environment variables of a container.
pub const MAX_VARIABLES: usize = 1024;

/// Most sources of environment variables of a container.
pub const MAX_VARIABLE_SOURCES: usize = 128;

/// Most volume mounts of a container.
pub const MAX_MOUNTS: usize = 512;

/// Most raw block devices of a container. Nodes of the cloud providers attach at most 128.
pub const MAX_DEVICES: usize = 128;

/// Most volumes of a Pod.
pub const MAX_VOLUMES: usize = 512;

impl Pod<'_> {
    /// Returns the path of the first list that has more entries than are read.
    pub fn cut_list(&self) -> Option<FieldPath> {
        let spec = &self.spec;
        let of_pod = [
            ("containers", spec.containers.is_cut()),
            ("initContainers", spec.init_containers.is_cut()),
            ("volumes", is_cut(spec.volumes.as_ref())),
        ];
        if let Some(field) = first(of_pod) {
            return Some(FieldPath::of(&["spec", field]));
        }
        let lists = [
            ("containers", &spec.containers),
            ("initContainers", &spec.init_containers),
        ];
        lists.into_iter().find_map(|(list, containers)| {
            let mut fields = containers.iter().map(cut_list).enumerate();
            fields.find_map(|(index, field)| {
                let path = FieldPath::of(&["spec", list]).index(index);
                Some(path.field(field?))
            })
        })
    }
}

/// Returns the field of `container` with the first list that has more entries than are read.
fn cut_list(container: &Container<'_>) -> Option<&'static str> {
    first([
        ("command", container.command.is_cut()),
        ("args", container.args.is_cut()),
        ("env", is_cut(container.env.as_ref())),
        ("envFrom", container.env_from.is_cut()),
        ("volumeMounts", is_cut(container.volume_mounts.as_ref())),
        ("volumeDevices", container.volume_devices.is_cut()),
    ])
}

fn first<const N: usize>(fields: [(&'static str, bool); N]) -> Option<&'static str> {
    let mut cut = fields.into_iter().filter(|(_, is_cut)| *is_cut);
    cut.next().map(|(field, _)| field)
}

fn is_cut<T, const MAX: usize>(list: Option<&List<T, MAX>>) -> bool {
    list.is_some_and(List::is_cut)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn path(pod: &Value) -> Option<String> {
        let text = pod.to_string();
        let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
        pod.cut_list().map(|path| path.to_string())
    }

    #[test]
    fn a_list_beyond_its_bound_is_found_wherever_it_is() {
        let of_pod = [
            ("containers", MAX_CONTAINERS),
            ("initContainers", MAX_CONTAINERS),
            ("volumes", MAX_VOLUMES),
        ];
        for (field, max) in of_pod {
            let with = |count| path(&json!({"spec": {field: vec![json!({}); count]}}));
            assert_eq!(with(max), None);
            assert_eq!(with(max + 1), Some(format!("spec.{field}")));
        }
        let of_container = [
            ("command", MAX_WORDS, json!("")),
            ("args", MAX_WORDS, json!("")),
            ("env", MAX_VARIABLES, json!({})),
            ("envFrom", MAX_VARIABLE_SOURCES, json!({})),
            ("volumeMounts", MAX_MOUNTS, json!({})),
            ("volumeDevices", MAX_DEVICES, json!({})),
        ];
        for list in ["containers", "initContainers"] {
            for (field, max, entry) in &of_container {
                let with = |count| {
                    let container = json!({*field: vec![entry.clone(); count]});
                    path(&json!({"spec": {list: [{}, container]}}))
                };
                assert_eq!(with(*max), None);
                assert_eq!(with(max + 1), Some(format!("spec.{list}[1].{field}")));
            }
        }
        assert_eq!(path(&json!({})), None);
    }
}
