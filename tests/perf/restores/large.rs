//! A backup with a tarball of 1 GB, restored by Velero alone and with velero-trust, which reads all of it
//! for each Restore.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use velero_trust_testing::cluster::BUCKET;
use velero_trust_testing::scratch;

use super::bed::Bed;
use crate::figures::{self, median, row};
use crate::recorder::transfer;

/// Restores of each kind; the result is the median.
const ROUNDS: usize = 3;

/// The time with velero-trust, compared with that of Velero alone.
const RATIO: f64 = 1.3;

/// Adds a file of 1 GB that cannot be compressed to the tarball in the folder `$1`. Velero unpacks it, and
/// restores nothing from it.
const PAD: &str = r#"set -e; cd "$1"; gzip -d big.tar.gz; mkdir padding
head -c 1000000000 /dev/urandom > padding/random
tar -rf big.tar padding/random; rm padding/random; gzip -1 big.tar"#;

/// Makes the backup, and returns how long Velero alone needs for each Restore.
pub(super) fn without(bed: &Bed) -> Result<Vec<Duration>> {
    bed.back_up("big", "default")?;
    let folder = scratch::folder("large")?;
    pad(bed, folder.path())?;
    let rounds = 0..ROUNDS;
    rounds
        .map(|round| bed.restore(&format!("alone-{round}"), "big"))
        .collect()
}

/// Lets the backup be recorded, and compares.
pub(super) fn with(bed: &Bed, alone: &[Duration]) -> Result<()> {
    bed.velero_trust()?.ok(&["backup", "adopt", "big"])?;
    bed.is_recorded("big")?;
    let rounds = 0..ROUNDS;
    let with = rounds.map(|round| bed.restore(&format!("with-{round}"), "big"));
    let with = with.collect::<Result<Vec<_>>>()?;
    figures::head("Restores: a tarball of 1 GB");
    let seconds = |times: &[Duration]| median(times.iter().map(Duration::as_secs_f64).collect());
    let (alone, with) = (seconds(alone), seconds(&with));
    row("by Velero alone, median of 3", alone, "s", None);
    row("with velero-trust, median of 3", with, "s", None);
    row("  ratio", with / alone, "", Some(RATIO));
    Ok(())
}

fn pad(bed: &Bed, folder: &Path) -> Result<()> {
    let store = bed.store()?;
    let listing = bed.cluster.block_on(store.list("big"))?;
    let mut artifacts = listing.artifacts.iter();
    let tarball = artifacts.find(|artifact| artifact.name == "big.tar.gz");
    let tarball = tarball.context("no tarball")?;
    let reading = bed.cluster.block_on(store.read("big", tarball))?;
    let bytes = bed.cluster.block_on(reading.bytes(tarball.size))?;
    let file = folder.join("big.tar.gz");
    fs::write(&file, bytes)?;
    let padded = Command::new("/bin/sh")
        .args(["-c", PAD, "sh"])
        .arg(folder)
        .status()?;
    ensure!(padded.success(), "the tarball cannot be padded: {padded}");
    let minio = bed.cluster.minio()?;
    let ca = folder.join("minio.crt");
    fs::write(&ca, minio.authority.pem())?;
    let url = format!("{}/{BUCKET}/backups/big/big.tar.gz", minio.url);
    transfer::upload(&file, &url, &ca)
}
