//! The names that velero-trust defines or sets: labels, annotations, objects, files, environment
//! variables and paths.
//!
//! Labels and annotations always have the prefix `velero-trust.io`, never `velero.io`, which
//! belongs to Velero.

/// Prefix of every label and annotation that velero-trust defines.
pub const PREFIX: &str = "velero-trust.io/";

/// The namespace that is no Velero namespace unless the operator includes it: no Pod of it is changed
/// and it gets no bundle, so that no fault of velero-trust reaches what a cluster runs on.
pub const EXCLUDED_NAMESPACE: &str = "kube-system";

/// Annotation on a BSL that names its CA as `<secret>/<key>`, for Velero before 1.18: its BSL has
/// no `caCertRef` (the API server drops the unknown field before admission sees it).
pub const CA_SECRET_ANNOTATION: &str = "velero-trust.io/ca-secret";

/// Annotation on a Backup with the checksum of its tarball, `sha256:<64 hex>`.
pub const CHECKSUM_ANNOTATION: &str = "velero-trust.io/checksum";

/// Annotation on a Backup with the SHA-256 of the signed statement about all its files,
/// `sha256:<64 hex>`.
pub const MANIFEST_ANNOTATION: &str = "velero-trust.io/manifest";

/// Annotation on a Backup with the time at which its files were recorded, RFC 3339.
pub const VERIFIED_AT_ANNOTATION: &str = "velero-trust.io/verified-at";

/// Annotation on a Backup with the name of the user who vouches for its files, and asks to record them.
/// An admission policy holds that it is the name of who sets it.
pub const ADOPT_ANNOTATION: &str = "velero-trust.io/adopt";

/// Annotation on a Backup, beside [`ADOPT_ANNOTATION`], with the checksum of a tarball that is not to be
/// read, `sha256:<64 hex>`.
pub const DECLARED_CHECKSUM_ANNOTATION: &str = "velero-trust.io/declared-checksum";

/// The annotations with which no Backup is created. Those of a record are written once the files are
/// read, and who vouches for a backup does so when there is one.
pub const RESERVED_BACKUP_ANNOTATIONS: [&str; 5] = [
    CHECKSUM_ANNOTATION,
    MANIFEST_ANNOTATION,
    VERIFIED_AT_ANNOTATION,
    ADOPT_ANNOTATION,
    DECLARED_CHECKSUM_ANNOTATION,
];

/// ClusterRole of those who may vouch for backups, bound to nobody.
pub const ATTEST_ROLE: &str = "velero-trust-attest";

/// ClusterRole of those who may restore a backup of which nothing is known, bound to nobody.
pub const RESTORE_UNVERIFIED_ROLE: &str = "velero-trust-restore-unverified";

/// ClusterRole of those who may restore a backup that is known not to be the recorded one as well, bound
/// to nobody.
pub const RESTORE_TAMPERED_ROLE: &str = "velero-trust-restore-tampered";

/// Label on a BackupRecord with the name of the Backup, cut as Velero cuts names in labels.
pub const BACKUP_LABEL: &str = "velero-trust.io/backup";

/// Label on a BackupRecord with the name of the BackupStorageLocation that the Backup had when the record was
/// made, cut likewise.
pub const LOCATION_LABEL: &str = "velero-trust.io/location";

/// Label on a BackupRecord whose Backup went away without anybody wanting it, with the name of its Schedule, cut
/// likewise.
pub const LOST_SCHEDULE_LABEL: &str = "velero-trust.io/lost-from-schedule";

/// Annotation on a Restore with the checksum that its backup is expected to have.
pub const BACKUP_CHECKSUM_ANNOTATION: &str = "velero-trust.io/backup-checksum";

/// Annotation on a Restore with the reason for which a user restores what is not known to be good. It
/// counts only with the user's right to do so, from the moment in which the Restore is created.
pub const ACCEPT_INSECURE_ANNOTATION: &str = "velero-trust.io/accept-insecure";

/// Annotation on a Restore with the name of the user who gave the reason of
/// [`ACCEPT_INSECURE_ANNOTATION`]. velero-trust writes it.
pub const ACCEPTED_BY_ANNOTATION: &str = "velero-trust.io/accepted-by";

