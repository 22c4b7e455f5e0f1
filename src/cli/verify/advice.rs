//! What to do about a bucket that cannot be read, for whoever runs the command: there are no BSL and no Secret to
//! correct, but options and variables.

use crate::bucket::{Error, ErrorKind, SettingsError};
use crate::dial::{DialError, ProxyFault};
use crate::velero::text::shown;

/// What reads a bucket that this command cannot.
const COPY: &str =
    "copy the folder of the backup with the store's own tool, and give the directory";

/// Returns what is wrong with `error`, and what to do.
pub(super) fn described(error: &Error) -> String {
    match fix(&error.kind) {
        Some(fix) => format!("{error}; {fix}"),
        None => error.with_fix(),
    }
}

/// Returns what to do; `None` if [`Error::fix`] says it.
fn fix(kind: &ErrorKind) -> Option<String> {
    let fix = match kind {
        ErrorKind::WrongRegion {
            expected: Some(region),
            ..
        } => return Some(format!("give `--region {}`", shown(region))),
        ErrorKind::WrongRegion { .. } => "give the region of the bucket with `--region`",
        ErrorKind::AccessOrCustomerKey { .. } => {
            return Some(format!(
                "allow s3:GetObject on its files to this access key in the bucket's policy; if they are encrypted with \
                 a key of a customer, {COPY}"
            ));
        }
        ErrorKind::CustomerKey | ErrorKind::OddName { .. } | ErrorKind::TooMany => COPY,
        ErrorKind::Certificate { .. } => {
            "see whether `--s3-url` names the store, and give its CA with `--ca`"
        }
        ErrorKind::ClockSkew => "set the clock of this machine, or of the store, by NTP",
        ErrorKind::Dial(DialError::Proxy {
            fault: ProxyFault::Dial(_),
            ..
        }) => "check HTTPS_PROXY and HTTP_PROXY, and DNS",
        ErrorKind::Dial(
            DialError::DeniedAddress { .. }
            | DialError::Late(_)
            | DialError::NotByProxy { .. }
            | DialError::Unreachable { .. }
            | DialError::Unresolvable { .. },
        ) => "check `--s3-url`, DNS and what is between this machine and the store",
        ErrorKind::Redirect { .. } => "name the store itself with `--s3-url`",
        ErrorKind::Expired | ErrorKind::UnknownKey { .. } | ErrorKind::WrongSecretKey => {
            "give other credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile with `--profile`"
        }
        ErrorKind::Changed
        | ErrorKind::CutOff
        | ErrorKind::Late
        | ErrorKind::Server { .. }
        | ErrorKind::TooSlow => {
            "try it again; if it stays, see the store's log and what is between"
        }
        ErrorKind::Malformed(_) | ErrorKind::Size { .. } => {
            "see whether `--s3-url` names the port of the store's API, and what is between"
        }
        ErrorKind::NoBucket => "correct the bucket in the URL, or name its store with `--s3-url`",
        ErrorKind::NotTls => "correct the port in `--s3-url`, or write http://",
        ErrorKind::WantsTls => "write https:// in `--s3-url`",
        ErrorKind::Dial(DialError::Proxy { .. })
        | ErrorKind::AccessDenied { .. }
        | ErrorKind::Answer { .. }
        | ErrorKind::Archived
        | ErrorKind::Kms { .. }
        | ErrorKind::NoFile
        | ErrorKind::Tls(_)
        // Nothing is written, no URL is signed, and these say it themselves.
        | ErrorKind::ChecksumRequired
        | ErrorKind::PresignedUrl(_)
        | ErrorKind::Credentials(_)
        | ErrorKind::Settings(_) => return None,
    };
    Some(fix.to_owned())
}

