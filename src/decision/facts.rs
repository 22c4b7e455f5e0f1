//! Facts: what a decision needs to know beyond the object itself.
//!
//! A check asks for a fact. If the fact was not looked up yet, the check stops with [`Stop::Need`].
//! The caller then resolves all needs of a pass together and makes the decision again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

/// The namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// Returns the key of `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// Writes `namespace/name`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            // An object in a file that names no namespace.
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A key of a Secret. A look-up names it, so that a source keeps no other value of the Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKeyRef {
    /// The Secret.
    pub secret: Key,
    /// The key in the Secret.
    pub key: String,
}

impl SecretKeyRef {
    /// Returns a reference to `key` of the Secret `name` in `namespace`.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        Self {
            secret: Key::new(namespace, name),
            key: key.into(),
        }
    }
}

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
}

/// The data of a Secret. `Debug` shows keys and sizes, never the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    /// Decoded values by key. Keys that no look-up named may be left out.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.data.iter().map(|(key, value)| (key, value.len())))
            .finish()
    }
}

/// A Secret that another controller creates or decrypts in the cluster, such as an ExternalSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The kind of object that stands for the Secret, as it reads after `the Secret is`, such as
    /// `a SealedSecret`.
    pub by: Cow<'static, str>,
    /// The keys that the Secret will have; `None` if they are not known.
    pub keys: Option<BTreeSet<String>>,
}

impl Sealed {
    /// Whether the Secret is known not to have `key`.
    pub fn lacks(&self, key: &str) -> bool {
        self.keys.as_ref().is_some_and(|keys| !keys.contains(key))
    }
}

/// The fields of a Velero Backup that decisions use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// `metadata.name`.
    pub name: String,
    /// `status.phase`; empty until Velero sets it.
    pub phase: String,
    /// `status.startTimestamp` in seconds since 1970.
    pub started: Option<i64>,
    /// Value of the annotation [`crate::names::CHECKSUM_ANNOTATION`], not validated.
    pub checksum: Option<String>,
}

/// The merged bundle of a namespace, which exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Whether the namespace is held ([`crate::names::bundle::HOLD`]): `AWS_CA_BUNDLE` is not set.
    pub held: bool,
}

/// The reason why a look-up failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupError {
    /// The kind of error.
    pub kind: LookupErrorKind,
    /// Message for users: what happened and, if they can do something about it, what.
    pub message: String,
}

/// The kinds of [`LookupError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupErrorKind {
    /// velero-trust has no right to read the object, until somebody grants it.
    Forbidden,
    /// No answer within the time limit.
    Timeout,
    /// The API server returned 429 or 5xx, or could not be reached.
    Unreachable,
    /// The answer could not be parsed.
    Unreadable,
    /// An object with velero-trust's name belongs to somebody else.
    Foreign,
    /// There is no bundle, and none is made in this namespace.
    NoBundle(NoBundle),
}

/// Why a review of a Pod makes no bundle in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBundle {
    /// Nothing in the cluster says that the namespace is Velero's.
    NotVelero,
    /// The namespace does not exist.
    NoNamespace,
    /// The namespace is velero-trust's own. Only the controllers write there.
    OwnNamespace,
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

    /// Returns the size of the values of Secrets that were looked up, in bytes.
    pub fn secret_bytes(&self) -> usize {
        let values = self.0.iter().filter_map(|found| match found {
            (Lookup::Secret(reference), Outcome::Found(Fact::Secret(secret))) => {
                secret.data.get(&reference.key)
            }
            _ => None,
        });
        values.map(Vec::len).sum()
    }

    /// Returns what stands for the Secret of `reference`, if it is sealed. Call this before
    /// [`Facts::secret`], which has no answer for a sealed Secret.
    pub fn sealed(&self, reference: &SecretKeyRef) -> Option<&Sealed> {
        match self.0.get(&Lookup::Secret(reference.clone())) {
            Some(Outcome::Found(Fact::Sealed(sealed))) => Some(sealed),
            _ => None,
        }
    }

    /// Returns the Secret of `reference`, which may lack the key.
    pub fn secret(&self, reference: &SecretKeyRef) -> Known<&Secret> {
        self.get(Lookup::Secret(reference.clone()), |fact| match fact {
            Fact::Secret(secret) => Some(secret.as_ref()),
            _ => None,
        })
    }

    /// Returns the Backup `key`.
    pub fn backup(&self, key: &Key) -> Known<&Backup> {
        self.get(Lookup::Backup(key.clone()), |fact| match fact {
            Fact::Backup(backup) => Some(backup.as_ref()),
            _ => None,
        })
    }

    /// Returns the Backups of a Schedule.
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

    /// Returns the merged bundle of `namespace`.
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
