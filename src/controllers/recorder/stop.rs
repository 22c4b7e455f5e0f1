//! Why files are not recorded, or not read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::download::TarballRecord;
use super::import::{Imported, NotImported};
use super::steps::message;
use crate::bucket::{self, ErrorKind};
use crate::decision::FailureClass;
use crate::integrity::manifest::ManifestError;
use crate::integrity::origin::Unobserved;
use crate::kubernetes::crds::{BackupRecord, RecordedFailure};
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::pod_volume_backups::PodVolumeBackupsError;

/// Why files could not be read.
pub(super) struct Unreadable {
    /// One word for it.
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// What can be expected of it.
    pub(super) class: FailureClass,
    /// Whether velero-trust has no rights to the bucket. Velero may have.
    pub(super) lacks_rights: bool,
}

impl Unreadable {
    /// Returns why they could not be read, nor the tarball by a URL of Velero's.
    pub(super) fn nor(self, by_velero: &Self) -> Self {
        let message = format!(
            "{}; nor can the tarball be read by a DownloadRequest of Velero's: {}",
            self.message, by_velero.message
        );
        Self { message, ..self }
    }
}

/// Why files are not recorded.
pub(super) enum Stop {
    /// They are not known to be those that Velero wrote here.
    Unobserved(Unobserved),
    /// They could not be read.
    Unreadable(Unreadable),
    /// They are those of this record, by what velero-backup.json and the Backup say.
    Known(Box<BackupRecord>),
    /// Only the tarball could be read, by a URL of Velero's.
    Tarball(Box<TarballRecord>),
    /// A signed list beside them vouches for them.
    Imported(Box<Imported>),
    /// They came by sync, and no signed list vouches for them here.
    NotImported(Box<NotImported>),
    /// They changed meanwhile, or are gone.
    Changed,
    /// They are not to be read, only looked up.
    NotKnown,
    /// There is no key to sign with, for which all wait.
    NoKey,
}

impl From<Unobserved> for Stop {
    fn from(unobserved: Unobserved) -> Self {
        Self::Unobserved(unobserved)
    }
}

impl From<ManifestError> for Stop {
    fn from(error: ManifestError) -> Self {
        Self::Unobserved(error.into())
    }
}

impl From<bucket::Error> for Stop {
    fn from(error: bucket::Error) -> Self {
        if matches!(error.kind, ErrorKind::Changed) {
            return Self::Changed;
        }
        Self::Unreadable(Unreadable {
            reason: error.reason(),
            message: error.with_fix(),
            class: error.class(),
            lacks_rights: error.lacks_rights(),
        })
    }
}

impl From<PodVolumeBackupsError> for Stop {
    fn from(error: PodVolumeBackupsError) -> Self {
        if let PodVolumeBackupsError::Api(error) = &error {
            return Self::unanswered("PodVolumeBackupsUnreadable", error);
        }
        Self::unreadable("TooManyPodVolumeBackups", error.with_fix())
    }
}

impl Stop {
    pub(super) const fn unreadable(reason: &'static str, message: String) -> Self {
        Self::Unreadable(Unreadable {
            reason,
            message,
            class: FailureClass::Lasting,
            lacks_rights: false,
        })
    }

    /// The directory of `backup` is empty. The location may be pointed elsewhere for a moment, and a
    /// judgement stays.
    pub(super) fn no_files(backup: &str, location: &str) -> Self {
        let message = format!(
            "there is no file of Velero in backups/{backup}/; see whether the BackupStorageLocation {location} \
             names the bucket and the prefix to which Velero wrote the backup"
        );
        Self::unreadable("NoFiles", message)
    }

    /// Returns it for people.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Unobserved(unobserved) => unobserved.to_string(),
            Self::Unreadable(unreadable) => unreadable.message.clone(),
            Self::NotImported(not) => not.judgement().to_string(),
            Self::NoKey => "there is no key to sign with".to_owned(),
            Self::Known(_)
            | Self::Imported(_)
            | Self::Tarball(_)
            | Self::NotKnown
            | Self::Changed => "it changed meanwhile".to_owned(),
        }
    }

    /// The API server does not answer, or refuses.
    pub(super) fn unanswered(reason: &'static str, error: &kube::Error) -> Self {
        Self::Unreadable(Unreadable {
            reason,
            message: lookup_error(error).message,
            class: FailureClass::Passing,
            lacks_rights: false,
        })
    }
}

/// Returns what is noted about files that are `unreadable` at `now`, after `last`; `None` if that is no news.
pub(super) fn failure(
    last: Option<&RecordedFailure>,
    unreadable: &Unreadable,
    now: Time,
) -> Option<RecordedFailure> {
    let class = unreadable.class;
    let same = last.filter(|last| last.class == class);
    let new = RecordedFailure {
        reason: unreadable.reason.to_owned(),
        message: message(&unreadable.message),
        class,
        since: same.map_or(now, |last| last.since.clone()),
    };
    let is_news = same.is_none_or(|last| {
        // A store that fails in many ways by turns is no news with each of them.
        let is_same_text = class == FailureClass::Passing || last.message == new.message;
        last.reason != new.reason || !is_same_text
    });
    is_news.then_some(new)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn time(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).unwrap())
    }

    #[test]
    fn a_failure_that_lasts_keeps_its_beginning() {
        let unreadable = |reason, message: &str, class| Unreadable {
            reason,
            message: message.into(),
            class,
            lacks_rights: false,
        };
        let (passing, lasting) = (FailureClass::Passing, FailureClass::Lasting);
        let (denied, late) = ("Denied", "Late");
        let first = failure(None, &unreadable(denied, "a", lasting), time(1)).unwrap();
        assert_eq!((first.since.clone(), first.class), (time(1), lasting));
        let next = |last: &RecordedFailure, reason, message: &str, class| {
            failure(Some(last), &unreadable(reason, message, class), time(9))
        };
        assert_eq!(next(&first, denied, "a", lasting), None);
        let other = next(&first, denied, "b\n", lasting).unwrap();
        assert_eq!(other.since, time(1));
        let down = next(&other, late, "c", passing).unwrap();
        assert_eq!(down.since, time(9));
        assert_eq!(next(&down, late, "d", passing), None);
        assert_eq!(next(&down, denied, "a", lasting).unwrap().since, time(9));
    }
}
