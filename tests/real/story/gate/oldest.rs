//! The oldest Velero that is tried: its server stops where the newest one does.

use super::Bed;
use crate::story::recorded::open;
use crate::story::{ensure_passed, velero};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

pub(super) fn story(bed: &mut Bed) -> Result<()> {
    let version = velero(&bed.cluster, &["version"])?;
    let server = version.stdout.rsplit("Server:").next().unwrap_or_default();
    ensure!(server.contains("v1.14.0"), "{version:?}");
    bed.open()?;
    for name in ["good", "tampered"] {
        bed.make(name, &[])?;
    }
    bed.are_recorded(&["good", "tampered"])?;
    bed.close()?;
    bed.restores("untouched", "good", "observed")?;

    let store = bed.cluster.block_on(open(&bed.cluster))?;
    let file = "tampered.tar.gz";
    let listing = bed.cluster.block_on(store.list("tampered"))?;
    let tarball = listing.get(file).context("no tarball")?;
    let reading = bed.cluster.block_on(store.read("tampered", tarball))?;
    let mut bytes = bed.cluster.block_on(reading.bytes(tarball.size))?;
    *bytes.last_mut().context("an empty file")? ^= 1;
    bed.cluster.block_on(store.put("tampered", file, bytes))?;
    ensure_passed(file, &bed.create("changed", "tampered", &Value::Null)?)?;
    let words = [
        "[VT115]",
        file,
        "differ from those that were signed",
        "expected sha256:",
        "found sha256:",
    ];
    bed.is_stopped("changed", &words)?;
    let described = velero(&bed.cluster, &["restore", "describe", "changed"])?;
    ensure_passed("describe", &described)?;
    for word in ["FailedValidation", "Validation errors:", "[VT115]", file] {
        ensure!(described.stdout.contains(word), "{word}: {described:?}");
    }
    Ok(())
}
