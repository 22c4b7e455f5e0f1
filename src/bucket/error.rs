//! Why something could not be done in a bucket: what is wrong, where, and what to do.
//!
//! No error says that a file was tampered with: each means that nothing is known about it. None
//! contains anything of a Secret, or text of a store beyond its error code.

use std::fmt;

use super::credentials::CredentialsError;
use super::presigned::PresignedUrlError;
use super::settings::{Provider, SettingsError};
use crate::decision::FailureClass;
use crate::dial::{DialError, ProxyFault};
use crate::velero::text::shown;

/// What was done in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Credentials and region were looked up.
    Open,
    /// The folder of a backup was listed.
    List {
        /// The backup.
        backup: String,
    },
    /// A file was read.
    Read {
        /// The backup.
        backup: String,
        /// The file in its folder.
        file: String,
    },
    /// A file was written.
    Put {
        /// The backup.
        backup: String,
        /// The file in its folder.
        file: String,
    },
    /// A file was deleted.
    Delete {
        /// The backup.
        backup: String,
        /// The file in its folder.
        file: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = |backup: &str, file: &str| format!("backups/{}/{}", shown(backup), shown(file));
        match self {
            Self::Open => f.write_str("the bucket could not be opened"),
            Self::List { backup } => {
                write!(f, "backups/{}/ could not be listed", shown(backup))
            }
            Self::Read { backup, file: name } => {
                write!(f, "{} could not be read", file(backup, name))
            }
            Self::Put { backup, file: name } => {
                write!(f, "{} could not be written", file(backup, name))
            }
            Self::Delete { backup, file: name } => {
                write!(f, "{} could not be deleted", file(backup, name))
            }
        }
    }
}

