//! Facts: what a decision may need to know beyond the object itself.
//!
//! A check asks for a fact. One that was not looked up yet stops the check with
//! [`Stop::Need`]; the edge resolves all needs of a round together and the decision is made again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

/// A namespaced name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name in it.
    pub name: String,
}

impl Key {
    /// The key of `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// `namespace/name`
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Something to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lookup {
    /// A Secret.
    Secret(Key),
    /// A Velero Backup.
    Backup(Key),
    /// All Backups of a Velero Schedule; never absent, at the least an empty list.
    BackupsOfSchedule {
        /// The namespace of Velero.
        namespace: String,
        /// The name of the Schedule.
        schedule: String,
    },
    /// The merged CA bundle of a namespace. The cluster makes one when there is none, so that
    /// *found* means: a pod may mount it.
    Bundle(String),
}

/// `Secret velero/ca`, as a person would name it.
impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(key) => write!(f, "Secret {key}"),
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
        }
    }
}

/// What a look-up brought.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is there.
    Found(Fact),
    /// It is not there; said only after a live read.
    Absent,
    /// We cannot know now.
    Unavailable(LookupError),
}

/// A fact that was found.
#[derive(Clone, Debug)]
pub enum Fact {
    /// For [`Lookup::Secret`].
    Secret(Arc<Secret>),
    /// For [`Lookup::Secret`] too: there, and nothing to read where we look.
    Sealed(Arc<Sealed>),
    /// For [`Lookup::Backup`].
    Backup(Arc<Backup>),
    /// For [`Lookup::BackupsOfSchedule`].
    Backups(Arc<Vec<Backup>>),
    /// For [`Lookup::Bundle`].
    Bundle(Bundle),
}

/// The data of a Secret. Its `Debug` shows keys and sizes, never contents.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    /// The decoded values by key.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.data.iter().map(|(key, value)| (key, value.len())))
            .finish()
    }
}

/// A Secret that something else will make or decrypt in the cluster, such as an ExternalSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// What it is instead, as it reads behind `the Secret is`: `a SealedSecret`.
    pub by: &'static str,
    /// The keys that it will have, where that can be told.
    pub keys: Option<BTreeSet<String>>,
}

impl Sealed {
    /// Whether it is known that there will be no such key.
    pub fn lacks(&self, key: &str) -> bool {
        self.keys.as_ref().is_some_and(|keys| !keys.contains(key))
    }
}

/// What matters of a Velero Backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Its name.
    pub name: String,
    /// `status.phase`; empty while Velero has not seen it.
    pub phase: String,
    /// `status.startTimestamp`, seconds since 1970.
    pub started: Option<i64>,
    /// The annotation [`crate::names::CHECKSUM_ANNOTATION`], as it stands.
    pub checksum: Option<String>,
}

/// That a namespace has a merged bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The namespace is held ([`crate::names::bundle::HOLD`]): no `AWS_CA_BUNDLE` is set.
    pub held: bool,
}

/// Why a look-up was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupError {
    /// What kind of trouble.
    pub kind: LookupErrorKind,
    /// For the person who reads it: what happened and, if there is something to do, what.
    pub message: String,
}

/// Kinds of trouble with a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupErrorKind {
    /// We have no right to read it; stays so until somebody grants it.
    Forbidden,
    /// No answer in time.
    Timeout,
    /// The API server answered that it cannot answer (429, 5xx), or could not be reached.
    Unreachable,
    /// What was read could not be understood.
    Unreadable,
    /// Something that is not ours has the name of what is ours.
    Foreign,
}

/// Why a check could not be finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The fact was not looked up yet.
    Need(Lookup),
    /// The fact was looked up in vain.
    Unknown(Lookup, LookupError),
}

/// A fact, its absence (`Ok(None)`), or why we have neither.
pub type Known<T> = Result<Option<T>, Stop>;

/// All that was looked up so far for one decision.
#[derive(Clone, Debug, Default)]
pub struct Facts(HashMap<Lookup, Outcome>);

impl Facts {
    /// Remembers what a look-up brought.
    pub fn insert(&mut self, lookup: Lookup, outcome: Outcome) {
        self.0.insert(lookup, outcome);
    }

    /// Remembers what several look-ups brought.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// What stands for the Secret `key`, if it is sealed; ask this before [`Facts::secret`], which
    /// has no answer then.
    pub fn sealed(&self, key: &Key) -> Option<&Sealed> {
        match self.0.get(&Lookup::Secret(key.clone())) {
            Some(Outcome::Found(Fact::Sealed(sealed))) => Some(sealed),
            _ => None,
        }
    }

    /// The Secret `key`.
    pub fn secret(&self, key: &Key) -> Known<&Secret> {
        self.get(Lookup::Secret(key.clone()), |fact| match fact {
            Fact::Secret(secret) => Some(secret.as_ref()),
            _ => None,
        })
    }

    /// The Backup `key`.
    pub fn backup(&self, key: &Key) -> Known<&Backup> {
        self.get(Lookup::Backup(key.clone()), |fact| match fact {
            Fact::Backup(backup) => Some(backup.as_ref()),
            _ => None,
        })
    }

    /// The Backups of a Schedule.
    pub fn backups_of_schedule(&self, namespace: &str, schedule: &str) -> Known<&[Backup]> {
        let lookup = Lookup::BackupsOfSchedule {
            namespace: namespace.to_owned(),
            schedule: schedule.to_owned(),
        };
        self.get(lookup, |fact| match fact {
            Fact::Backups(backups) => Some(backups.as_slice()),
            _ => None,
        })
    }

    /// The merged bundle of `namespace`.
    pub fn bundle(&self, namespace: &str) -> Known<&Bundle> {
        self.get(Lookup::Bundle(namespace.to_owned()), |fact| match fact {
            Fact::Bundle(bundle) => Some(bundle),
            _ => None,
        })
    }

    fn get<'a, T>(&'a self, lookup: Lookup, extract: impl Fn(&'a Fact) -> Option<T>) -> Known<T> {
        match self.0.get(&lookup) {
            None => Err(Stop::Need(lookup)),
            Some(Outcome::Absent) => Ok(None),
            Some(Outcome::Unavailable(reason)) => Err(Stop::Unknown(lookup, reason.clone())),
            // A source that answers a look-up with a fact of another kind has a bug; asking
            // again would loop, and "absent" would be a lie.
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
