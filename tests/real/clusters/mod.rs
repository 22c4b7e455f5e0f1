//! Several clusters whose Veleros share one bucket: what each says of the backups of the others.
//!
//! Each cluster is a real one, with an API server, Velero and velero-trust of its own. The namespaces and
//! the names in them are the same everywhere. Users drive all of it by the commands of the documentation.

mod adopted;
mod again;
mod changed;
mod deleted;
mod departed;
mod disaster;
mod files;
mod namespaces;
mod rotated;
mod schedule;
mod scoped;
mod site;
mod trust;
mod vouched;

use crate::shared::{alone, told};
use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use site::Site;
use std::sync::{Arc, OnceLock};
use std::thread;
use velero_trust_testing::cluster::{BUCKET, VELERO_NAMESPACE};
use velero_trust_testing::failure;
use velero_trust_testing::minio::Minio;

/// The backups that are made in the first cluster, each of a namespace of its name. Each trial has its own.
/// Another key signs after each line.
const BACKUPS: [&[&str]; 4] = [
    &[rotated::BEFORE],
    &[rotated::BETWEEN],
    &[rotated::AFTER],
    &[
        vouched::BY_DIGEST,
        vouched::BY_ACCEPTANCE,
        adopted::BACKUP,
        deleted::BACKUP,
        departed::BACKUP,
        again::BACKUP,
        changed::BACKUP,
        scoped::BACKUP,
    ],
];

/// Two clusters. The second one knows the backups of the first one by Velero's sync.
struct Two {
    first: Site,
    second: Site,
}

impl Two {
    fn start() -> Result<Self> {
        let buckets = [BUCKET, scoped::PRIMARY, scoped::REPLICA];
        let minio = Arc::new(Minio::start(&buckets)?);
        let prepare = || Site::prepare(&minio, BUCKET);
        let (first, second) = thread::scope(|scope| {
            let second = scope.spawn(prepare);
            let first = prepare().and_then(|mut first| {
                make_backups(&mut first)?;
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

    /// Starts Velero in the second cluster, which looks into the buckets at once.
    fn ready(mut self) -> Result<Self> {
        let copied = [scoped::REPLICATED];
        let files = self.first.files(scoped::PRIMARY, scoped::REPLICATED)?;
        let second = &mut self.second;
        second.put(scoped::REPLICA, scoped::REPLICATED, &files)?;
        second.locate_as(scoped::REPLICA, VELERO_NAMESPACE, scoped::REPLICA)?;
        second.start_velero()?;
        for backups in BACKUPS.iter().copied().chain([&copied[..]]) {
            second.has_judged(backups, "KeyUnknown")?;
        }
        Ok(self)
    }

    fn logs(&self) -> Vec<String> {
        [self.first.logs(), self.second.logs()].concat()
    }
}

fn make_backups(site: &mut Site) -> Result<()> {
    site.locate_as(scoped::PRIMARY, VELERO_NAMESPACE, scoped::PRIMARY)?;
    site.start_velero()?;
    for (number, backups) in BACKUPS.iter().enumerate() {
        if number > 0 {
            rotated::rotate(site)?;
        }
        for name in *backups {
            site.back_up(name)?;
        }
        site.has_recorded(backups)?;
    }
    let location = ["--storage-location", scoped::PRIMARY];
    site.back_up_with(scoped::REPLICATED, &location)?;
    site.has_recorded(&[scoped::REPLICATED])
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

/// Fails with the errors of all rows of a table, not of the first one alone.
fn all(rows: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let errors = rows.into_iter().filter_map(Result::err);
    let errors: Vec<_> = errors.map(|error| format!("{error:#}")).collect();
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    Ok(())
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
        shared.trial(
            "clusters::what_goes_away_and_comes_back_is_remembered",
            departed::story,
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
            "clusters::a_key_counts_within_its_trustedkey",
            scoped::story,
        ),
        shared.trial(
            "clusters::backups_of_every_key_restore_while_it_is_trusted",
            rotated::story,
        ),
        shared.trial("clusters::what_is_changed_is_not_imported", changed::story),
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
