//! Facts: what a decision needs to know beyond the object itself.
//!
//! A check asks for a fact. If the fact was not looked up yet, the check stops with [`Stop::Need`].
//! The caller then resolves all needs of a pass together and makes the decision again.

mod access;
mod backup;
mod bundle;
mod departure;
mod error;
mod files;
mod key;
mod reading;
mod record;
mod secret;
mod trusted_key;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use access::{User, Verb};
pub use backup::{Backup, BackupFields};
pub use bundle::{Bundle, NoBundle};
pub use departure::Departure;
pub use error::{LookupError, LookupErrorKind};
pub use files::{File, ListedFiles, Location, Place, PodVolumes, UnreadFile};
pub use key::Key;
pub use reading::{Covered, FailureClass, Reading, ReadingFailure, SignedList};
pub use record::{BackupRecord, RecordState};
pub use secret::{Sealed, Secret, SecretKeyRef};
pub use trusted_key::{KeyScope, KeyState, SignedLevel, TrustedKey};

/// Something to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lookup {
    /// A Secret, and the key in it that matters. The Secret is found even if it lacks the key.
    Secret(SecretKeyRef),
    /// A Velero Backup.
    Backup(Key),
    /// All Backups of a Velero Schedule. Never absent: a Schedule without any gives an empty list.
    BackupsOfSchedule {
        /// The Velero namespace.
        namespace: String,
        /// The name of the Schedule.
        schedule: String,
    },
    /// The merged CA bundle of a namespace. Looking it up in a cluster creates one if there is
    /// none and the namespace is Velero's, so *found* means that a Pod may mount it.
    Bundle(String),
    /// The records of a Backup: the one of its uid or, unless its files are recorded in that, all of its
    /// name. Never absent where the kind is installed: a Backup without any gives an empty list.
    Records {
        /// The Backup.
        backup: Key,
        /// `metadata.uid` of the Backup in the cluster.
        uid: String,
    },
    /// Whether files of other backups of a location are recorded and signed. Never absent where the kind is
    /// installed.
    SignedBackups {
        /// The Velero namespace.
        namespace: String,
        /// The name of the BackupStorageLocation.
        location: String,
    },
    /// The records of backups of a Schedule that went away without anybody wanting it. Never absent where the kind
    /// is installed.
    LostBackups {
        /// The Velero namespace.
        namespace: String,
        /// The name of the Schedule.
        schedule: String,
    },
    /// All keys that sign backups. Never absent where the kind is installed.
    TrustedKeys,
    /// What the bucket of a location lists of the directory of a backup. Absent if there is no such
    /// location.
    ListedFiles {
        /// The Backup.
        backup: Key,
        /// The name of the BackupStorageLocation, in the namespace of the Backup.
        location: String,
    },
    /// The PodVolumeBackups of a Backup. Never absent: one without any has none.
    PodVolumes(Key),
    /// Whether a user has a verb on a Backup, or on all of its namespace if its name is empty. Never
    /// absent.
    Access {
        /// The user.
        user: Arc<User>,
        /// The verb.
        verb: Verb,
        /// The Backup.
        backup: Key,
    },
}

/// Writes the kind and the key, such as `Secret velero/ca`.
impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(reference) => write!(f, "Secret {}", reference.secret),
            Self::Backup(key) => write!(f, "Backup {key}"),
            Self::BackupsOfSchedule {
                namespace,
                schedule,
            } => {
                write!(f, "Backups of Schedule {namespace}/{schedule}")
            }
            Self::Bundle(namespace) => {
                write!(f, "ConfigMap {namespace}/{}", crate::names::BUNDLE)
            }
            Self::Records { backup, .. } => write!(f, "BackupRecords of Backup {backup}"),
            Self::SignedBackups {
                namespace,
                location,
            } => write!(
                f,
                "signed backups of BackupStorageLocation {namespace}/{location}"
            ),
            Self::LostBackups {
                namespace,
                schedule,
            } => write!(f, "lost backups of Schedule {namespace}/{schedule}"),
            Self::TrustedKeys => f.write_str("TrustedKeys"),
            Self::ListedFiles { backup, location } => write!(
                f,
                "the files of Backup {backup} in BackupStorageLocation {location}"
            ),
            Self::PodVolumes(backup) => write!(f, "PodVolumeBackups of Backup {backup}"),
            Self::Access { verb, backup, .. } => {
                write!(f, "whether the user may {} Backup {backup}", verb.as_str())
            }
        }
    }
}

/// The result of a look-up.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It exists.
    Found(Fact),
    /// It does not exist. Reported only after a live read.
    Absent,
    /// It could not be looked up.
    Unavailable(LookupError),
}

/// The value of a fact that was found.
#[derive(Clone, Debug)]
pub enum Fact {
    /// Answer to [`Lookup::Secret`].
    Secret(Arc<Secret>),
    /// Answer to [`Lookup::Secret`] if the Secret exists but its data cannot be read from this
    /// source.
    Sealed(Arc<Sealed>),
    /// Answer to [`Lookup::Backup`].
    Backup(Arc<Backup>),
    /// Answer to [`Lookup::BackupsOfSchedule`].
    Backups(Arc<Vec<Backup>>),
    /// Answer to [`Lookup::Bundle`].
    Bundle(Bundle),
    /// Answer to [`Lookup::Records`] and [`Lookup::LostBackups`].
    Records(Arc<Vec<BackupRecord>>),
    /// Answer to [`Lookup::SignedBackups`].
    SignedBackups(bool),
    /// Answer to [`Lookup::TrustedKeys`].
    TrustedKeys(Arc<Vec<TrustedKey>>),
    /// Answer to [`Lookup::ListedFiles`].
    ListedFiles(Arc<ListedFiles>),
    /// Answer to [`Lookup::PodVolumes`].
    PodVolumes(PodVolumes),
    /// Answer to [`Lookup::Access`].
    Access(bool),
}

/// The reason why a check stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The fact was not looked up yet.
    Need(Lookup),
    /// The look-up of the fact failed.
    Unknown(Lookup, LookupError),
}

/// A fact, its absence (`Ok(None)`), or the reason why neither is known.
pub type Known<T> = Result<Option<T>, Stop>;

/// The outcomes of all look-ups so far for one decision.
#[derive(Clone, Debug, Default)]
pub struct Facts(HashMap<Lookup, Outcome>);

impl Facts {
    /// Adds the outcome of a look-up.
    pub fn insert(&mut self, lookup: Lookup, outcome: Outcome) {
        self.0.insert(lookup, outcome);
    }

    /// Adds all outcomes of `more`.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    fn get<'a, T>(&'a self, lookup: Lookup, extract: impl Fn(&'a Fact) -> Option<T>) -> Known<T> {
        match self.0.get(&lookup) {
            None => Err(Stop::Need(lookup)),
            Some(Outcome::Absent) => Ok(None),
            Some(Outcome::Unavailable(reason)) => Err(Stop::Unknown(lookup, reason.clone())),
            // A source that answers with a fact of another kind has a bug. Asking again would loop,
            // and "absent" would be wrong.
            Some(Outcome::Found(fact)) => extract(fact).map(Some).ok_or_else(|| {
                let message = format!("the answer to {lookup} is of another kind");
                Stop::Unknown(
                    lookup,
                    LookupError {
                        kind: LookupErrorKind::Unreadable,
                        message,
                    },
                )
            }),
        }
    }
}
