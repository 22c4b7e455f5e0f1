//! Detection of Velero's Pods: which Pods run Velero, as what, and in which containers.
//!
//! The command decides. Every way to install Velero, and Velero itself for the Pods that it
//! creates, runs `/velero` and a verb (`pkg/install`, `pkg/exposer`, `pkg/repository/maintenance`).
//! Labels alone prove nothing: a MinIO, a UI or a clean-up Job next to Velero often carries some of
//! Velero's labels. Labels count only for a container that leaves its command to the image.

use std::fmt;
use std::iter::Peekable;

use super::pod::{Container, Pod};

/// The role of one of Velero's Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PodKind {
    /// The server, of the Deployment `velero`.
    Server,
    /// The DaemonSet `node-agent`, since 1.10.
    NodeAgent,
    /// The DaemonSet `node-agent-windows`, since 1.16.
    NodeAgentWindows,
    /// The DaemonSet `restic`, until 1.9.
    Restic,
    /// The data mover that uploads a CSI snapshot, since 1.15.
    DataMoverBackup,
    /// The data mover that fills a volume, since 1.15.
    DataMoverRestore,
    /// The backup of a volume's files, since 1.17.
    PodVolumeBackup,
    /// The restore of a volume's files, since 1.17.
    PodVolumeRestore,
    /// The Job that maintains a repository, since 1.14.
    Maintenance,
}

impl PodKind {
    /// Returns the name used in metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::NodeAgent => "node-agent",
            Self::NodeAgentWindows => "node-agent-windows",
            Self::Restic => "restic",
            Self::DataMoverBackup => "data-mover-backup",
            Self::DataMoverRestore => "data-mover-restore",
            Self::PodVolumeBackup => "pod-volume-backup",
            Self::PodVolumeRestore => "pod-volume-restore",
            Self::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for PodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the kind of `pod`, or `None` if it is not Velero's.
pub fn kind(pod: &Pod<'_>) -> Option<PodKind> {
    let regular = pod.spec.containers.iter();
    regular
        .filter_map(|container| of_container(pod, container))
        .chain(
            pod.spec
                .init_containers
                .iter()
                .filter_map(|container| of_init_container(pod, container)),
        )
        .next()
}

/// Returns what a regular container of `pod` runs, or `None` if that is not Velero.
pub fn of_container(pod: &Pod<'_>, container: &Container<'_>) -> Option<PodKind> {
    let verb = if container.command.is_empty() {
        by_command(container).or_else(|| by_label(pod, container))
    } else {
        by_command(container)
    };
    verb.map(|kind| on_windows(kind, pod))
}

/// Returns what an init container of `pod` runs, or `None` if that is not Velero. Plugins, which
/// only copy a binary, and `restore-wait`, which Velero adds to restored Pods, are not Velero.
pub fn of_init_container(pod: &Pod<'_>, container: &Container<'_>) -> Option<PodKind> {
    by_command(container).map(|kind| on_windows(kind, pod))
}

fn on_windows(kind: PodKind, pod: &Pod<'_>) -> PodKind {
    if kind == PodKind::NodeAgent && pod.is_windows() {
        PodKind::NodeAgentWindows
    } else {
        kind
    }
}

/// Detects the kind by the program and the verb among the words of the command and the arguments.
/// The program need not come first: a shell, an init such as tini, or a tool that fetches secrets
/// may start it.
///
/// The `matchConditions` of the Pod webhook express the same rule as a regular expression. Tests
/// run both over the same fixtures.
fn by_command(container: &Container<'_>) -> Option<PodKind> {
    let mut words = words(container).enumerate().peekable();
    while let Some((position, word)) = words.next() {
        if is_program(word, position == 0)
            && let Some(kind) = by_verb(words.clone().map(|(_, word)| word))
        {
            return Some(kind);
        }
    }
    None
}

fn words<'b>(container: &'b Container<'_>) -> impl Iterator<Item = &'b str> + Clone {
    container
        .command
        .iter()
        .chain(container.args.iter())
        .flat_map(|text| text.split_ascii_whitespace())
}

/// Whether `word` is Velero's binary. A word that is not the first must be the absolute path in
/// Velero's own image: `velero` is also a common name of a namespace and appears in many arguments.
fn is_program(word: &str, first: bool) -> bool {
    let name = word.strip_suffix(".exe").unwrap_or(word);
    name == "/velero" || first && (name == "velero" || name.ends_with("/velero"))
}

/// Returns the kind for a verb of Velero, skipping flags before it. All other verbs belong to the
/// client, such as `install` in the chart's Job for the CRDs.
fn by_verb<'b>(words: impl Iterator<Item = &'b str>) -> Option<PodKind> {
    let mut verbs = words.filter(|word| !word.starts_with('-'));
    match verbs.next()? {
        "server" => Some(PodKind::Server),
        "repo-maintenance" => Some(PodKind::Maintenance),
        "node-agent" if verbs.next()? == "server" => Some(PodKind::NodeAgent),
        "restic" if verbs.next()? == "server" => Some(PodKind::Restic),
        "data-mover" => match verbs.next()? {
            "backup" => Some(PodKind::DataMoverBackup),
            "restore" => Some(PodKind::DataMoverRestore),
            _ => None,
        },
        "pod-volume" => match verbs.next()? {
            "backup" => Some(PodKind::PodVolumeBackup),
            "restore" => Some(PodKind::PodVolumeRestore),
            _ => None,
        },
        _ => None,
    }
}

