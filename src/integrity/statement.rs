//! What is signed about a backup: an in-toto Statement
//! (<https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>).
//!
//! The bytes that are signed are kept and never serialized again, so nothing depends on how JSON is
//! written.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::files;
use super::manifest::{Manifest, ManifestError};
pub use crate::decision::Location;
use crate::decision::{File, PodVolumes, SignedLevel};
use crate::digest::Sha256;
use crate::velero::backup_fields::BackupFields;
use crate::velero::text::shown;

/// `_type` of a Statement.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// `predicateType` of a statement about a backup of Velero.
pub const PREDICATE_TYPE: &str = "https://velero-trust.io/velero-backup/v1";

/// Who vouches for the bytes that are signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "level")]
pub enum Level {
    /// velero-trust saw the backup complete and read its files then.
    Observed,
    /// velero-trust read the files later. That they are those of the completion rests on the times
    /// that the store reports.
    Late,
    /// A person said that the files are right.
    #[serde(rename_all = "camelCase")]
    Adopted {
        /// The name of the user.
        by: String,
    },
}

impl Level {
    /// Returns the level without the user.
    pub const fn kind(&self) -> SignedLevel {
        match self {
            Self::Observed => SignedLevel::Observed,
            Self::Late => SignedLevel::Late,
            Self::Adopted { .. } => SignedLevel::Adopted,
        }
    }

    /// Returns the name of the level.
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observed => f.write_str("when the backup completed"),
            Self::Late => f.write_str(
                "after the backup completed; that the files are unchanged since rests on the clock \
                 of the store",
            ),
            Self::Adopted { by } => write!(f, "on the word of {}", shown(by)),
        }
    }
}

/// Everything that is signed about one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// All files.
    pub manifest: Manifest,
    /// The uid of the namespace kube-system, which identifies the cluster.
    pub cluster: String,
    /// The Backup.
    pub backup: BackupFields,
    /// Where the files were read.
    pub location: Location,
    /// The PodVolumeBackups.
    pub pod_volumes: PodVolumes,
    /// Who vouches for it.
    pub level: Level,
    /// The public half of the key that signs, in PEM. It lets a cluster that knows only the id of the key trust
    /// it; nothing else depends on it.
    pub public_key: Option<String>,
}

/// Why bytes are no statement that can be judged.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// A statement about something else, or of a later version of velero-trust.
    #[error("it is a statement of type \"{}\", which this version does not know", shown(.0))]
    Unknown(String),
    /// Not the JSON of a statement.
    #[error("it is not the JSON of a statement about a backup: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A list of files that is none of a backup.
    #[error("it lists no backup: {0}")]
    Manifest(#[from] ManifestError),
}

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

/// The types alone, which decide whether the rest can be read.
#[derive(Deserialize)]
struct Types {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: Digest,
    annotations: Annotations,
}

#[derive(Serialize, Deserialize)]
struct Digest {
    sha256: Sha256,
}

#[derive(Serialize, Deserialize)]
struct Annotations {
    size: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    cluster: Cluster,
    backup: BackupFields,
    location: Location,
    /// The files that Velero reads if they are there, and that are not.
    absent: Vec<String>,
    pod_volume_backups: PodVolumes,
    recorded: Level,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signer: Option<Signer>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signer {
    public_key: String,
}

#[derive(Serialize, Deserialize)]
struct Cluster {
    uid: String,
}

impl Statement {
    /// Returns the bytes to sign.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let absent = files::optional(&self.backup.name);
        let document = Document {
            kind: STATEMENT_TYPE.to_owned(),
            subject: self.manifest.files().iter().map(subject).collect(),
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Predicate {
                cluster: Cluster {
                    uid: self.cluster.clone(),
                },
                backup: self.backup.clone(),
                location: self.location.clone(),
                absent: absent
                    .filter(|name| self.manifest.file(name).is_none())
                    .collect(),
                pod_volume_backups: self.pod_volumes,
                recorded: self.level.clone(),
                signer: self
                    .public_key
                    .clone()
                    .map(|public_key| Signer { public_key }),
            },
        };
        serde_json::to_vec(&document)
    }

    /// Reads signed bytes. Fields of a later version that do not change its meaning are ignored, as
    /// in-toto asks for: one that does has another predicate type.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let types: Types = serde_json::from_slice(bytes)?;
        for (given, known) in [
            (types.kind, STATEMENT_TYPE),
            (types.predicate_type, PREDICATE_TYPE),
        ] {
            if given != known {
                return Err(StatementError::Unknown(given));
            }
        }
        let document: Document = serde_json::from_slice(bytes)?;
        let predicate = document.predicate;
        let files = document.subject.into_iter().map(File::from).collect();
        Ok(Self {
            manifest: Manifest::new(&predicate.backup.name, files)?,
            cluster: predicate.cluster.uid,
            backup: predicate.backup,
            location: predicate.location,
            pod_volumes: predicate.pod_volume_backups,
            level: predicate.recorded,
            public_key: predicate.signer.map(|signer| signer.public_key),
        })
    }

    /// Returns the digest of the tarball.
    pub fn tarball(&self) -> Option<Sha256> {
        let tarball = self.manifest.file(&files::tarball(&self.backup.name));
        tarball.map(|file| file.sha256)
    }
}

