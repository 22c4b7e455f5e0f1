//! Rules about the rest of a location: settings that make its CA unused, deprecated or removed.

use super::Location;
use crate::ca::references::{self, CaReference};
use crate::decision::{Code, FieldPath, Finding, Hint, Report, Rule, Severity};
use crate::velero::bsl::Bsl;

pub(super) static RULES: [&Rule; 5] = [&PLAIN_HTTP, &IGNORES_CA, &INLINE, &REMOVED, &NO_SPEC];

static PLAIN_HTTP: Rule = Rule {
    id: "VT032",
    title: "http:// s3Url with a CA",
    about: "The connection is not encrypted, so no CA is used. Use https://.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::UseHttps,
    ..Rule::DEFAULT
};

static IGNORES_CA: Rule = Rule {
    id: "VT033",
    title: "provider that ignores a CA",
    about: "The gcp plugin and kopia's GCS backend accept a CA on the BSL and do not use it. The \
            merged bundle reaches them through SSL_CERT_DIR.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static INLINE: Rule = Rule {
    id: "VT034",
    title: "inline caCert",
    about: "Deprecated since Velero 1.18: put the CA into a Secret and name it in caCertRef, or, \
            before 1.18, in the annotation `velero-trust.io/ca-secret`.",
    severity: Severity::Warn,
    code: Code::Invalid,
    hint: Hint::MoveToSecret,
    ..Rule::DEFAULT
};

static REMOVED: Rule = Rule {
    id: "VT035",
    title: "CA removed by an update",
    about: "`velero backup-location set` without `--cacert` empties caCert on every run, even if \
            it only sets something else.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static NO_SPEC: Rule = Rule {
    id: "VT040",
    title: "BackupStorageLocation without a spec",
    about: "Velero's schema accepts it, and Velero never reaches a store with it.",
    severity: Severity::Deny,
    code: Code::Invalid,
    hint: Hint::ExplainSchema,
    ..Rule::DEFAULT
};

/// Checks a location that gets its CA from `references`.
pub(super) fn check(location: &Location<'_>, references: &[CaReference<'_>], report: &mut Report) {
    let bsl = location.bsl;
    let namespace = location.namespace;
    let mut find = |rule, path, message: String, fix: String| {
        report.add_finding(Finding::new(rule, path, "", message, fix));
    };
    if bsl.provider().is_empty() && bsl.spec.object_storage.is_none() {
        find(
            &NO_SPEC,
            FieldPath::of(&["spec"]),
            "the location names neither a provider nor an object storage".to_owned(),
            "set spec.provider and spec.objectStorage.bucket".to_owned(),
        );
    }
    let begins = |setting, scheme: &str| {
        let url = bsl.config(setting).unwrap_or("").trim_start();
        url.get(..scheme.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    };
    // The velero command downloads by the publicUrl.
    let uses_ca = begins("publicUrl", "https://");
    if begins("s3Url", "http://") && !uses_ca && !references.is_empty() {
        find(
            &PLAIN_HTTP,
            FieldPath::of(&["spec", "config", "s3Url"]),
            "the URL is http://, so the CA is never used".to_owned(),
            "use https://".to_owned(),
        );
    }
    if let Some(reference) = references.first().filter(|_| bsl.provider() == "gcp") {
        find(
            &IGNORES_CA,
            reference.path.clone(),
            "the gcp plugin ignores a CA on the BSL".to_owned(),
            "leave it if it is there for the merged bundle, which reaches gcp".to_owned(),
        );
    }
    let has_inline =
        |bsl: &Bsl<'_>| references::inline_ca_cert(bsl.spec.object_storage.as_ref()).is_some();
    if has_inline(bsl) {
        find(
            &INLINE,
            references::ca_cert_path(),
            "inline caCert is deprecated since Velero 1.18".to_owned(),
            format!(
                "`kubectl -n {namespace} create secret generic velero-ca --from-file=ca.crt=ca.pem`, \
                 then caCertRef with name velero-ca and key ca.crt"
            ),
        );
    }
    if location.old.is_some_and(has_inline) && references.is_empty() {
        find(
            &REMOVED,
            references::ca_cert_path(),
            "this update removes the only CA".to_owned(),
            "`velero backup-location set` does so unless it is given `--cacert` again".to_owned(),
        );
    }
}
