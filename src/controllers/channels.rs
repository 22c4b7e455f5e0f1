//! The channels between reconcilers, which never import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use crate::ca::certificate::Certificate;
use crate::ca::hold::EndpointVerdict;
use crate::decision::Key;
use crate::kubernetes::crds::ReadingMark;

/// The certificates of the published bundle; empty until it is published.
pub(super) type PublishedCertificatesSender = watch::Sender<Arc<[Certificate]>>;

/// The verdicts on the endpoints of each location, by its name. A location without an entry was not
/// probed yet.
pub(super) type EndpointVerdicts = BTreeMap<String, Vec<EndpointVerdict>>;

/// The current verdicts; `None` if endpoints are not probed at all.
pub(super) type VerdictsSender = watch::Sender<Option<EndpointVerdicts>>;

/// The Restores of one Backup that Velero did not begin to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WaitingRestores {
    /// UIDs of those that wait for the files of the Backup to be read.
    pub(super) unread: BTreeSet<String>,
    /// UIDs of the others. The next reading counts for them, too.
    pub(super) others: BTreeSet<String>,
    /// The readings that do not count any more: the bucket lists something else.
    pub(super) stale: Vec<ReadingMark>,
}

/// The Restores that wait, by their Backup. A Backup without any has no entry.
pub(super) type WaitingByBackup = Arc<BTreeMap<Key, WaitingRestores>>;

/// Why nothing is read for Restores, for people, whatever backup they wait for; `None` if that is not so.
pub(super) type ReadingTroubleSender = watch::Sender<Option<&'static str>>;

/// The other end of a [`ReadingTroubleSender`].
pub(super) type ReadingTroubleReceiver = watch::Receiver<Option<&'static str>>;

/// What is known of the Restores that wait; `None` until all are known.
pub(super) type WaitingReceiver = watch::Receiver<Option<WaitingByBackup>>;
