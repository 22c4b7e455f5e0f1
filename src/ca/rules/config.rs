//! The plugin's settings: those that undo a CA, and those that the plugin refuses.

use super::baseline::Baseline;
use super::tally::Tally;
use crate::decision::{Code, FieldPath, Finding, Hint, Report, Rule, Severity};
use crate::velero::bsl::Bsl;
use crate::velero::text::shown;

pub(super) static RULES: [&Rule; 5] = [
    &SKIPS_VERIFICATION,
    &WRONG_SKIP,
    &UNKNOWN_KEY,
    &SECRET_REF,
    &CONFIG_CA,
];

static SKIPS_VERIFICATION: Rule = Rule {
    id: "VT030",
    title: "insecureSkipTLSVerify is on",
    about: "Whoever is between Velero and the store reads and replaces backups, and no CA \
            matters. The aws plugin, kopia and restic take `1`, `t`, `T`, `TRUE`, `true` and \
            `True` for on. Name the CA and remove this key.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::VerifyAndNameSecret,
    ..Rule::DEFAULT
};

static WRONG_SKIP: Rule = Rule {
    id: "VT031",
    title: "wrong insecureSkipTLSVerify",
    about: "Only the aws provider knows the key, and in exactly these letters. Its value is one \
            that Go's strconv.ParseBool takes, such as `true`: the aws plugin refuses any other, \
            and Velero marks the BSL Unavailable.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static UNKNOWN_KEY: Rule = Rule {
    id: "VT036",
    title: "config key that the plugin refuses",
    about: "The aws, azure and gcp plugins refuse a BSL with a key they do not know, and Velero \
            marks it Unavailable.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static SECRET_REF: Rule = Rule {
    id: "VT037",
    title: "config.secretRef",
    about: "Velero's first design had it, and no plugin knows it: the plugins refuse the BSL. \
            Use caCertRef or the annotation `velero-trust.io/ca-secret`.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::NameSecret,
    ..Rule::DEFAULT
};

static CONFIG_CA: Rule = Rule {
    id: "VT039",
    title: "config.caCert",
    about: "It reaches the object store plugin alone; kopia and restic ignore it. Use caCertRef.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::MoveToSecret,
    ..Rule::DEFAULT
};

const SKIP: &str = "insecureSkipTLSVerify";

/// What Go's `strconv.ParseBool` takes for true. The aws plugin (`object_store.go`), restic
/// (`pkg/restic/common.go`) and kopia (`optionalHaveBool`) all read the value with it.
const TRUE: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];

/// What it takes for false.
const FALSE: [&str; 6] = ["0", "f", "F", "FALSE", "false", "False"];

/// Keys that Velero itself adds for every provider.
const COMMON: [&str; 3] = ["bucket", "caCert", "prefix"];

const AWS: [&str; 15] = [
    "checksumAlgorithm",
    "credentialsFile",
    "customerKeyEncryptionFile",
    "customerKeyEncryptionSecret",
    "enableSharedConfig",
    "insecureSkipTLSVerify",
    "kmsKeyId",
    "profile",
    "publicUrl",
    "region",
    "s3ForcePathStyle",
    "s3Url",
    "serverSideEncryption",
    "signatureVersion",
    "tagging",
];

const AZURE: [&str; 9] = [
    "activeDirectoryAuthorityURI",
    "blockSizeInBytes",
    "credentialsFile",
    "resourceGroup",
    "storageAccount",
    "storageAccountKeyEnvVar",
    "storageAccountURI",
    "subscriptionId",
    "useAAD",
];

const GCP: [&str; 5] = [
    "credentialsFile",
    "kmsKeyName",
    "serviceAccount",
    "storeEndpoint",
    "universeDomain",
];

/// What is to be said of `spec.config`.
pub(super) fn check(bsl: &Bsl<'_>, baseline: &mut Baseline<'_>, report: &mut Report) {
    skip(bsl, report);
    keys(
        bsl,
        &mut Tally::new(report, baseline, FieldPath::of(&["spec", "config"])),
    );
    if bsl.config("secretRef").is_some() {
        report.find(Finding::new(
            &SECRET_REF,
            config("secretRef"),
            "",
            "no Velero plugin knows this key, and they refuse unknown ones",
            "use spec.objectStorage.caCertRef",
        ));
    }
    if bsl.config("caCert").is_some_and(|pem| !pem.is_empty()) {
        report.find(Finding::new(
            &CONFIG_CA,
            config("caCert"),
            "",
            "kopia and restic ignore this key",
            "use spec.objectStorage.caCertRef",
        ));
    }
}

/// Whether `bsl` says that nobody verifies the certificates of its store.
pub(in crate::ca) fn skips_verification(bsl: &Bsl<'_>) -> bool {
    bsl.config(SKIP).is_some_and(|value| TRUE.contains(&value))
}

fn skip(bsl: &Bsl<'_>, report: &mut Report) {
    let settings = bsl.spec.config.iter().flatten();
    for (key, value) in settings.filter(|(key, _)| key.eq_ignore_ascii_case(SKIP)) {
        let mut find = |rule, message: String, fix: &str| {
            report.find(Finding::new(rule, config_key(key), "", message, fix));
        };
        let remove = "remove it and name the CA";
        if **key != *SKIP {
            let message = format!("the plugin knows `{SKIP}`, in exactly these letters");
            find(&WRONG_SKIP, message, remove);
        } else if bsl.provider() != "aws" {
            let message = format!(
                "provider `{}` does not know this key",
                shown(bsl.provider())
            );
            find(&WRONG_SKIP, message, remove);
        } else if TRUE.contains(&&**value) {
            let message = "TLS certificates of the store are not verified".to_owned();
            find(&SKIPS_VERIFICATION, message, remove);
        } else if !value.is_empty() && !FALSE.contains(&&**value) {
            let message = "the value is no bool, and the aws plugin refuses it".to_owned();
            find(&WRONG_SKIP, message, remove);
        }
    }
}

fn keys(bsl: &Bsl<'_>, tally: &mut Tally<'_, '_>) {
    let provider = bsl.provider();
    let known: &[&str] = match provider {
        "aws" => &AWS,
        "azure" => &AZURE,
        "gcp" => &GCP,
        _ => return,
    };
    for key in bsl.spec.config.iter().flatten().map(|(key, _)| &**key) {
        let is_known = known.contains(&key) || COMMON.contains(&key);
        // These two have rules of their own.
        if is_known || key == "secretRef" || key.eq_ignore_ascii_case(SKIP) {
            continue;
        }
        tally.find(&UNKNOWN_KEY, || {
            let near = known.iter().find(|known| known.eq_ignore_ascii_case(key));
            let fix = match near {
                Some(near) => format!("write `{near}`"),
                None => format!("remove it; {provider} takes {}", known.join(", ")),
            };
            let message = format!("the {provider} plugin refuses this key");
            Finding::new(&UNKNOWN_KEY, config_key(key), "", message, fix)
        });
    }
}

fn config(key: &'static str) -> FieldPath {
    FieldPath::of(&["spec", "config", key])
}

/// The path to a key that a user made up.
fn config_key(key: &str) -> FieldPath {
    if key == SKIP {
        config(SKIP)
    } else {
        FieldPath::of(&["spec", "config"]).key(shown(key))
    }
}
