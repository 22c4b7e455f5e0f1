//! Somebody takes the newest backups of a schedule from the bucket, so that an older one is restored.

use super::departed::same;
use super::site::Site;
use crate::story::{PATIENCE, at, ensure_passed, ensure_refused, get, velero};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use velero_trust_testing::cluster::{BUCKET, VELERO_NAMESPACE};
use velero_trust_testing::wait;

const SCHEDULE: &str = "nightly";

/// What is left, and what is taken.
const LEFT: &str = "nightly-1";
const TAKEN: &str = "nightly-2";
const NEWEST: &str = "nightly-3";

/// The records of what is taken.
pub(super) struct Taken([(&'static str, Value); 2]);

impl Taken {
    pub(super) fn take(site: &Site) -> Result<Self> {
        let kubectl = site.cluster.kubectl();
        kubectl.ok(&["create", "namespace", SCHEDULE])?;
        let create = ["schedule", "create", SCHEDULE, "--schedule", "0 0 1 1 *"];
        let of = ["--include-namespaces", SCHEDULE];
        let created = velero(&site.cluster, &[&create[..], &of].concat())?;
        ensure_passed("the schedule", &created)?;
        for backup in [LEFT, TAKEN, NEWEST] {
            let create = ["backup", "create", backup, "--from-schedule", SCHEDULE];
            let created = velero(&site.cluster, &[&create[..], &["--wait"]].concat())?;
            ensure_passed(backup, &created)?;
            site.has_recorded(&[backup])?;
            is_over(site, backup)?;
        }
        let records = [site.record(TAKEN)?, site.record(NEWEST)?];
        let [taken, newest] = records;
        for backup in [TAKEN, NEWEST] {
            site.take(BUCKET, backup)?;
        }
        Ok(Self([(TAKEN, taken), (NEWEST, newest)]))
    }

    /// It is told of them, and of each Restore by the schedule.
    pub(super) fn has_vanished(&self, site: &Site) -> Result<()> {
        for (backup, record) in &self.0 {
            wait::poll(&format!("{backup} to be gone"), PATIENCE, || {
                let found = velero(&site.cluster, &["backup", "get", backup])?;
                ensure_refused(backup, &found, &["not found"])?;
                let gone = same(site, backup, record)?;
                let how = at(&gone, "/status/gone/how");
                ensure!(*how == "Vanished", "{}", gone["status"]);
                Ok(())
            })?;
            let says = "it went away, and nobody asked the Velero of this cluster to delete it";
            site.has_told(backup, "BackupVanished", says)?;
        }
        ensure!(lost(site)? >= self.0.len(), "{} are counted", lost(site)?);

        let restore = json!({
            "apiVersion": "velero.io/v1", "kind": "Restore",
            "metadata": {"name": "warned", "namespace": VELERO_NAMESPACE},
            "spec": {"scheduleName": SCHEDULE},
        });
        let create = ["create", "--dry-run=server", "-f", "-"];
        let kubectl = site.cluster.kubectl();
        let warned = kubectl.run_with_input(&create, &restore.to_string())?;
        ensure_passed("by the schedule", &warned)?;
        let says = "newer backups of this schedule are gone: nightly-3, nightly-2";
        for word in ["[VT127]", says] {
            ensure!(warned.stderr.contains(word), "no `{word}`: {warned:?}");
        }

        // The command of Velero shows no warnings; our log has them.
        let create = ["restore", "create", "newest", "--from-schedule", SCHEDULE];
        ensure_passed("by Velero", &velero(&site.cluster, &create)?)?;
        let reviews = site.installation.webhook.events("review admitted");
        let is_told = |review: &Value| review["name"] == "newest" && review["rules"] == "VT127";
        ensure!(reviews.iter().any(is_told), "{reviews:?}");
        wait::poll("the Restore to be done", PATIENCE, || {
            let restore = get(&site.cluster, "restore", "newest")?;
            let from = at(&restore, "/spec/backupName");
            ensure!(*from == LEFT, "{from}");
            let phase = at(&restore, "/status/phase");
            ensure!(*phase == "Completed", "{phase}");
            Ok(())
        })
    }
}

/// Waits for the next second: Velero takes any of several that began in the same one.
fn is_over(site: &Site, backup: &str) -> Result<()> {
    let made = get(&site.cluster, "backup", backup)?;
    let started = at(&made, "/status/startTimestamp").as_str();
    let started: Timestamp = started.context("no time")?.parse()?;
    wait::poll("the next second", wait::PATIENCE, || {
        let now = Timestamp::now().as_second();
        ensure!(now > started.as_second() + 1, "{now}");
        Ok(())
    })
}

/// Returns the metric of backups that vanished.
fn lost(site: &Site) -> Result<usize> {
    let metrics = site.installation.webhook.metrics()?;
    let mut lines = metrics.lines();
    let lost = lines.find_map(|line| line.strip_prefix("velero_trust_backups_lost_total "));
    Ok(lost.context("no such metric")?.parse()?)
}
