//! Several clusters whose Veleros share one bucket: what each says of the backups of the others.
//!
//! Each cluster is a real one, with an API server, Velero and velero-trust of its own. The namespaces and
//! the names in them are the same everywhere. Users drive all of it by the commands of the documentation.

mod adopted;
mod deleted;
mod disaster;
mod namespaces;
mod site;
mod vouched;

use crate::shared::{alone, told};
use anyhow::{Context as _, Result, anyhow};
use libtest_mimic::Trial;
use site::Site;
use std::sync::{Arc, OnceLock};
use std::thread;
use velero_trust_testing::cluster::BUCKET;
use velero_trust_testing::failure;
use velero_trust_testing::minio::Minio;

/// The backups that are made in the first cluster, each of a namespace of its name. Each trial has its own.
const BACKUPS: [&str; 4] = [
    vouched::BY_DIGEST,
    vouched::BY_ACCEPTANCE,
    adopted::BACKUP,
    deleted::BACKUP,
];

/// Two clusters. The second one knows the backups of the first one by Velero's sync.
struct Two {
    first: Site,
    second: Site,
}

impl Two {
    fn start() -> Result<Self> {
        let minio = Arc::new(Minio::start(&[BUCKET])?);
        let prepare = || Site::prepare(&minio, BUCKET);
        let (first, second) = thread::scope(|scope| {
            let second = scope.spawn(prepare);
            let first = prepare().and_then(|mut first| {
                first.start_velero()?;
                for name in BACKUPS {
                    first.back_up(name)?;
                }
                Ok(first)
            });
            let second = second.join();
            (first, second.map_err(|_| anyhow!("a thread panicked")))
        });
        let two = Self {
            first: first.context("the first cluster")?,
            second: second?.context("the second cluster")?,
        };
        two.ready()
    }

    /// Starts Velero in the second cluster, which looks into the bucket at once.
    fn ready(mut self) -> Result<Self> {
        self.first.has_recorded(&BACKUPS)?;
        self.second.start_velero()?;
        self.second.has_judged(&BACKUPS, "KeyUnknown")?;
        Ok(self)
    }

    fn logs(&self) -> Vec<String> {
        [self.first.logs(), self.second.logs()].concat()
    }
}

/// The two clusters that trials share. The first trial that needs them starts them.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<OnceLock<Result<Two, String>>>);

impl Shared {
    fn trial(&self, name: &str, run: fn(&Two) -> Result<()>) -> Trial {
        let shared = self.clone();
        told(name, move || {
            let two = shared.0.get_or_init(|| {
                let two = Two::start().context("the two clusters did not start");
                two.map_err(|error| failure::tell(&error, &[]))
            });
            let two = two.as_ref().map_err(Clone::clone)?;
            run(two).map_err(|error| failure::tell(&error, &two.logs()))
        })
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    let shared = Shared::default();
    // While one thread starts the shared clusters, the others have trials that do not wait for them.
    vec![
        alone(
            "clusters::two_velero_namespaces_share_a_bucket",
            namespaces::story,
        ),
        shared.trial(
            "clusters::what_another_cluster_deletes_is_told",
            deleted::story,
        ),
        alone(
            "clusters::an_empty_cluster_restores_with_one_sentence",
            disaster::with_nothing,
        ),
        alone(
            "clusters::an_empty_cluster_restores_by_a_key_that_was_kept",
            disaster::with_the_key,
        ),
        shared.trial(
            "clusters::each_cluster_has_its_own_envelope",
            adopted::story,
        ),
        shared.trial(
            "clusters::a_synced_backup_needs_somebody_who_vouches",
            vouched::story,
        ),
    ]
}
