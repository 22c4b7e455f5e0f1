//! What a user may do, as a fact.

use std::sync::Arc;

use super::{Fact, Facts, Key, Known, Lookup};

/// The user of a request, as the API server tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    /// The name.
    pub name: String,
    /// The uid; empty if there is none.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else the authenticator told.
    pub extra: Vec<(String, Vec<String>)>,
}

/// A verb on Backups, which Velero and Kubernetes do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// To restore a backup of which nothing is known.
    RestoreUnverified,
    /// To restore a backup that is known not to be the one that was recorded.
    RestoreTampered,
}

impl Verb {
    /// All, the weakest first.
    pub const ALL: [Self; 2] = [Self::RestoreUnverified, Self::RestoreTampered];

    /// Returns the verb with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }

    /// Returns the verb, as a rule of RBAC names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RestoreUnverified => "restore-unverified",
            Self::RestoreTampered => "restore-tampered",
        }
    }
}

impl Facts {
    /// Whether `user` has `verb` on `backup`; on all Backups of the namespace if its name is empty.
    pub fn may(&self, user: &Arc<User>, verb: Verb, backup: &Key) -> Known<&bool> {
        let lookup = Lookup::Access {
            user: Arc::clone(user),
            verb,
            backup: backup.clone(),
        };
        self.get(lookup, |fact| match fact {
            Fact::Access(is_allowed) => Some(is_allowed),
            _ => None,
        })
    }
}