/// Annotation on a Restore with the verb that this user has, `restore-unverified` or
/// `restore-tampered`. velero-trust writes it.
pub const ACCEPTED_WITH_ANNOTATION: &str = "velero-trust.io/accepted-with";

/// Annotation on a Restore with what was known of its backup when Velero began it. velero-trust writes
/// it.
pub const VERDICT_ANNOTATION: &str = "velero-trust.io/verdict";

/// Annotation on a Restore that waits with the time at which velero-trust last asked Velero to try it
/// again. It changes nothing else, and may be anybody's.
pub const RECONCILE_ANNOTATION: &str = "velero-trust.io/reconcile-requested-at";

/// The annotations that velero-trust writes on Restores.
pub const RESERVED_RESTORE_ANNOTATIONS: [&str; 4] = [
    ACCEPTED_BY_ANNOTATION,
    ACCEPTED_WITH_ANNOTATION,
    VERDICT_ANNOTATION,
    RECONCILE_ANNOTATION,
];

/// Label or annotation on a Pod. `"false"` excludes the Pod from the injection. `"true"`, as a
/// label, requests the injection for a Pod that is not Velero's.
pub const INJECT: &str = "velero-trust.io/inject";

/// Annotations on the bundle's ConfigMap.
pub mod bundle {
    /// Hash of the bundle's text, `sha256:<hex>`.
    pub const HASH: &str = "velero-trust.io/bundle-hash";
    /// Number of certificates in the bundle.
    pub const COUNT: &str = "velero-trust.io/certificates";
    /// Number of certificates per origin, such as `public=118 locations=2`.
    pub const ORIGINS: &str = "velero-trust.io/origins";
    /// Time when the first certificate expires, RFC 3339.
    pub const EARLIEST_EXPIRY: &str = "velero-trust.io/earliest-expiry";
    /// Time when a certificate was last added, RFC 3339. A process reads `SSL_CERT_DIR` only once,
    /// so a process that started earlier does not trust that certificate through it.
    pub const LAST_ADDED: &str = "velero-trust.io/last-added";
    /// Reason why the namespace is held; absent while it is not. The Pods of a held namespace get
    /// no `AWS_CA_BUNDLE`, because a location that works today would not verify with the bundle
    /// alone.
    pub const HOLD: &str = "velero-trust.io/hold";
}

/// Label on a ConfigMap or Secret in velero-trust's own namespace. `"true"` adds its certificates
/// to every bundle.
pub const EXTRA_CA_LABEL: &str = "velero-trust.io/ca";

/// Label on a namespace. `"true"` makes it a Velero namespace even if it holds no BSL yet.
pub const VELERO_NAMESPACE_LABEL: &str = "velero-trust.io/velero";

/// Label on a webhook configuration, with the resource that its only webhook reviews. Earlier
/// versions had one configuration with several webhooks, and without this label.
pub const WEBHOOK_LABEL: &str = "velero-trust.io/webhook";

/// Name prefix of the ConfigMaps in which the publisher remembers certificates. They are in
/// velero-trust's own namespace, one for each Velero namespace, whose name is the rest of the name.
pub const MEMORY_PREFIX: &str = "velero-trust-memory.";

/// Name prefix of the ConfigMaps in which the controllers report what `velero-trust status` shows.
/// They are in velero-trust's own namespace, one for each Velero namespace, whose name is the rest
/// of the name.
pub const REPORT_PREFIX: &str = "velero-trust-report.";

/// Name of the ConfigMap in which the leader publishes the certificate that it presents, without its
/// key, for `velero-trust status`. It is in velero-trust's own namespace.
pub const SERVING_CERTIFICATE: &str = "velero-trust-serving-certificate";

/// Name of the ConfigMap in which the leader says what became of the activation of the webhooks. It is in
/// velero-trust's own namespace.
pub const ACTIVATION: &str = "velero-trust-activation";

