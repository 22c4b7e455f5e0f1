//! A Restore that is ready, alone and beside others that wait.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::store_proxy::StoreProxy;
use velero_trust_testing::wait;

use super::PATIENCE;
use super::bed::{self, Bed};
use crate::figures::{self, median, row};

/// Restores that wait.
const WAITING: usize = 20;

/// Restores that are timed; the result is the median.
const ROUNDS: usize = 7;

/// The time beside those that wait, compared with that alone.
const RATIO: f64 = 1.5;

/// Longest time from the moment at which the files are read to Velero's next try, in s.
const NEXT_TRY: f64 = 3.0;

/// Time after which Velero tries those that wait rarely.
const SETTLE: Duration = Duration::from_secs(40);

/// The bucket of those that wait.
const SPARE: &str = "spare";

/// Makes the backup `good` in the location `default`, and measures.
pub(super) fn measure(bed: &Bed) -> Result<()> {
    let minio = bed.cluster.minio()?;
    minio.make_bucket(SPARE)?;
    let proxy = StoreProxy::start(minio)?;
    bed::add_location(&bed.cluster, SPARE, SPARE, &json!({"s3Url": proxy.url}))?;
    bed.is_available(SPARE)?;
    for (name, location) in [("good", "default"), ("stuck", SPARE)] {
        bed.back_up(name, location)?;
        bed.is_recorded(name)?;
    }
    let alone = restore(bed, "alone-beside")?;
    let next_tries = next_tries(bed, "alone-beside")?;

    proxy.hold(|_, _| true);
    let waiting: Vec<_> = (0..WAITING).map(|index| format!("stuck-{index}")).collect();
    for name in &waiting {
        bed.create(name, "stuck")?;
    }
    wait::poll("Velero to try all", PATIENCE, || {
        let reviews = bed.installation()?.webhook.events("review waits");
        let has_waited = |name: &&String| reviews.iter().any(|review| review["name"] == ***name);
        let tried = waiting.iter().filter(has_waited).count();
        ensure!(tried == WAITING, "{tried} were tried");
        Ok(())
    })?;
    let early = restore(bed, "early")?;
    std::thread::sleep(SETTLE);
    let beside = restore(bed, "beside")?;
    let reviews = bed.installation()?.webhook.events("review waits");
    let reviews = reviews
        .iter()
        .filter_map(|review| review["milliseconds"].as_f64());
    let reviews: Vec<_> = reviews
        .map(|time| Duration::from_secs_f64(time / 1e3))
        .collect();
    for name in &waiting {
        let phase = bed.phase("Restore", name)?;
        ensure!(phase.is_empty() || phase == "New", "{name} is {phase}");
    }
    let delete = ["delete", "restores", "--wait=false", "-n", VELERO_NAMESPACE];
    let names: Vec<_> = waiting.iter().map(String::as_str).collect();
    bed.cluster.kubectl().ok(&[&delete[..], &names].concat())?;

    figures::head("Restores: a small one, alone and beside 20 that wait");
    row("alone, median of 7", alone, "s", None);
    row("beside the others, median of 7", beside, "s", None);
    row("  ratio", beside / alone, "", Some(RATIO));
    // Velero tries a Restore that waits again after 5 ms, and doubles that each time.
    row("while those are new, median of 7", early, "s", None);
    row("  ratio", early / alone, "", None);
    figures::times("review that lets one wait", &reviews, None);
    let longest = next_tries.into_iter().fold(0.0, f64::max);
    row(
        "from the reading to Velero's next try, longest",
        longest,
        "s",
        Some(NEXT_TRY),
    );
    Ok(())
}

/// Returns the median time of Restores of `good`, in s.
fn restore(bed: &Bed, name: &str) -> Result<f64> {
    let rounds = 0..ROUNDS;
    let times = rounds.map(|round| bed.restore(&format!("{name}-{round}"), "good"));
    let times = times.collect::<Result<Vec<_>>>()?;
    Ok(median(times.iter().map(Duration::as_secs_f64).collect()))
}

/// Returns the times from the last reading before each of the Restores to the review in which Velero began
/// it, in s.
fn next_tries(bed: &Bed, name: &str) -> Result<Vec<f64>> {
    let time = |event: &Value| event["timestamp"].as_str()?.parse::<Timestamp>().ok();
    let webhook = &bed.installation()?.webhook;
    let readings = webhook.events("read the files for Restores");
    let admitted = webhook.events("review admitted");
    let tries = (0..ROUNDS).map(|round| {
        let name = format!("{name}-{round}");
        let mut begun = admitted
            .iter()
            .filter(|review| review["name"] == *name && review["operation"] == "UPDATE");
        let begun = begun.next().and_then(time).context("it did not begin")?;
        let before = readings
            .iter()
            .filter_map(time)
            .filter(|read| *read <= begun);
        let read = before.max().context("nothing was read")?;
        Ok(begun.duration_since(read).as_secs_f64())
    });
    tries.collect()
}
