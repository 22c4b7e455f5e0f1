//! Rules about values that Velero or its plugin refuses, by the checks that they make themselves.

use super::config::{self, config_path};
use crate::decision::{Code, FieldPath, Finding, Report, Rule, Severity};
use crate::velero::bsl::Bsl;
use crate::velero::text::{or_empty, shown};

pub(super) static RULES: [&Rule; 1] = [&REFUSED_VALUE];

static REFUSED_VALUE: Rule = Rule {
    id: "VT041",
    title: "value that Velero refuses",
    about: "Velero marks the BSL Unavailable, or cannot open its backup repositories: a bucket with \
            a slash, an s3Url without http:// or https:// or with a path, an s3ForcePathStyle that \
            is no bool, an unknown checksumAlgorithm, two ways to encrypt, or an Azure URI that is \
            none. The rule follows Velero and the aws plugin.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

/// The values of `checksumAlgorithm` that the aws plugin accepts (`types.ChecksumAlgorithm` of the
/// AWS SDK for Go).
const CHECKSUM_ALGORITHMS: [&str; 10] = [
    "CRC32",
    "CRC32C",
    "CRC64NVME",
    "MD5",
    "SHA1",
    "SHA256",
    "SHA512",
    "XXHASH128",
    "XXHASH3",
    "XXHASH64",
];

/// The ways to encrypt with a key of the customer's, of which the aws plugin takes one.
const ENCRYPTIONS: [&str; 3] = [
    "customerKeyEncryptionFile",
    "customerKeyEncryptionSecret",
    "kmsKeyId",
];

/// Checks the values of `bsl`.
pub(super) fn check(bsl: &Bsl<'_>, report: &mut Report) {
    let mut find = |path: FieldPath, message: String, fix: &str| {
        report.add_finding(Finding::new(&REFUSED_VALUE, path, "", message, fix));
    };
    let storage = bsl.spec.object_storage.as_ref();
    let bucket = or_empty(storage.and_then(|storage| storage.bucket.as_ref()));
    if bucket.trim_matches('/').contains('/') {
        find(
            FieldPath::of(&["spec", "objectStorage", "bucket"]),
            "Velero refuses a bucket with a slash in it".to_owned(),
            "put what is after the slash into prefix",
        );
    }
    let value = |key| bsl.config(key).filter(|value| !value.is_empty());
    match bsl.provider() {
        "aws" => {
            for key in ["s3Url", "publicUrl"] {
                if let Some((message, fix)) = value(key).and_then(|url| url_problem(url, key)) {
                    find(config_path(key), message, fix);
                }
            }
            if value("s3ForcePathStyle").is_some_and(|value| !config::is_bool(value)) {
                find(
                    config_path("s3ForcePathStyle"),
                    "the value is no bool, and the aws plugin refuses it".to_owned(),
                    "write \"true\" or \"false\"",
                );
            }
            if let Some(algorithm) = value("checksumAlgorithm")
                && !CHECKSUM_ALGORITHMS.contains(&algorithm)
            {
                find(
                    config_path("checksumAlgorithm"),
                    format!("the aws plugin knows no algorithm `{}`", shown(algorithm)),
                    "write CRC32 or SHA256, or \"\" for none",
                );
            }
            let set = ENCRYPTIONS.into_iter().filter(|key| value(key).is_some());
            if let [first, .., last] = set.collect::<Vec<_>>()[..] {
                find(
                    config_path(last),
                    format!("the aws plugin refuses this beside {first}"),
                    "keep one of them",
                );
            }
        }
        "azure" => {
            let is_url = |url: &str| url.starts_with("https://") || url.starts_with("http://");
            for key in ["activeDirectoryAuthorityURI", "storageAccountURI"] {
                if value(key).is_some_and(|url| !is_url(url)) {
                    find(
                        config_path(key),
                        "this is no URI, and Velero cannot connect to it".to_owned(),
                        "begin it with https://",
                    );
                }
            }
        }
        _ => {}
    }
}

/// Returns what is wrong with the URL of a store, and how to fix it.
fn url_problem(url: &str, key: &str) -> Option<(String, &'static str)> {
    let Some((scheme, rest)) = url.split_once("://") else {
        let message = "the URL has no scheme, and the aws plugin refuses it".to_owned();
        return Some((message, "begin it with https://"));
    };
    let is_web = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    if !is_web {
        let message = "the URL is neither http:// nor https://, and the aws plugin refuses it";
        return Some((message.to_owned(), "begin it with https://"));
    }
    // The publicUrl is only used to sign downloads.
    let (_, path) = rest.split_once('/').filter(|_| key == "s3Url")?;
    let path = path.split(['?', '#']).next().unwrap_or(path);
    (!path.is_empty()).then(|| {
        let message = "the URL has a path, and Velero opens no kopia repository with it".to_owned();
        (
            message,
            "name the host only; the bucket has a field of its own",
        )
    })
}