/// Name of the ConfigMap that the leader applies by dry run to see whether the API server reaches
/// velero-trust. It is never stored.
pub const CANARY: &str = "velero-trust-canary";

/// Label of that ConfigMap.
pub const CANARY_LABEL: &str = "velero-trust.io/canary";

/// Name of a ConfigMap in velero-trust's own namespace. While it is there no webhook is made active.
pub const OFF: &str = "velero-trust-off";

/// Annotation of one of our CustomResourceDefinitions with which an administrator says, by `true`, that it may be
/// deleted, with all objects of that kind.
pub const ALLOW_DELETION: &str = "velero-trust.io/allow-deletion";

/// Secret in our own namespace with the CA of the serving certificates.
pub const SERVING_CA: &str = "velero-trust-serving-ca";

/// Annotation of that Secret with which somebody asks for a new CA; its value is not read.
pub const ROTATE: &str = "velero-trust.io/rotate-requested-at";

/// Annotation on a report. A new value, such as the time, asks the leader to probe the endpoints of
/// the namespace now. The report says which request is done.
pub const PROBE_REQUESTED: &str = "velero-trust.io/probe-requested";

/// Most characters of a request. It is repeated in the report.
pub const MAX_PROBE_REQUEST_CHARS: usize = 64;

/// Key of the report in its ConfigMap.
pub const REPORT_KEY: &str = "report.json";

/// Name of the bundle's ConfigMap in every Velero namespace, and of the volume that mounts it.
pub const BUNDLE: &str = "velero-trust-ca";

/// Key of the bundle in its ConfigMap, and therefore the file name below [`MOUNT_PATH`].
pub const BUNDLE_KEY: &str = "ca-bundle.crt";

/// Path at which the bundle is mounted. Velero itself does not use it.
pub const MOUNT_PATH: &str = "/certs";

/// Environment variable with the path of the AWS SDK's CA bundle file.
pub const AWS_CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// Value of [`AWS_CA_BUNDLE`] in an injected container.
pub const AWS_CA_BUNDLE_VALUE: &str = "/certs/ca-bundle.crt";

/// Environment variable with the directories from which Go reads its roots (kopia, restic, other
/// providers).
pub const SSL_CERT_DIR: &str = "SSL_CERT_DIR";

/// Value of [`SSL_CERT_DIR`] in an injected container: [`MOUNT_PATH`], then the directories that Go
/// reads when the variable is unset (`crypto/x509/root_linux.go`), so that everything that was
/// trusted before stays trusted.
pub const SSL_CERT_DIR_VALUE: &str = "/certs:/etc/ssl/certs:/etc/pki/tls/certs";

/// Field manager of the publisher, which owns the bundle.
pub const FIELD_MANAGER: &str = "velero-trust";

/// Field manager of the webhook when it creates a bundle before the publisher did. The webhook
/// never forces a conflict, so the publisher always wins.
pub const BOOTSTRAP_FIELD_MANAGER: &str = "velero-trust-bootstrap";

/// ClusterRole that lets velero-trust read Secrets, bound by a RoleBinding in each Velero
/// namespace.
pub const SECRET_READER_ROLE: &str = "velero-trust-secret-reader";

/// Start of the names of the Roles in `kube-system` that let velero-trust read a single Secret each.
pub const CA_READER_ROLE: &str = "velero-trust-ca-reader";

/// Secret in velero-trust's own namespace with the key that signs backups.
pub const SIGNING_KEY: &str = "velero-trust-signing-key";

/// Key of that Secret with the private key in PEM.
pub const PRIVATE_KEY: &str = "key.pem";

/// Key of that Secret with the public key in PEM, for people.
pub const PUBLIC_KEY: &str = "key.pub";

/// Annotation on a TrustedKey with the time at which a person exported its private half, RFC 3339.
pub const EXPORTED_AT: &str = "velero-trust.io/exported-at";

/// Annotation on a TrustedKey with the reason for which a person revoked it.
pub const REVOKED_BECAUSE: &str = "velero-trust.io/revoked-because";

/// Default name of velero-trust's own namespace, ServiceAccount, Deployment and Service.
pub const APP: &str = "velero-trust";