/// Why something could not be done in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {kind}")]
pub struct Error {
    /// What was done.
    pub action: Action,
    /// What was wrong.
    pub kind: ErrorKind,
    /// Of which provider the store is, if that is known.
    pub provider: Option<Provider>,
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The key is valid, and may not do this.
    #[error("the store refuses it to these credentials ({code})")]
    AccessDenied {
        /// The store's error code.
        code: String,
    },
    /// The key may not do this, or the file is encrypted with another key of a customer: stores
    /// answer both alike.
    #[error(
        "the store refuses it to this access key, or the file is encrypted with another key of a \
         customer (SSE-C) ({code})"
    )]
    AccessOrCustomerKey {
        /// The store's error code.
        code: String,
    },
    /// An answer that no other kind covers.
    #[error("the store answers {status} ({code})")]
    Answer {
        /// The status code.
        status: u16,
        /// The store's error code; empty if it gave none.
        code: String,
    },
    /// The file is in cold storage.
    #[error("the store has it in an archive, from which nothing can be read at once")]
    Archived,
    /// The server's certificate is not trusted.
    #[error("the store's certificate is not trusted: {problem}")]
    Certificate {
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        fix: String,
    },
    /// The file changed while it was read: its ETag is another one.
    #[error("it was written anew in the meantime")]
    Changed,
    /// The store wants a checksum with each upload.
    #[error("the store wants a checksum with each upload, as a bucket with Object Lock does")]
    ChecksumRequired,
    /// The client's clock and the store's differ.
    #[error("the store's clock and this machine's differ by too much")]
    ClockSkew,
    /// There are no credentials to use.
    #[error("{0}")]
    Credentials(CredentialsError),
    /// The file is encrypted with a key that is not given, or with another one.
    #[error(
        "it is encrypted with a key of a customer (SSE-C), and none is given here or another one"
    )]
    CustomerKey,
    /// The connection ended before the answer did.
    #[error("the connection ended before the answer did")]
    CutOff,
    /// There is no connection.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// The credentials were temporary, and are no longer valid.
    #[error("the credentials have expired")]
    Expired,
    /// The key management service refuses its key.
    #[error("the store's key management service refuses its key ({code})")]
    Kms {
        /// The store's error code.
        code: String,
    },
    /// No answer in time.
    #[error("the store did not answer in time")]
    Late,
    /// The answer is not what the protocol says.
    #[error("the store's answer is not one of its protocol: {0}")]
    Malformed(&'static str),
    /// There is no such bucket.
    #[error("there is no such bucket at this store")]
    NoBucket,
    /// There is no such file.
    #[error("there is no such file")]
    NoFile,
    /// The server speaks TLS, and http was used.
    #[error("the server wants TLS on this port")]
    WantsTls,
    /// The server does not speak TLS.
    #[error("the server does not speak TLS on this port")]
    NotTls,
    /// The name of a file is one that no request can carry.
    #[error("`{}` has a name that Velero gives to no file", shown(.file))]
    OddName {
        /// The file.
        file: String,
    },
    /// A URL that somebody else signed is not that of the file.
    #[error("{0}")]
    PresignedUrl(#[from] PresignedUrlError),
    /// The store sends the client elsewhere.
    #[error("the store redirects ({status}), and redirects are not followed")]
    Redirect {
        /// The status code.
        status: u16,
    },
    /// The store has a fault, or too much to do.
    #[error("the store has a fault or too much to do ({status} {code})")]
    Server {
        /// The status code.
        status: u16,
        /// The store's error code; empty if it gave none.
        code: String,
    },
    /// The BSL cannot be used.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// The store sends another number of bytes than it listed.
    #[error("the store listed {listed} bytes, and sends {sent}")]
    Size {
        /// The size in the list.
        listed: u64,
        /// What it sends, or says that it does; of too many, only as far as they were read.
        sent: u64,
    },
    /// TLS failed.
    #[error("there is no TLS with the store ({0})")]
    Tls(String),
    /// The folder has more files than are listed, or their names are very long.
    #[error("the folder has more files than velero-trust lists")]
    TooMany,
    /// The bytes come too slowly.
    #[error("the store sends too slowly")]
    TooSlow,
    /// The store knows no such access key.
    #[error("the store knows no such access key ({code})")]
    UnknownKey {
        /// The store's error code.
        code: String,
    },
    /// The bucket is in another region.
    #[error("the bucket is in another region than `{}`{}", shown(.given), in_region(.expected.as_deref()))]
    WrongRegion {
        /// The region that was used.
        given: String,
        /// The one that the store names.
        expected: Option<String>,
    },
    /// The secret key does not belong to the access key.
    #[error("the secret key is not the one of this access key or account")]
    WrongSecretKey,
}

/// Returns what to do about a proxy.
const fn proxy_fix(fault: &ProxyFault) -> &'static str {
    match fault {
        ProxyFault::Answer(407) => {
            "write user and password into HTTPS_PROXY or HTTP_PROXY: http://USER:PASSWORD@HOST:PORT"
        }
        ProxyFault::Answer(_) | ProxyFault::CutOff | ProxyFault::Late => {
            "see the proxy's log; name a store that is reached without it in NO_PROXY"
        }
        ProxyFault::Dial(_) => {
            "check HTTPS_PROXY and HTTP_PROXY, DNS and the NetworkPolicies between velero-trust and the proxy"
        }
        ProxyFault::NoHttp | ProxyFault::Unsupported => {
            "correct HTTPS_PROXY or HTTP_PROXY; its form is http://HOST:PORT"
        }
    }
}

fn in_region(region: Option<&str>) -> String {
    region.map_or_else(String::new, |region| format!(": in `{}`", shown(region)))
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        ErrorKind::Settings(error).during(Action::Open)
    }
}

impl From<CredentialsError> for Error {
    fn from(error: CredentialsError) -> Self {
        ErrorKind::Credentials(error).during(Action::Open)
    }
}

impl From<CredentialsError> for ErrorKind {
    fn from(error: CredentialsError) -> Self {
        Self::Credentials(error)
    }
}

impl ErrorKind {
    /// Returns the error of `action`.
    pub const fn during(self, action: Action) -> Error {
        Error {
            action,
            kind: self,
            provider: None,
        }
    }
}

