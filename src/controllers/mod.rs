//! The controllers, which run beside admission and never delay it.
//!
//! Every replica can run them, but only the [`leader`] does. For each Velero namespace
//! ([`namespaces`]) it runs one task with four reconcilers: [`bundle`] publishes the merged CA
//! bundle, [`endpoints`] probes the stores, [`coverage`] audits the Pods, and [`status`] writes the
//! report that `velero-trust status` reads. For all namespaces together, [`recorder`] records backups and
//! reads them for Restores, and [`restores`] follows those. A reconciler never imports another one. They share
//! [`channels`], the [`records`], the [`report_handle`] and the [`event_deduper`]. The [`garbage_collector`] deletes
//! what namespaces that are no longer Velero's leave. [`activation`] makes the webhooks active, and
//! [`webhooks`] tells whether they are.

mod activation;
mod bundle;
mod ca_rotation;
mod channels;
mod coverage;
mod endpoints;
mod event_deduper;
mod garbage_collector;
pub mod leader;
mod locations;
mod namespaces;
mod observed_bundle;
mod own_config_maps;
mod recorder;
mod records;
mod refused_extra_cas;
pub mod removal;
mod report_handle;
mod restores;
mod serving_certificate;
mod status;
#[cfg(test)]
mod testing;
mod webhooks;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::sync::watch;

use crate::admission::webhook_state::Issuer;
use crate::ca::endpoint::DeniedAddresses;
use crate::ca::serving_certificate::ServingCertificate;
use crate::decision::Policy;
use crate::dial::Proxies;
use crate::integrity::public_key::Algorithm;
use crate::kubernetes::events::{self, Events};
use crate::kubernetes::serving_ca::ServingCaHandle;
use crate::names;
use crate::sources::Source;
use crate::sources::cluster::CommonRootsReceiver;
use crate::telemetry::Metrics;

pub use activation::CaSource;
pub use bundle::{BuildPermits, EvaluationQuota};
pub use endpoints::probe;

/// What the controllers depend on.
pub struct ControllerContext {
    /// The client for controllers.
    pub client: Client,
    /// The client for the Lease.
    pub lease: Client,
    /// Answers look-ups.
    pub source: Arc<dyn Source>,
    /// The certificates in every bundle.
    pub common_roots: CommonRootsReceiver,
    /// The certificate that this replica presents; `None` if it is not known.
    pub certificate: watch::Receiver<Option<ServingCertificate>>,
    /// The severity of each rule.
    pub policy: Arc<Policy>,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Writes Events.
    pub events: Events,
    /// Limits how many bundles are built at the same time.
    pub permits: BuildPermits,
    /// Bounds the memory for what is kept of all evaluations.
    pub evaluations: EvaluationQuota,
    /// The options.
    pub settings: Settings,
}

/// The options of the controllers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our own namespace.
    pub namespace: String,
    /// The identity of this replica in the Lease.
    pub identity: String,
    /// Time for which a CA stays in the bundle after nothing names it any longer.
    pub retention: Duration,
    /// The addresses that are never dialled; `None` if endpoints are not probed, so that no
    /// namespace is held.
    pub probe: Option<DeniedAddresses>,
    /// The proxies between this process and object stores.
    pub proxies: Proxies,
    /// Where the CA of the serving certificate comes from; `None` if the webhooks are made active by
    /// command.
    pub activation: Option<CaSource>,
    /// Whether velero-trust is being removed.
    pub removing: watch::Receiver<bool>,
    /// velero-trust's own CA; `None` if the serving certificate comes from files.
    pub serving_ca: Option<ServingCaHandle>,
    /// The options of the recorder; `None` if no backup is recorded.
    pub recorder: Option<RecorderSettings>,
}

/// The options of the recorder.
#[derive(Clone, Debug)]
pub struct RecorderSettings {
    /// The addresses that are never dialled.
    pub denied: DeniedAddresses,
    /// Whether backups are recorded that were complete before they were seen.
    pub records_existing: bool,
    /// Whether Velero is asked for the tarball of a backup where velero-trust has no rights to the bucket.
    pub download_requests: bool,
    /// Time for which a record is kept after its Backup went away.
    pub retention: Duration,
    /// The algorithm of a key that is made to sign.
    pub key_type: Algorithm,
}

impl ControllerContext {
    /// Returns our own Deployment, as the object of Events.
    fn own_deployment(&self) -> ObjectReference {
        events::deployment(&self.settings.namespace, names::APP)
    }

    /// Returns who issues the serving certificate.
    const fn issuer(&self) -> Issuer {
        match self.settings.serving_ca {
            Some(_) => Issuer::Own,
            None => Issuer::Files,
        }
    }
}

impl fmt::Debug for ControllerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControllerContext")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ControllerContext {
        /// Controllers of the cluster behind `client`, without probes and without retention.
        pub(super) fn for_test(
            client: Client,
            source: Arc<dyn Source>,
            common_roots: CommonRootsReceiver,
        ) -> Self {
            Self {
                source,
                common_roots,
                certificate: watch::channel(None).1,
                policy: Arc::new(Policy::default()),
                metrics: Arc::new(Metrics::default()),
                events: Events::new(client.clone(), "us"),
                permits: BuildPermits::default(),
                evaluations: EvaluationQuota::default(),
                lease: client.clone(),
                client,
                settings: Settings {
                    namespace: "velero-trust".to_owned(),
                    identity: "us".to_owned(),
                    retention: Duration::ZERO,
                    probe: None,
                    proxies: Proxies::default(),
                    activation: None,
                    removing: watch::channel(false).1,
                    serving_ca: None,
                    recorder: None,
                },
            }
        }
    }
}
