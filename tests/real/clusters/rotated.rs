//! Backups that were signed before, between and after rotations of the key.

use super::Two;
use super::site::Site;
use crate::story::{PATIENCE, at, ensure_passed};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::https;
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

pub(super) const BEFORE: &str = "before";
pub(super) const BETWEEN: &str = "between";
pub(super) const AFTER: &str = "after";

/// Lets another key sign in a cluster.
pub(super) fn rotate(site: &Site) -> Result<()> {
    let old = site.key()?;
    ensure_passed("the rotation", &site.velero_trust(&["keys", "rotate"])?)?;
    ensure!(site.key()?.id != old.id, "{} signs still", old.name);
    Ok(())
}

/// A backup, and the key that signed it.
struct Signed {
    backup: &'static str,
    id: String,
    /// `metadata.name` of the key, which is the same in both clusters.
    key: String,
}

/// The backups of each key, and another replica of the second cluster.
struct Bench<'a> {
    first: &'a Site,
    second: &'a Site,
    replica: Webhook,
    before: Signed,
    between: Signed,
    after: Signed,
}

pub(super) fn story(two: &Two) -> Result<()> {
    let Two { first, second } = two;
    let bench = Bench {
        first,
        second,
        replica: second.installation.installer.serve_beside("second")?,
        before: signed(first, BEFORE)?,
        between: signed(first, BETWEEN)?,
        after: signed(first, AFTER)?,
    };
    let ids = [&bench.before.id, &bench.between.id, &bench.after.id];
    ensure!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    let story = || {
        old_ones_only(&bench)?;
        all(&bench)?;
        gone(&bench)?;
        revoked(&bench)?;
        in_the_middle(&bench)
    };
    story().with_context(|| bench.replica.tail())
}

/// Returns a backup that is restored where it was made. Everything is there still, but no Restore begins without a
/// key that counts.
fn signed(site: &Site, backup: &'static str) -> Result<Signed> {
    site.restores(backup).context("where it was made")?;
    let shown = site.velero_trust(&["backup", "show", backup, "-o", "json"])?;
    let shown: Value = serde_json::from_str(&shown.stdout)?;
    let id = at(&shown, "/signed/key").as_str();
    let id = id.with_context(|| shown.to_string())?;
    Ok(Signed {
        backup,
        id: id.to_owned(),
        key: format!("velero-trust-{}", &id[..16]),
    })
}

/// Applies a key as the first cluster exports it for Git.
fn trust(bench: &Bench<'_>, signed: &Signed) -> Result<()> {
    let export = ["keys", "export", &signed.key, "--output", "yaml"];
    let exported = bench.first.velero_trust(&export)?;
    ensure_passed("the export", &exported)?;
    ensure!(exported.stdout.contains("validUntil"), "{exported:?}");
    let kubectl = bench.second.cluster.kubectl();
    kubectl.apply(&exported.stdout).map(drop)
}

/// What the oldest key signed is known, and what later ones signed is not.
fn old_ones_only(bench: &Bench<'_>) -> Result<()> {
    let Bench { second, before, .. } = bench;
    trust(bench, before)?;
    second.has_imported(before.backup, &before.key)?;
    for later in [&bench.between, &bench.after] {
        let says = format!("it is signed by another key: {}", later.id);
        second.has_refused(later.backup, "KeyUnknown", &[&says])?;
    }
    second.restores(before.backup).map(drop)
}

/// With all of them, all is restored, and nothing is signed again.
fn all(bench: &Bench<'_>) -> Result<()> {
    for signed in [&bench.between, &bench.after] {
        trust(bench, signed)?;
        bench.second.has_imported(signed.backup, &signed.key)?;
        let (_, verdict) = bench.second.restores(signed.backup)?;
        ensure!(verdict["level"] != "nobody", "{verdict}");
    }
    Ok(())
}

fn delete(bench: &Bench<'_>, signed: &Signed) -> Result<()> {
    let kubectl = bench.second.cluster.kubectl();
    kubectl.ok(&["delete", "trustedkey", &signed.key]).map(drop)
}

/// A key that is deleted closes what it opened, and no replica lets a Restore begin from then on.
fn gone(bench: &Bench<'_>) -> Result<()> {
    let Bench { second, before, .. } = bench;
    delete(bench, before)?;
    both_refuse(bench, before.backup, &before.id)?;
    second.has_refused(before.backup, "KeyUnknown", &[&before.id])?;
    let says = "its record does not count any more: it is signed by the key";
    second.has_told(before.backup, "BackupUnobserved", says)
}

/// So does one that is revoked; those of other keys stay.
fn revoked(bench: &Bench<'_>) -> Result<()> {
    let Signed { backup, key, .. } = &bench.between;
    let revoke = ["keys", "revoke", key, "--reason", "stolen", "--yes"];
    ensure_passed("the revocation", &bench.second.velero_trust(&revoke)?)?;
    let says = format!("it is signed by the TrustedKey {key}, which is revoked");
    both_refuse(bench, backup, &says)?;
    bench.second.has_refused(backup, "KeyRevoked", &[&says])?;
    bench.second.has_told(backup, "BackupUnobserved", &says)?;
    let other = &bench.after;
    bench
        .second
        .has_imported(other.backup, &other.key)
        .map(drop)
}

/// Keys come and go faster than backups are imported. In the end there is nothing of a key that is gone.
fn in_the_middle(bench: &Bench<'_>) -> Result<()> {
    let after = &bench.after;
    for _ in 0..3 {
        delete(bench, after)?;
        trust(bench, after)?;
    }
    delete(bench, after)?;
    both_refuse(bench, after.backup, &after.id)?;
    bench
        .second
        .has_refused(after.backup, "KeyUnknown", &[&after.id])
}

/// No replica lets a Restore begin. While the leader judges the backup anew, it waits.
fn both_refuse(bench: &Bench<'_>, backup: &str, says: &str) -> Result<()> {
    wait::poll("the other replica to refuse", PATIENCE, || {
        let answer = ask(bench, backup)?;
        ensure!(*at(&answer, "/response/allowed") == false, "{answer}");
        ensure!(answer.to_string().contains(says), "{answer}");
        Ok(())
    })?;
    bench.second.refuses(backup, &[says])
}

/// Asks the other replica about a Restore, as the API server would.
fn ask(bench: &Bench<'_>, backup: &str) -> Result<Value> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "asked",
            "kind": {"group": "velero.io", "version": "v1", "kind": "Restore"},
            "resource": {"group": "velero.io", "version": "v1", "resource": "restores"},
            "name": "asked", "namespace": "velero", "operation": "CREATE",
            "userInfo": {"username": "jane"},
            "object": {"metadata": {"name": "asked"}, "spec": {"backupName": backup}},
        }
    });
    let url = format!("{}/validate/restores?timeout=10s", bench.replica.url);
    let ca = bench.second.installation.installer.ca()?;
    let headers = [("Content-Type", "application/json")];
    let answer = https::send("POST", &url, &ca, &headers, &review.to_string())?;
    Ok(serde_json::from_str(&answer.body)?)
}