impl Error {
    /// Says of which provider the store is.
    #[must_use]
    pub(super) const fn of(mut self, provider: Provider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Returns one word for it, for conditions, Events and metrics.
    pub const fn reason(&self) -> &'static str {
        match self.kind {
            ErrorKind::AccessDenied { .. } | ErrorKind::AccessOrCustomerKey { .. } => {
                "AccessDenied"
            }
            ErrorKind::Answer { .. } => "UnknownAnswer",
            ErrorKind::Archived => "Archived",
            ErrorKind::Certificate { .. } => "CertificateNotTrusted",
            ErrorKind::Changed => "Changed",
            ErrorKind::ChecksumRequired => "ChecksumRequired",
            ErrorKind::ClockSkew => "ClockSkew",
            ErrorKind::Credentials(_) => "NoCredentials",
            ErrorKind::CustomerKey => "CustomerKeyMissing",
            ErrorKind::CutOff => "CutOff",
            ErrorKind::Dial(DialError::DeniedAddress { .. } | DialError::NotByProxy { .. }) => {
                "AddressDenied"
            }
            ErrorKind::Dial(DialError::Proxy { .. }) => "ProxyFailed",
            ErrorKind::Dial(_) => "Unreachable",
            ErrorKind::Expired => "CredentialsExpired",
            ErrorKind::Kms { .. } => "KmsKeyRefused",
            ErrorKind::Late | ErrorKind::TooSlow => "TooSlow",
            ErrorKind::Malformed(_) => "MalformedAnswer",
            ErrorKind::NoBucket => "NoBucket",
            ErrorKind::NoFile => "NoFile",
            ErrorKind::NotTls | ErrorKind::Tls(_) | ErrorKind::WantsTls => "NoTls",
            ErrorKind::OddName { .. } => "OddFileName",
            ErrorKind::PresignedUrl(_) => "DownloadUrlRefused",
            ErrorKind::Redirect { .. } => "Redirect",
            ErrorKind::Server { .. } => "ServerError",
            ErrorKind::Settings(_) => "NotSupported",
            ErrorKind::Size { .. } => "WrongSize",
            ErrorKind::TooMany => "TooManyFiles",
            ErrorKind::UnknownKey { .. } => "UnknownAccessKey",
            ErrorKind::WrongRegion { .. } => "WrongRegion",
            ErrorKind::WrongSecretKey => "WrongSecretKey",
        }
    }

    /// Returns what can be expected of it.
    pub const fn class(&self) -> FailureClass {
        match self.kind {
            ErrorKind::Settings(SettingsError::Provider(_)) => FailureClass::Unsupported,
            _ if self.may_pass() => FailureClass::Passing,
            _ => FailureClass::Lasting,
        }
    }

    /// Whether it may pass without anybody doing something.
    pub const fn may_pass(&self) -> bool {
        match &self.kind {
            ErrorKind::Changed
            | ErrorKind::Credentials(
                CredentialsError::Identity { .. }
                | CredentialsError::NoToken { .. }
                | CredentialsError::RoleUnavailable { .. }
                | CredentialsError::Unavailable { .. },
            )
            | ErrorKind::CutOff
            | ErrorKind::Late
            | ErrorKind::Malformed(_)
            | ErrorKind::Server { .. }
            | ErrorKind::Size { .. }
            | ErrorKind::TooSlow => true,
            ErrorKind::Dial(error) => error.may_pass(),
            _ => false,
        }
    }

    /// Whether the store refuses it to these credentials, or they are of a kind that velero-trust cannot use. Those of
    /// Velero may do it all the same.
    pub const fn lacks_rights(&self) -> bool {
        match &self.kind {
            ErrorKind::AccessDenied { .. } => {
                !matches!(self.action, Action::Put { .. } | Action::Delete { .. })
            }
            ErrorKind::Credentials(error) => error.is_unsupported(),
            _ => false,
        }
    }

    /// Returns what was wrong and what to do about it, in one line.
    pub fn with_fix(&self) -> String {
        match self.fix() {
            Some(fix) => format!("{self}; {fix}"),
            None => self.to_string(),
        }
    }

