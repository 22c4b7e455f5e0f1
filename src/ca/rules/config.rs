//! Rules about the plugin's settings in `spec.config`: those that make a CA useless, and those that
//! the plugin rejects.

use super::baseline::Baseline;
use super::finding_limiter::FindingLimiter;
use crate::decision::{Code, FieldPath, Finding, Hint, Report, Rule, Severity};
use crate::velero::bsl::Bsl;
use crate::velero::text::shown;

pub(super) static RULES: [&Rule; 5] = [
    &SKIPS_VERIFICATION,
    &INVALID_SKIP,
    &UNKNOWN_KEY,
    &SECRET_REF,
    &CONFIG_CA,
];

static SKIPS_VERIFICATION: Rule = Rule {
    id: "VT030",
    title: "insecureSkipTLSVerify is on",
    about: "Anyone between Velero and the store can read and replace backups, and no CA is used. \
            The aws plugin, kopia and restic accept `1`, `t`, `T`, `TRUE`, `true` and `True` as \
            true. Name the CA and remove this key.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::VerifyAndNameSecret,
    ..Rule::DEFAULT
};

static INVALID_SKIP: Rule = Rule {
    id: "VT031",
    title: "wrong insecureSkipTLSVerify",
    about: "Only the aws provider supports the key, and its spelling is case-sensitive. Its value \
            must be one that Go's strconv.ParseBool accepts, such as `true`: the aws plugin \
            refuses any other, and Velero marks the BSL Unavailable.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static UNKNOWN_KEY: Rule = Rule {
    id: "VT036",
    title: "config key that the plugin refuses",
    about: "The aws, azure and gcp plugins refuse a BSL with an unknown key, and Velero marks it \
            Unavailable.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static SECRET_REF: Rule = Rule {
    id: "VT037",
    title: "config.secretRef",
    about: "Velero's first design had this key, but no plugin supports it: the plugins refuse the \
            BSL. Use caCertRef or the annotation `velero-trust.io/ca-secret`.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::NameSecret,
    ..Rule::DEFAULT
};

static CONFIG_CA: Rule = Rule {
    id: "VT039",
    title: "config.caCert",
    about: "It is used only by the object store plugin; kopia and restic ignore it. Use caCertRef.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::MoveToSecret,
    ..Rule::DEFAULT
};

const SKIP_TLS_VERIFY: &str = "insecureSkipTLSVerify";

/// The values that Go's `strconv.ParseBool` parses as true. The aws plugin (`object_store.go`),
/// restic (`pkg/restic/common.go`) and kopia (`optionalHaveBool`) all read the value with it.
const TRUE_VALUES: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];

/// The values that `strconv.ParseBool` parses as false.
const FALSE_VALUES: [&str; 6] = ["0", "f", "F", "FALSE", "false", "False"];

/// Keys that Velero itself sets for every provider.
const COMMON_KEYS: [&str; 3] = ["bucket", "caCert", "prefix"];

