//! Every name that is ours: labels, annotations, objects, files, environment variables and paths.
//!
//! Their prefix is always `velero-trust.io`, never `velero.io`, which belongs to Velero.

/// The prefix of every label and annotation of ours.
pub const PREFIX: &str = "velero-trust.io/";

/// Annotation on a BSL that names its CA as `<secret>/<key>`, for Velero before 1.18, whose
/// BSL has no `caCertRef` (the API server drops the unknown field before admission sees it).
pub const CA_SECRET_ANNOTATION: &str = "velero-trust.io/ca-secret";

/// Annotation on a Backup: `sha256:<64 hex>` of its tarball.
pub const CHECKSUM_ANNOTATION: &str = "velero-trust.io/checksum";

/// Annotation on a Restore: the checksum that its backup is expected to have.
pub const BACKUP_CHECKSUM_ANNOTATION: &str = "velero-trust.io/backup-checksum";

/// Label or annotation on a Pod: `"false"` keeps us out of it; as a label, `"true"` asks for the
/// injection in a pod that is not Velero's.
pub const INJECT: &str = "velero-trust.io/inject";

/// Annotations on the bundle ConfigMap.
pub mod bundle {
    /// `sha256:<hex>` of the bundle's text.
    pub const HASH: &str = "velero-trust.io/bundle-hash";
    /// How many certificates it holds.
    pub const COUNT: &str = "velero-trust.io/certificates";
    /// How many of them come from where, such as `public=118 locations=2`.
    pub const ORIGINS: &str = "velero-trust.io/origins";
    /// When the first of them expires, RFC 3339.
    pub const EARLIEST_EXPIRY: &str = "velero-trust.io/earliest-expiry";
    /// When a certificate was last added, RFC 3339. A process reads `SSL_CERT_DIR` once: one that
    /// started earlier does not trust it there.
    pub const LAST_ADDED: &str = "velero-trust.io/last-added";
    /// Present while the namespace is held, and why: its Pods get no `AWS_CA_BUNDLE`, because a
    /// location that works today would not verify with the bundle alone.
    pub const HOLD: &str = "velero-trust.io/hold";
}

/// Label on a ConfigMap or Secret of our own namespace: `"true"` adds its certificates to every
/// bundle.
pub const EXTRA_CA_LABEL: &str = "velero-trust.io/ca";

/// Label on a namespace: `"true"` makes it a Velero namespace although it holds no BSL yet.
pub const VELERO_NAMESPACE_LABEL: &str = "velero-trust.io/velero";

/// Prefix of the ConfigMaps in our own namespace, one a Velero namespace, in which the publisher
/// remembers certificates; the rest of the name is the namespace.
pub const MEMORY_PREFIX: &str = "velero-trust-memory.";

/// Prefix of the ConfigMaps in our own namespace, one a Velero namespace, in which the controllers
/// report what `velero-trust status` shows; the rest of the name is the namespace.
pub const REPORT_PREFIX: &str = "velero-trust-report.";

/// Key of the report in its ConfigMap.
pub const REPORT_KEY: &str = "report.json";

/// Name of the bundle ConfigMap in every Velero namespace, and of the volume that mounts it.
pub const BUNDLE: &str = "velero-trust-ca";

/// Key of the bundle in its ConfigMap, and so the file's name below [`MOUNT_PATH`].
pub const BUNDLE_KEY: &str = "ca-bundle.crt";

/// Where the bundle is mounted; Velero itself uses no such path.
pub const MOUNT_PATH: &str = "/certs";

/// Variable that the AWS SDK reads its CA bundle file from.
pub const AWS_CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// Value of [`AWS_CA_BUNDLE`] in an injected container.
pub const AWS_CA_BUNDLE_VALUE: &str = "/certs/ca-bundle.crt";

/// Variable with the directories that Go reads its roots from (kopia, restic, other providers).
pub const SSL_CERT_DIR: &str = "SSL_CERT_DIR";

/// Value of [`SSL_CERT_DIR`]: ours first, then the directories that Go reads when it is unset
/// (`crypto/x509/root_linux.go`), so that nothing which was trusted is lost.
pub const SSL_CERT_DIR_VALUE: &str = "/certs:/etc/ssl/certs:/etc/pki/tls/certs";

/// Field manager of the publisher, which owns the bundle.
pub const FIELD_MANAGER: &str = "velero-trust";

/// Field manager of the webhook when it creates a bundle that no publisher made yet; it never
/// forces, so that the publisher always wins.
pub const BOOTSTRAP_FIELD_MANAGER: &str = "velero-trust-bootstrap";

/// ClusterRole that lets us read Secrets; bound by a RoleBinding in each Velero namespace.
pub const SECRET_READER_ROLE: &str = "velero-trust-secret-reader";

/// Our own namespace, ServiceAccount, Deployment and Service, when nobody renamed them.
pub const APP: &str = "velero-trust";