    /// Returns what to do about it; `None` if the message itself says it.
    pub fn fix(&self) -> Option<String> {
        let url = self.provider.unwrap_or(Provider::Aws).url_setting();
        let fix = match &self.kind {
            ErrorKind::AccessDenied { .. } => return Some(self.grant()),
            ErrorKind::AccessOrCustomerKey { .. } => {
                return Some(format!(
                    "{}, or see whether the file was written with another key than \
                     spec.config.customerKeyEncryptionSecret names",
                    self.grant()
                ));
            }
            ErrorKind::Certificate { fix, .. } => return Some(fix.clone()),
            ErrorKind::WrongRegion {
                expected: Some(region),
                ..
            } => return Some(format!("set spec.config.region to `{}`", shown(region))),
            ErrorKind::Answer { .. } => "look the code up in the store's documentation",
            ErrorKind::Archived => {
                "restore the file from the archive, and keep backups in a storage class that can be \
                 read, since Velero cannot restore from an archive either"
            }
            ErrorKind::ChecksumRequired => {
                "remove `checksumAlgorithm: \"\"` from spec.config: Velero's own uploads need it, too"
            }
            ErrorKind::ClockSkew => "set the clock of this node, or of the store, by NTP",
            ErrorKind::Credentials(_) | ErrorKind::Settings(_) => return None,
            ErrorKind::CustomerKey => {
                "name the Secret with the key in spec.config.customerKeyEncryptionSecret"
            }
            ErrorKind::Dial(DialError::DeniedAddress { .. } | DialError::NotByProxy { .. })
            | ErrorKind::Redirect { .. } => {
                return Some(format!("name the store itself in {url}"));
            }
            ErrorKind::Dial(DialError::Proxy { fault, .. }) => proxy_fix(fault),
            ErrorKind::Dial(_) => {
                return Some(format!(
                    "check {url}, DNS and the NetworkPolicies between velero-trust and the store"
                ));
            }
            ErrorKind::Expired => "renew the credentials in the Secret",
            ErrorKind::Kms { .. } => {
                "see whether the key exists, is enabled, and may be used by this access key"
            }
            ErrorKind::Changed
            | ErrorKind::CutOff
            | ErrorKind::Late
            | ErrorKind::Server { .. }
            | ErrorKind::TooSlow => {
                "nothing: it is tried again; if it stays, see the store's log and what is between"
            }
            ErrorKind::Malformed(_) | ErrorKind::Size { .. } => {
                return Some(format!(
                    "see whether {url} names the port of the store's API, and what is between"
                ));
            }
            ErrorKind::NoBucket => "create the bucket, or correct spec.objectStorage.bucket",
            ErrorKind::NoFile => "see whether somebody deleted it from the bucket",
            ErrorKind::PresignedUrl(_) => {
                return Some(format!(
                    "see whether {url} is what Velero's plugin uses, and who may write DownloadRequests"
                ));
            }
            ErrorKind::NotTls => {
                return Some(format!("correct the port in {url}, or write http://"));
            }
            ErrorKind::WantsTls => return Some(format!("write https:// in {url}")),
            ErrorKind::OddName { .. } | ErrorKind::TooMany => {
                "look at the folder in the bucket, and delete what Velero did not put there"
            }
            ErrorKind::Tls(_) => "see the store's log, and whether it speaks TLS 1.2 or later",
            ErrorKind::UnknownKey { .. } | ErrorKind::WrongSecretKey => {
                "correct the credentials in the Secret"
            }
            ErrorKind::WrongRegion { .. } => "set spec.config.region to the region of the bucket",
        };
        Some(fix.to_owned())
    }

