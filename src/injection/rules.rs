//! The rules of the injection. Every rule warns, none denies: a Pod that velero-trust does not
//! understand is left unchanged, because a backup that fails for lack of a CA is better than one
//! that velero-trust stops.

use crate::decision::{Code, Rule, Severity};

/// Returns all rules of the injection.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    CONFLICTS.into_iter().chain(OTHERS)
}

/// The rules that report a setting of the Pod that conflicts with the injection and is kept.
static CONFLICTS: [&Rule; 7] = [
    &BUNDLE_VARIABLE,
    &CERT_DIR_VARIABLE,
    &VARIABLES_FROM_ELSEWHERE,
    &PATH_TAKEN,
    &VOLUME_TAKEN,
    &MOUNTED_OTHERWISE,
    &TOO_LARGE,
];

static OTHERS: [&Rule; 3] = [&NO_BUNDLE, &UNCLEAR_REQUEST, &HELD];

/// Whether `rule` reports a setting of the Pod that conflicts with the injection and was kept.
pub fn is_conflict(rule: &Rule) -> bool {
    CONFLICTS.contains(&rule)
}

pub(super) static BUNDLE_VARIABLE: Rule = Rule {
    id: "VT201",
    title: "AWS_CA_BUNDLE is set in the pod",
    about: "The value in the Pod is kept, so the AWS SDK trusts only that file. Remove the \
            variable from the template to use the merged bundle.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

pub(super) static CERT_DIR_VARIABLE: Rule = Rule {
    id: "VT202",
    title: "SSL_CERT_DIR is set in the pod, without /certs",
    about: "The value in the Pod is kept, so kopia and restic do not read the merged bundle. Add \
            /certs to the list, or remove the variable from the template.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

pub(super) static VARIABLES_FROM_ELSEWHERE: Rule = Rule {
    id: "VT203",
    title: "variables may come from envFrom",
    about: "A ConfigMap or Secret in envFrom may contain AWS_CA_BUNDLE or SSL_CERT_DIR, and an \
            injected variable would override it, so none is set. Set both in the template's env to \
            use the merged bundle, or give the envFrom source a prefix.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

pub(super) static PATH_TAKEN: Rule = Rule {
    id: "VT204",
    title: "/certs is taken in the container",
    about: "Another volume or device is mounted at /certs or below it, so the container is left \
            unchanged. Mount it elsewhere, or set AWS_CA_BUNDLE and SSL_CERT_DIR yourself.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

pub(super) static VOLUME_TAKEN: Rule = Rule {
    id: "VT205",
    title: "a volume of the pod has our name but is something else",
    about: "The volume velero-trust-ca is not the ConfigMap of that name with its ca-bundle.crt, \
            so the Pod is left unchanged. Rename the volume.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

pub(super) static MOUNTED_OTHERWISE: Rule = Rule {
    id: "VT206",
    title: "the bundle is mounted elsewhere than at /certs, or with a subPath",
    about: "The mount in the Pod is kept and the container is left unchanged. With a subPath, a \
            running container never sees a new CA. Remove the mount from the template, or set \
            AWS_CA_BUNDLE and SSL_CERT_DIR to its path.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

pub(super) static NO_BUNDLE: Rule = Rule {
    id: "VT207",
    title: "the namespace has no CA bundle",
    about: "The ConfigMap velero-trust-ca does not exist, could not be read, or is not managed by \
            velero-trust. A Pod that mounts a missing ConfigMap never starts, so the Pod is left \
            unchanged. Recreate the Pod when the ConfigMap exists. A review makes the ConfigMap only \
            in a namespace that has a BackupStorageLocation, a Deployment or DaemonSet that runs \
            Velero, or the label `velero-trust.io/velero: \"true\"`, and never in velero-trust's own \
            namespace.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

pub(super) static HELD: Rule = Rule {
    id: "VT209",
    title: "the namespace is held, AWS_CA_BUNDLE is not set",
    about: "A location of the namespace is available, and the merged bundle does not verify its \
            endpoint: its CA is in the image or on the node and not named in the \
            BackupStorageLocation. AWS_CA_BUNDLE would replace the CAs that work, so only \
            SSL_CERT_DIR is set, which adds to them. Name the CA in the BackupStorageLocation and \
            recreate the Pod.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

pub(super) static TOO_LARGE: Rule = Rule {
    id: "VT210",
    title: "the pod is larger than any real one",
    about: "A list of the Pod has more entries than velero-trust reads, so the Pod is left unchanged. \
            docs/limits.md lists the bounds, which are far from what Velero's Pods have.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

pub(super) static UNCLEAR_REQUEST: Rule = Rule {
    id: "VT208",
    title: "velero-trust.io/inject has a value without meaning",
    about: "\"false\", as a label or annotation, excludes a Pod from the injection; \"true\", as a \
            label, requests it for a Pod that is not Velero's. Any other value counts as not set.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};
