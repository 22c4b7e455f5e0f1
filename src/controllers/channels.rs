//! The channels between the reconcilers of one Velero namespace, which never import each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::ca::certificate::Certificate;
use crate::ca::hold::EndpointVerdict;

/// The certificates of the published bundle; empty until it is published.
pub(super) type PublishedCertificatesSender = watch::Sender<Arc<[Certificate]>>;

/// The verdicts on the endpoints of each location, by its name. A location without an entry was not
/// probed yet.
pub(super) type EndpointVerdicts = BTreeMap<String, Vec<EndpointVerdict>>;

/// The current verdicts; `None` if endpoints are not probed at all.
pub(super) type VerdictsSender = watch::Sender<Option<EndpointVerdicts>>;
