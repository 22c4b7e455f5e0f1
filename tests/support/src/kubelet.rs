//! Does what a kubelet would do for a container. No kubelet runs, so Pods stay Pending; the command
//! of a container runs as a process, with the environment and the files that are prepared here.

use crate::cli::Cli;
use crate::scratch;
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod, PodSpec, Volume, VolumeMount};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Writes the files of a ConfigMap or Secret volume into `folder` as a kubelet does: each file is a
/// symlink through `..data`, which is swapped atomically when the object changes.
pub fn lay_out<'a, B: AsRef<[u8]>>(
    folder: &Path,
    files: impl IntoIterator<Item = (&'a String, B)>,
) -> Result<()> {
    fs::create_dir_all(folder)?;
    let version = tempfile::Builder::new()
        .prefix("..2026_01_01_00_00_00.")
        .tempdir_in(folder)?
        .keep();
    let mut names = Vec::new();
    for (name, bytes) in files {
        fs::write(version.join(name), bytes)?;
        names.push(name);
    }
    let next = folder.join("..data_tmp");
    symlink(version.file_name().unwrap_or_default(), &next)?;
    fs::rename(next, folder.join("..data"))?;
    for name in names {
        let link = folder.join(name);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(name), link)?;
        }
    }
    Ok(())
}

/// What admission added to a container beyond the template of its Pod, in a form that a process on
/// this machine can use.
#[derive(Debug)]
pub struct Injected {
    /// The variables, with each path below a mount translated to one below our folder.
    pub environment: Vec<(String, String)>,
    /// The variables as they are in the Pod.
    pub variables: BTreeMap<String, String>,
    /// The folder for each mount path.
    pub mounts: BTreeMap<String, PathBuf>,
    _folder: TempDir,
}

impl Injected {
    /// Does the same as [`of`](Self::of) for the newest Pod that the controllers created from
    /// `kind` `name` (a Deployment or a DaemonSet) and that is not being deleted.
    pub fn of_newest(
        kubectl: &Cli,
        namespace: &str,
        (kind, name): (&str, &str),
        container: &str,
    ) -> Result<Self> {
        let owner = kubectl.get(&[kind, name, "-n", namespace])?;
        let part = |pointer| owner.pointer(pointer).cloned().unwrap_or_default();
        let template: PodSpec = serde_json::from_value(part("/spec/template/spec"))?;
        let labels: BTreeMap<String, String> =
            serde_json::from_value(part("/spec/selector/matchLabels"))?;
        let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
        let selector = labels.collect::<Vec<_>>().join(",");
        let pods = kubectl.get(&["pods", "-n", namespace, "-l", &selector])?;
        let pods = pods.pointer("/items").cloned().unwrap_or_default();
        let pods: Vec<Pod> = serde_json::from_value(pods)?;
        let newest = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .max_by_key(|pod| pod.metadata.creation_timestamp.clone().map(|time| time.0))
            .with_context(|| format!("no Pod of {kind} {name}"))?;
        Self::of(kubectl, newest, &template, container)
    }

    /// Compares `container` of `pod` with the one in `template`, and writes the ConfigMaps that
    /// only the Pod mounts.
    pub fn of(kubectl: &Cli, pod: &Pod, template: &PodSpec, container: &str) -> Result<Self> {
        let spec = pod.spec.as_ref().context("the Pod has no spec")?;
        let given = named(template, container)?;
        let has = named(spec, container)?;
        let folder = scratch::folder("volumes")?;

        let mut mounts = BTreeMap::new();
        for mount in added(has.volume_mounts.as_ref(), given.volume_mounts.as_ref()) {
            let Some(name) = config_map(spec.volumes.as_ref(), mount) else {
                continue;
            };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let map: ConfigMap =
                serde_json::from_value(kubectl.get(&["configmap", name, "-n", namespace])?)?;
            let files = folder.path().join(&mount.name);
            lay_out(&files, map.data.iter().flatten())?;
            mounts.insert(mount.mount_path.clone(), files);
        }

        let variables: BTreeMap<_, _> = added(has.env.as_ref(), given.env.as_ref())
            .map(|EnvVar { name, value, .. }| (name.clone(), value.clone().unwrap_or_default()))
            .collect();
        let environment = variables
            .iter()
            .map(|(name, value)| (name.clone(), on_this_machine(value, &mounts)))
            .collect();
        Ok(Self {
            environment,
            variables,
            mounts,
            _folder: folder,
        })
    }
}

fn named<'a>(spec: &'a PodSpec, name: &str) -> Result<&'a Container> {
    let mut containers = spec.containers.iter();
    containers
        .find(|container| container.name == name)
        .with_context(|| format!("there is no container {name}"))
}

/// Returns the items of `has` that are not in `given`. They include the mount that the API server's
/// ServiceAccount plugin adds to every Pod; it mounts no ConfigMap of a test, so callers skip it.
fn added<'a, T: PartialEq>(
    has: Option<&'a Vec<T>>,
    given: Option<&'a Vec<T>>,
) -> impl Iterator<Item = &'a T> {
    has.into_iter()
        .flatten()
        .filter(move |item| !given.is_some_and(|given| given.contains(item)))
}

fn config_map<'a>(volumes: Option<&'a Vec<Volume>>, mount: &VolumeMount) -> Option<&'a str> {
    let mut volumes = volumes?.iter();
    let volume = volumes.find(|volume| volume.name == mount.name)?;
    Some(volume.config_map.as_ref()?.name.as_str())
}

/// Returns `value`, a list of paths, with our folders in place of mount paths.
fn on_this_machine(value: &str, mounts: &BTreeMap<String, PathBuf>) -> String {
    let path = |path: &str| {
        let moved = mounts.iter().find_map(|(mount, folder)| {
            let rest = Path::new(path).strip_prefix(mount).ok()?;
            // Joining an empty path would add a slash at the end.
            Some(folder.components().chain(rest.components()).collect())
        });
        moved.unwrap_or_else(|| PathBuf::from(path))
    };
    let paths: Vec<_> = value
        .split(':')
        .map(|part| path(part).to_string_lossy().into_owned())
        .collect();
    paths.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_a_mount_and_no_others_are_moved() {
        let mounts = BTreeMap::from([("/certs".to_owned(), PathBuf::from("/tmp/files"))]);
        let moved = |value| on_this_machine(value, &mounts);
        assert_eq!(moved("/certs/ca.crt"), "/tmp/files/ca.crt");
        assert_eq!(
            moved("/certs:/etc/certs:/certs2"),
            "/tmp/files:/etc/certs:/certs2"
        );
    }

    #[test]
    fn files_are_links_by_way_of_data_and_change_with_it() {
        let folder = scratch::folder("volume").unwrap();
        let link = folder.path().join("ca.crt");
        for text in ["old", "new"] {
            lay_out(folder.path(), [(&"ca.crt".to_owned(), text)]).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("..data/ca.crt"));
            assert_eq!(fs::read_to_string(&link).unwrap(), text);
        }
    }
}