/// Returns what is wrong with the URL of the backup, or with an option.
pub(super) fn setting(error: &SettingsError) -> String {
    match error {
        SettingsError::NoBucket => "the URL names no bucket".to_owned(),
        SettingsError::Bucket(bucket) => format!(
            "`{}` in the URL is no name of a bucket, and access points are not supported; {COPY}",
            shown(bucket)
        ),
        SettingsError::Prefix(prefix) => format!(
            "the prefix `{}` in the URL has an empty part, a part `.` or `..`, or a control character, and is not \
             supported; {COPY}",
            shown(prefix)
        ),
        SettingsError::Url { error, .. } => {
            format!("`--s3-url` is no http:// or https:// URL of a host: {error}")
        }
        SettingsError::Region(region) => {
            format!("`--region {}` is no name of a region", shown(region))
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::{Action, BucketSettings};

    /// What only a person with a cluster has.
    const FOREIGN: [&str; 7] = [
        "BSL",
        "BackupStorageLocation",
        "spec.",
        "Secret ",
        "ServiceAccount",
        "NetworkPolic",
        "kubectl",
    ];

    fn assert_own(told: &str) {
        for foreign in FOREIGN {
            assert!(!told.contains(foreign), "{foreign}: {told}");
        }
    }

    #[test]
    fn what_to_do_speaks_of_options_and_not_of_a_cluster() {
        let code = || "Code".to_owned();
        let unresolvable = DialError::Unresolvable {
            host: "store".into(),
            why: "no such host".into(),
        };
        let kinds = [
            (ErrorKind::AccessDenied { code: code() }, "s3:GetObject"),
            (
                ErrorKind::AccessOrCustomerKey { code: code() },
                "give the directory",
            ),
            (ErrorKind::CustomerKey, "give the directory"),
            (
                ErrorKind::Certificate {
                    problem: "it is of another CA".into(),
                    fix: "name it on the BSL".into(),
                },
                "--ca",
            ),
            (ErrorKind::ClockSkew, "this machine"),
            (ErrorKind::Dial(unresolvable), "--s3-url"),
            (ErrorKind::Redirect { status: 301 }, "--s3-url"),
            (ErrorKind::Expired, "--profile"),
            (ErrorKind::UnknownKey { code: code() }, "--profile"),
            (ErrorKind::WrongSecretKey, "--profile"),
            (ErrorKind::Late, "try it again"),
            (ErrorKind::Malformed("no list"), "--s3-url"),
            (ErrorKind::NoBucket, "the bucket in the URL"),
            (ErrorKind::NoFile, "deleted"),
            (ErrorKind::NotTls, "--s3-url"),
            (ErrorKind::WantsTls, "--s3-url"),
            (ErrorKind::Archived, "archive"),
            (ErrorKind::Kms { code: code() }, "the key"),
            (ErrorKind::Tls("x".into()), "TLS 1.2"),
            (ErrorKind::TooMany, "give the directory"),
            (
                ErrorKind::WrongRegion {
                    given: "a".into(),
                    expected: Some("b".into()),
                },
                "--region b",
            ),
            (
                ErrorKind::WrongRegion {
                    given: "a".into(),
                    expected: None,
                },
                "`--region`",
            ),
        ];
        for (kind, says) in kinds {
            let error = kind.during(Action::Read {
                backup: "b".into(),
                file: "f".into(),
            });
            let told = described(&error);
            assert!(told.contains(says), "{told}");
            assert_own(&told);
        }
    }

    #[test]
    fn what_is_wrong_with_the_url_or_an_option_is_told_of_it() {
        let told = |bucket, prefix, url, region| {
            let settings = BucketSettings::of_bucket("", bucket, prefix);
            let settings = settings.and_then(|settings| settings.at(url, region, true));
            let told = setting(&settings.unwrap_err());
            assert_own(&told);
            told
        };
        assert!(told("", "", None, None).contains("names no bucket"));
        assert!(told("arn:aws", "", None, None).contains("`arn:aws` in the URL"));
        assert!(told("b", "a/..", None, None).contains("the prefix `a/..` in the URL"));
        assert!(told("b", "", Some("ftp://s"), None).contains("`--s3-url` is no"));
        assert!(told("b", "", None, Some("..")).contains("`--region ..`"));
    }
}
