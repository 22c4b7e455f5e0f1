//! The additions to each container, and the settings of the user that are kept.

use super::place::Place;
use super::rules;
use crate::decision::{FieldPath, Finding, Rule};
use crate::names::{
    AWS_CA_BUNDLE, AWS_CA_BUNDLE_VALUE, BUNDLE, MOUNT_PATH, SSL_CERT_DIR, SSL_CERT_DIR_VALUE,
};
use crate::velero::pod::{Container, EnvVar, Volume};
use crate::velero::text::{or_empty, shown};

/// One of the lists of containers in `spec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerList {
    /// `spec.containers`
    Regular,
    /// `spec.initContainers`
    Init,
}

impl ContainerList {
    /// Returns the name of the field in `spec`.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Regular => "containers",
            Self::Init => "initContainers",
        }
    }
}

/// The position of a container in the Pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContainerPosition {
    pub(super) list: ContainerList,
    pub(super) index: usize,
}

impl ContainerPosition {
    fn path(self) -> FieldPath {
        FieldPath::of(&["spec", self.list.field()]).index(self.index)
    }
}

/// An environment variable to set: its name and value.
pub(super) type Variable = (&'static str, &'static str);

/// The additions to one container.
#[derive(Clone, Debug)]
pub(super) struct Additions {
    pub(super) position: ContainerPosition,
    /// Whether to mount the bundle.
    pub(super) mount: bool,
    /// The variables to set.
    pub(super) variables: Vec<Variable>,
    /// Whether the container has a list of mounts and a list of variables to append to.
    pub(super) has_mounts: bool,
    pub(super) has_variables: bool,
}

impl Additions {
    /// Whether there is nothing to add.
    pub(super) fn is_empty(&self) -> bool {
        !self.mount && self.variables.is_empty()
    }
}

/// Removes `AWS_CA_BUNDLE` from the additions, as a held namespace requires. Returns the remaining
/// additions, and whether the variable was removed from any of them.
pub(super) fn without_bundle_variable(mut containers: Vec<Additions>) -> (Vec<Additions>, bool) {
    let mut withheld = false;
    for additions in &mut containers {
        let before = additions.variables.len();
        additions
            .variables
            .retain(|(name, _)| *name != AWS_CA_BUNDLE);
        withheld |= additions.variables.len() < before;
    }
    containers.retain(|additions| !additions.is_empty());
    (containers, withheld)
}

/// Whether a volume with our name is equivalent to the one that the injection adds.
pub(super) fn is_ours(volume: &Volume<'_>) -> bool {
    let source = volume.config_map.as_ref();
    source
        .is_some_and(|source| or_empty(source.name.as_ref()) == BUNDLE && source.items.have_bundle)
}

/// Plans the additions to one container. Returns `None` if it needs none. Adds a finding to
/// `findings` for each setting of the user that is kept.
pub(super) fn additions(
    container: &Container<'_>,
    position: ContainerPosition,
    windows: bool,
    findings: &mut Vec<Finding>,
) -> Option<Additions> {
    let scan = ContainerScan {
        container,
        position,
        windows,
    };
    let mount = match scan.mount() {
        Ok(mounted) => !mounted,
        Err(finding) => {
            // A variable that points into somebody else's /certs would break a working container.
            findings.push(finding);
            return None;
        }
    };
    let variables = scan.variables(findings);
    let additions = Additions {
        position,
        mount,
        variables,
        has_mounts: container.volume_mounts.is_some(),
        has_variables: container.env.is_some(),
    };
    (!additions.is_empty()).then_some(additions)
}

struct ContainerScan<'b> {
    container: &'b Container<'b>,
    position: ContainerPosition,
    windows: bool,
}