fn subject(file: &File) -> Subject {
    Subject {
        name: file.name.clone(),
        digest: Digest {
            sha256: file.sha256,
        },
        annotations: Annotations { size: file.size },
    }
}

impl From<Subject> for File {
    fn from(subject: Subject) -> Self {
        Self {
            name: subject.name,
            size: subject.annotations.size,
            sha256: subject.digest.sha256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn statement() -> Statement {
        let names = ["velero-backup.json", "b.tar.gz", "b-volumeinfo.json.gz"];
        let files = names.map(|name| File {
            name: name.to_owned(),
            size: 7,
            sha256: Sha256::of(name.as_bytes()),
        });
        Statement {
            manifest: Manifest::new("b", files.into()).unwrap(),
            cluster: "cluster-uid".into(),
            backup: BackupFields {
                namespace: "velero".into(),
                name: "b".into(),
                uid: "uid".into(),
                phase: "Completed".into(),
                schedule: Some("daily".into()),
                started: Some("2026-01-01T00:00:00Z".into()),
                completed: Some("2026-01-01T00:01:00Z".into()),
                format_version: Some("1.1.0".into()),
                snapshot_move_data: true,
            },
            location: Location {
                provider: "aws".into(),
                bucket: "bucket".into(),
                prefix: "a/b".into(),
            },
            pod_volumes: PodVolumes::none(),
            level: Level::Adopted { by: "jane".into() },
            public_key: Some("PEM".into()),
        }
    }

    fn document() -> Value {
        serde_json::from_slice(&statement().to_bytes().unwrap()).unwrap()
    }

    fn parse(document: &Value) -> Result<Statement, StatementError> {
        Statement::parse(document.to_string().as_bytes())
    }

    #[test]
    fn the_bytes_are_an_in_toto_statement_and_are_read_back() {
        let document = document();
        let tarball = json!({
            "name": "b.tar.gz",
            "digest": {"sha256": Sha256::of(b"b.tar.gz").to_string()},
            "annotations": {"size": 7},
        });
        assert_eq!(document["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(document["subject"][1], tarball);
        let predicate = &document["predicate"];
        assert_eq!(
            predicate["recorded"],
            json!({"level": "adopted", "by": "jane"})
        );
        assert_eq!(predicate["backup"]["snapshotMoveData"], true);
        let absent = predicate["absent"].as_array().unwrap();
        assert_eq!(absent.len(), 6);
        assert!(absent.contains(&json!("b-csi-volumesnapshots.json.gz")));
        assert!(!absent.contains(&json!("b-volumeinfo.json.gz")));
        assert_eq!(parse(&document).unwrap(), statement());
        assert_eq!(statement().tarball(), Some(Sha256::of(b"b.tar.gz")));
    }

    #[test]
    fn what_a_later_version_adds_is_ignored_and_what_it_changes_is_unknown() {
        let mut later = document();
        later["predicate"]["reason"] = json!("more");
        later["subject"][0]["annotations"]["etag"] = json!("x");
        assert_eq!(parse(&later).unwrap(), statement());
        for (field, value) in [
            ("_type", "https://in-toto.io/Statement/v2"),
            ("predicateType", "https://velero-trust.io/velero-backup/v2"),
            ("predicateType", "https://slsa.dev/provenance/v1"),
        ] {
            let mut other = json!({"_type": STATEMENT_TYPE, "predicateType": PREDICATE_TYPE});
            other[field] = json!(value);
            let error = parse(&other).unwrap_err();
            assert!(
                matches!(&error, StatementError::Unknown(kind) if kind == value),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_statement_about_a_backup_is_not_read() {
        let mut renamed = document();
        renamed["predicate"]["backup"]["name"] = json!("c");
        assert!(matches!(parse(&renamed), Err(StatementError::Manifest(_))));
        let mut wrong = document();
        wrong["predicate"]["recorded"]["level"] = json!("guessed");
        assert!(matches!(parse(&wrong), Err(StatementError::Malformed(_))));
        let mut digest = document();
        digest["subject"][0]["digest"]["sha256"] = json!("abc");
        assert!(matches!(parse(&digest), Err(StatementError::Malformed(_))));
        let twice =
            document()
                .to_string()
                .replacen("\"subject\":", "\"subject\":[],\"subject\":", 1);
        let error = Statement::parse(twice.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("duplicate field"), "{error}");
        assert!(matches!(
            Statement::parse(b""),
            Err(StatementError::Malformed(_))
        ));
    }
}