const AWS_KEYS: [&str; 15] = [
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

const AZURE_KEYS: [&str; 9] = [
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

const GCP_KEYS: [&str; 5] = [
    "credentialsFile",
    "kmsKeyName",
    "serviceAccount",
    "storeEndpoint",
    "universeDomain",
];

/// Checks `spec.config`.
pub(super) fn check(bsl: &Bsl<'_>, baseline: &mut Baseline<'_>, report: &mut Report) {
    check_skip_verification(bsl, report);
    check_keys(
        bsl,
        &mut FindingLimiter::new(report, baseline, FieldPath::of(&["spec", "config"]), ""),
    );
    if bsl.config("secretRef").is_some() {
        report.add_finding(Finding::new(
            &SECRET_REF,
            config_path("secretRef"),
            "",
            "no Velero plugin knows this key, and they refuse unknown ones",
            "use spec.objectStorage.caCertRef",
        ));
    }
    if bsl.config("caCert").is_some_and(|pem| !pem.is_empty()) {
        report.add_finding(Finding::new(
            &CONFIG_CA,
            config_path("caCert"),
            "",
            "kopia and restic ignore this key",
            "use spec.objectStorage.caCertRef",
        ));
    }
}

/// Whether `bsl` disables the verification of its store's certificates.
pub fn skips_verification(bsl: &Bsl<'_>) -> bool {
    bsl.config(SKIP_TLS_VERIFY)
        .is_some_and(|value| TRUE_VALUES.contains(&value))
}

fn check_skip_verification(bsl: &Bsl<'_>, report: &mut Report) {
    let settings = bsl.spec.config.iter().flatten();
    for (key, value) in settings.filter(|(key, _)| key.eq_ignore_ascii_case(SKIP_TLS_VERIFY)) {
        let mut find = |rule, message: String, fix: &str| {
            report.add_finding(Finding::new(rule, user_key_path(key), "", message, fix));
        };
        let remove = "remove it and name the CA";
        if **key != *SKIP_TLS_VERIFY {
            let message = format!("the plugin knows `{SKIP_TLS_VERIFY}`, in exactly these letters");
            find(&INVALID_SKIP, message, remove);
        } else if bsl.provider() != "aws" {
            let message = format!(
                "provider `{}` does not know this key",
                shown(bsl.provider())
            );
            find(&INVALID_SKIP, message, remove);
        } else if TRUE_VALUES.contains(&&**value) {
            let message = "TLS certificates of the store are not verified".to_owned();
            find(&SKIPS_VERIFICATION, message, remove);
        } else if !value.is_empty() && !FALSE_VALUES.contains(&&**value) {
            let message = "the value is no bool, and the aws plugin refuses it".to_owned();
            find(&INVALID_SKIP, message, remove);
        }
    }
}

fn check_keys(bsl: &Bsl<'_>, limiter: &mut FindingLimiter<'_, '_>) {
    let provider = bsl.provider();
    let known: &[&str] = match provider {
        "aws" => &AWS_KEYS,
        "azure" => &AZURE_KEYS,
        "gcp" => &GCP_KEYS,
        _ => return,
    };
    for key in bsl.spec.config.iter().flatten().map(|(key, _)| &**key) {
        let is_known = known.contains(&key) || COMMON_KEYS.contains(&key);
        // `secretRef` and `insecureSkipTLSVerify` have rules of their own.
        if is_known || key == "secretRef" || key.eq_ignore_ascii_case(SKIP_TLS_VERIFY) {
            continue;
        }
        limiter.find(&UNKNOWN_KEY, key, || {
            let similar = known.iter().find(|known| known.eq_ignore_ascii_case(key));
            let fix = match similar {
                Some(similar) => format!("write `{similar}`"),
                None => format!("remove it; {provider} takes {}", known.join(", ")),
            };
            let message = format!("the {provider} plugin refuses this key");
            Finding::new(&UNKNOWN_KEY, user_key_path(key), "", message, fix)
        });
    }
}

/// Parses a value as Go's `strconv.ParseBool` does; `None` if that refuses it.
pub fn parse_bool(value: &str) -> Option<bool> {
    if TRUE_VALUES.contains(&value) {
        Some(true)
    } else {
        FALSE_VALUES.contains(&value).then_some(false)
    }
}

/// Whether Go's `strconv.ParseBool` accepts `value`.
pub(super) fn is_bool(value: &str) -> bool {
    parse_bool(value).is_some()
}

pub(super) fn config_path(key: &'static str) -> FieldPath {
    FieldPath::of(&["spec", "config", key])
}

/// Returns the path to a key that a user chose.
fn user_key_path(key: &str) -> FieldPath {
    if key == SKIP_TLS_VERIFY {
        config_path(SKIP_TLS_VERIFY)
    } else {
        FieldPath::of(&["spec", "config"]).key(shown(key))
    }
}