    /// Returns how the right is given that the action needs.
    fn grant(&self) -> String {
        let writes = matches!(self.action, Action::Put { .. } | Action::Delete { .. });
        match self.provider {
            None | Some(Provider::Aws) => {
                let right = match self.action {
                    Action::Open | Action::List { .. } => "s3:ListBucket on the bucket",
                    Action::Read { .. } => "s3:GetObject on its files",
                    Action::Put { .. } => "s3:PutObject on velero-trust's files",
                    Action::Delete { .. } => "s3:DeleteObject on velero-trust's files",
                };
                format!("allow {right} to this access key in the bucket's policy")
            }
            Some(Provider::Azure) => {
                let role = if writes { "Contributor" } else { "Reader" };
                format!(
                    "give the identity the role Storage Blob Data {role} on the container, and see whether \
                     the account's firewall lets this cluster in"
                )
            }
            Some(Provider::Gcp) => {
                let right = match self.action {
                    Action::Open | Action::List { .. } => "list",
                    Action::Read { .. } => "get",
                    Action::Put { .. } => "create",
                    Action::Delete { .. } => "delete",
                };
                format!("allow storage.objects.{right} on the bucket to this service account")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::credentials::ini::Setting;

    #[test]
    fn what_this_version_cannot_read_is_neither_passing_nor_lasting() {
        let class = |kind: ErrorKind| kind.during(Action::Open).class();
        let provider = SettingsError::Provider("oss".into());
        assert_eq!(class(provider.into()), FailureClass::Unsupported);
        assert_eq!(class(SettingsError::NoBucket.into()), FailureClass::Lasting);
        assert_eq!(class(ErrorKind::NoBucket), FailureClass::Lasting);
        assert_eq!(class(ErrorKind::Late), FailureClass::Passing);
    }

    #[test]
    fn only_a_refusal_is_a_lack_of_rights() {
        let code = || "AccessDenied".to_owned();
        let list = || Action::List { backup: "b".into() };
        let lacks = |kind: ErrorKind| kind.during(list()).lacks_rights();
        assert!(lacks(ErrorKind::AccessDenied { code: code() }));
        assert!(lacks(
            CredentialsError::NotSupported(Setting {
                line: 2,
                name: "sso_session",
            })
            .into()
        ));
        let others = [
            ErrorKind::Late,
            ErrorKind::NoFile,
            ErrorKind::NoBucket,
            ErrorKind::WrongSecretKey,
            ErrorKind::UnknownKey { code: code() },
            ErrorKind::Expired,
            ErrorKind::AccessOrCustomerKey { code: code() },
            CredentialsError::Unavailable { why: code() }.into(),
            CredentialsError::Identity { why: code() }.into(),
        ];
        for other in others {
            assert!(!lacks(other.clone()), "{other}");
        }
        let (backup, file) = ("b".to_owned(), "f".to_owned());
        let put = ErrorKind::AccessDenied { code: code() }.during(Action::Put { backup, file });
        assert!(!put.lacks_rights());
    }

    #[test]
    fn names_and_codes_from_outside_stay_in_one_line() {
        let backup = "a\nb\u{202e}".to_owned();
        let file = "x".repeat(500);
        let error = ErrorKind::OddName {
            file: "\u{7}".into(),
        }
        .during(Action::Read { backup, file });
        let text = error.to_string();
        assert!(text.starts_with(r"backups/a\nb\u{202e}/xxx"), "{text}");
        assert!(text.len() < 250, "{text}");
        assert!(
            text.ends_with(r"`\u{7}` has a name that Velero gives to no file"),
            "{text}"
        );
    }

    #[test]
    fn the_fix_of_a_refusal_names_the_right() {
        let denied = |action| {
            let code = "AccessDenied".to_owned();
            let error = ErrorKind::AccessDenied { code }.during(action);
            error.fix().unwrap()
        };
        let (backup, file) = ("b".to_owned(), "f".to_owned());
        let list = Action::List { backup: "b".into() };
        assert!(denied(list).contains("s3:ListBucket"));
        let put = Action::Put { backup, file };
        assert!(denied(put.clone()).contains("s3:PutObject"));
        let code = "AuthorizationPermissionMismatch".to_owned();
        let error = ErrorKind::AccessDenied { code }.during(put);
        let fix = error.of(Provider::Azure).fix().unwrap();
        assert!(fix.contains("Storage Blob Data Contributor"), "{fix}");
    }
}