/// Labels that Velero sets on the Pods that it creates.
const SPAWNED_POD_LABELS: [&str; 5] = [
    "velero.io/data-upload",
    "velero.io/data-download",
    "velero.io/pod-volume-backup",
    "velero.io/pod-volume-restore",
    "velero.io/repo-name",
];

/// All labels that this file looks at.
pub(super) const LABELS: [&str; 10] = [
    "app.kubernetes.io/name",
    "component",
    "deploy",
    "name",
    "role",
    SPAWNED_POD_LABELS[0],
    SPAWNED_POD_LABELS[1],
    SPAWNED_POD_LABELS[2],
    SPAWNED_POD_LABELS[3],
    SPAWNED_POD_LABELS[4],
];

/// Detects the kind of a container without a command by the labels of the Pod and the name of the
/// container. Arguments, if there are any, must agree: MinIO has a `server` verb, too.
fn by_label(pod: &Pod<'_>, container: &Container<'_>) -> Option<PodKind> {
    let label = |key, value| pod.metadata.label(key) == Some(value);
    // The labels of `velero install` and OADP, and of the Helm chart.
    let family = || {
        label("component", "velero")
            || label("role", "node-agent")
            || label("app.kubernetes.io/name", "velero")
    };
    let kind = match container.name() {
        "velero" if label("component", "velero") && label("deploy", "velero") => PodKind::Server,
        "velero" if label("name", "velero") => PodKind::Server,
        name @ ("node-agent" | "node-agent-windows") if label("name", name) && family() => {
            PodKind::NodeAgent
        }
        "restic" if label("name", "restic") && family() => PodKind::Restic,
        _ => {
            let spawned = SPAWNED_POD_LABELS
                .iter()
                .any(|key| pod.metadata.label(key).is_some());
            // Without such a verb the container would do nothing.
            return by_verb(words(container))
                .filter(|kind| spawned && !matches!(kind, PodKind::Server));
        }
    };
    let mut verbs: Peekable<_> = words(container)
        .filter(|word| !word.starts_with('-'))
        .peekable();
    if verbs.peek().is_none() {
        return Some(kind);
    }
    by_verb(verbs).filter(|by_verb| *by_verb == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(labels: &str, container: &str) -> Option<PodKind> {
        let pod = format!(
            r#"{{"metadata": {{"labels": {labels}}}, "spec": {{"containers": [{container}]}}}}"#
        );
        kind(&serde_json::from_str(&pod).unwrap())
    }

    fn running(command: &str) -> Option<PodKind> {
        kind_of("{}", &format!(r#"{{"name": "c", "command": {command}}}"#))
    }

    #[test]
    fn knows_every_verb_that_opens_a_store() {
        for (verb, kind) in [
            ("server", PodKind::Server),
            ("node-agent server", PodKind::NodeAgent),
            ("restic server", PodKind::Restic),
            ("data-mover backup", PodKind::DataMoverBackup),
            ("data-mover restore", PodKind::DataMoverRestore),
            ("pod-volume backup", PodKind::PodVolumeBackup),
            ("pod-volume restore", PodKind::PodVolumeRestore),
            ("repo-maintenance", PodKind::Maintenance),
        ] {
            let words: Vec<_> = ["/velero"].into_iter().chain(verb.split(' ')).collect();
            let command = serde_json::to_string(&words).unwrap();
            assert_eq!(running(&command), Some(kind), "{verb}");
        }
    }

    #[test]
    fn finds_velero_behind_a_wrapper_a_path_and_flags() {
        for command in [
            r#"["/usr/local/bin/velero", "server"]"#,
            r#"["velero", "server"]"#,
            r#"["/velero.exe", "server"]"#,
            r#"["/vault/vault-env", "/velero", "server"]"#,
            r#"["/bin/sh", "-c", "source /vault/secrets/aws && exec /velero server --features="]"#,
            r#"["/velero", "--log-level=debug", "server"]"#,
        ] {
            assert_eq!(running(command), Some(PodKind::Server), "{command}");
        }
    }

    #[test]
    fn leaves_alone_what_only_mentions_velero() {
        for command in [
            "[]",
            r#"["/velero"]"#,
            r#"["/velero", "install", "--crds-only", "--apply"]"#,
            r#"["/velero", "backup", "create", "nightly"]"#,
            r#"["/velero", "restic", "repo", "get"]"#,
            r#"["/velero-helper", "pause"]"#,
            r#"["/velero-restore-helper", "uid"]"#,
            r#"["/velero-ui", "server"]"#,
            r#"["/app", "--namespace", "velero", "server"]"#,
            r#"["kubectl", "rollout", "restart", "deploy/velero", "server"]"#,
            r#"["minio", "server", "/velero"]"#,
        ] {
            assert_eq!(running(command), None, "{command}");
        }
    }

    #[test]
    fn goes_by_label_only_where_the_command_is_left_to_the_image() {
        let install = r#"{"component": "velero", "deploy": "velero"}"#;
        let server = Some(PodKind::Server);
        assert_eq!(kind_of(install, r#"{"name": "velero"}"#), server);
        assert_eq!(
            kind_of(install, r#"{"name": "velero", "args": ["--x", "server"]}"#),
            server
        );
        for container in [
            r#"{"name": "velero", "command": ["/bin/sh"]}"#,
            r#"{"name": "velero", "args": ["install"]}"#,
            r#"{"name": "velero", "args": ["node-agent", "server"]}"#,
            r#"{"name": "minio", "args": ["server", "/storage"]}"#,
        ] {
            assert_eq!(kind_of(install, container), None, "{container}");
        }
    }

    #[test]
    fn a_spawned_pod_without_a_command_is_known_by_label_and_verb_together() {
        let labels = r#"{"velero.io/data-upload": "b1-x"}"#;
        let container = r#"{"name": "0c1", "args": ["data-mover", "backup"]}"#;
        assert_eq!(kind_of(labels, container), Some(PodKind::DataMoverBackup));
        assert_eq!(kind_of("{}", container), None);
        assert_eq!(
            kind_of(labels, r#"{"name": "app", "args": ["server"]}"#),
            None
        );
    }

    #[test]
    fn plugins_and_restore_helpers_among_init_containers_are_not_velero() {
        let pod = r#"{"metadata": {"labels": {"component": "velero", "deploy": "velero"}},
            "spec": {"initContainers": [{"name": "velero"}, {"name": "restore-wait",
            "command": ["/velero-restore-helper"]}]}}"#;
        assert_eq!(kind(&serde_json::from_str(pod).unwrap()), None);
    }
}