impl ContainerScan<'_> {
    /// Whether the bundle is mounted at [`MOUNT_PATH`]; a finding if something is in the way.
    fn mount(&self) -> Result<bool, Finding> {
        let devices = self.container.volume_devices.iter().enumerate();
        for (index, device) in devices {
            let path = or_empty(device.device_path.as_ref());
            if Place::of(path, self.windows) != Place::Elsewhere {
                return Err(self.path_taken("volumeDevices", index, path));
            }
        }
        let mut mounted = false;
        let mounts = self.container.volume_mounts.as_deref().unwrap_or_default();
        for (index, mount) in mounts.iter().enumerate() {
            let path = or_empty(mount.mount_path.as_ref());
            let ours = or_empty(mount.name.as_ref()) == BUNDLE;
            let part = mount.sub_path.as_ref().or(mount.sub_path_expr.as_ref());
            let whole = or_empty(part).is_empty();
            match Place::of(path, self.windows) {
                Place::Here if ours && whole => mounted = true,
                _ if ours => {
                    return Err(self.finding(
                        &rules::MOUNTED_OTHERWISE,
                        self.position.path().field("volumeMounts").index(index),
                        "the CA bundle is mounted another way; kept".to_owned(),
                        "remove this mount to use /certs",
                    ));
                }
                Place::Elsewhere => {}
                Place::Here | Place::Below => {
                    return Err(self.path_taken("volumeMounts", index, path));
                }
            }
        }
        Ok(mounted)
    }

    fn path_taken(&self, field: &'static str, index: usize, path: &str) -> Finding {
        self.finding(
            &rules::PATH_TAKEN,
            self.position.path().field(field).index(index),
            format!("{} is used; the CA bundle is not added", shown(path)),
            format!("keep {MOUNT_PATH} free"),
        )
    }

    /// Returns the variables to set. The content of `envFrom` is not known here, and a variable in
    /// `env` would override it.
    fn variables(&self, findings: &mut Vec<Finding>) -> Vec<Variable> {
        let mut missing = Vec::new();
        let mut from_elsewhere = false;
        for variable in self.wanted() {
            let (name, value) = *variable;
            let set = self.current(name);
            match set {
                Some((_, set)) if is_equivalent(name, value, set) => {}
                Some((index, _)) => findings.push(self.variable_kept(name, index)),
                None if self.may_come_from_elsewhere(name) => from_elsewhere = true,
                None => missing.push(*variable),
            }
        }
        if from_elsewhere {
            findings.push(self.finding(
                &rules::VARIABLES_FROM_ELSEWHERE,
                self.position.path().field("envFrom"),
                "may set the CA variables; ours are not added".to_owned(),
                "set them in env",
            ));
            missing.clear();
        }
        missing
    }

    fn wanted(&self) -> &'static [Variable] {
        static BOTH: [Variable; 2] = [
            (AWS_CA_BUNDLE, AWS_CA_BUNDLE_VALUE),
            (SSL_CERT_DIR, SSL_CERT_DIR_VALUE),
        ];
        if self.windows {
            // On Windows, Go either ignores SSL_CERT_* or replaces the system's roots by them.
            BOTH.split_at(1).0
        } else {
            &BOTH
        }
    }

    /// Returns the variable `name` and its index. The last of several with the same name counts.
    fn current(&self, name: &str) -> Option<(usize, &EnvVar<'_>)> {
        let env = self.container.env.as_deref().unwrap_or_default();
        let mut all = env.iter().enumerate().rev();
        all.find(|(_, variable)| or_empty(variable.name.as_ref()) == name)
    }

    fn may_come_from_elsewhere(&self, name: &str) -> bool {
        let mut sources = self.container.env_from.iter();
        sources.any(|source| name.starts_with(or_empty(source.prefix.as_ref())))
    }

    fn variable_kept(&self, name: &str, index: usize) -> Finding {
        let rule = if name == AWS_CA_BUNDLE {
            &rules::BUNDLE_VARIABLE
        } else {
            &rules::CERT_DIR_VARIABLE
        };
        self.finding(
            rule,
            self.position.path().field("env").index(index),
            format!("{name} is set here; kept"),
            "remove it to use the CA bundle",
        )
    }

    fn finding(
        &self,
        rule: &'static Rule,
        path: FieldPath,
        message: String,
        fix: impl Into<String>,
    ) -> Finding {
        let subject = format!("container {}", shown(self.container.name()));
        Finding::new(rule, path, subject, message, fix)
    }
}

/// Whether an existing variable has the same effect as `value`.
fn is_equivalent(name: &str, value: &str, set: &EnvVar<'_>) -> bool {
    let set = or_empty(set.value.as_ref());
    set == value
        || name == SSL_CERT_DIR
            && set
                .split(':')
                .any(|directory| Place::of(directory, false) == Place::Here)
}
