//! Restores on the real API server: which ones are denied, with which message, and which are
//! admitted.

use crate::shared::Shared;
use crate::words::{is_admitted, is_refused};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust_testing::cli::Output;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::{self, Installation};

/// The checksum of the good backups here.
const GOOD: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A well-formed checksum that no good backup has.
const OTHER: &str = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![
        shared.installed("restores::are_let_through_with_a_checksum", let_through),
        shared.installed("restores::are_refused_each_with_its_reason", refused),
        shared.installed(
            "restores::with_a_malformed_checksum_are_refused",
            refused_when_malformed,
        ),
        shared.installed(
            "restores::of_a_schedule_take_its_newest_completed_backup",
            of_a_schedule,
        ),
    ]
}

/// A Restore and the expected message.
struct Row {
    name: &'static str,
    spec: Value,
    expected: Option<String>,
    said: Vec<&'static str>,
}

fn row(name: &'static str, spec: Value, expected: Option<&str>, said: &[&'static str]) -> Row {
    Row {
        name,
        spec,
        expected: expected.map(str::to_owned),
        said: said.to_vec(),
    }
}

fn refused(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("restores")?;
    backup(cluster, &namespace, "good", Some(GOOD), None)?;
    backup(cluster, &namespace, "bare", None, None)?;
    let rows = [
        row(
            "bare",
            json!({"backupName": "bare"}),
            None,
            &[
                "[VT101]",
                "spec.backupName: Backup ",
                "velero-trust backup adopt bare",
            ],
        ),
        row(
            "missing",
            json!({"backupName": "missing"}),
            None,
            &["[VT103]", "spec.backupName: ", "/missing does not exist"],
        ),
        row(
            "disagree",
            json!({"backupName": "good"}),
            Some(OTHER),
            &[
                "[VT104]",
                "metadata.annotations[velero-trust.io/backup-checksum]: ",
                "expects sha256:ffff",
            ],
        ),
        row(
            "none",
            json!({}),
            None,
            &["[VT105]", "names neither a backup nor a schedule"],
        ),
        row(
            "both",
            json!({"backupName": "good", "scheduleName": "nightly"}),
            None,
            &["[VT106]", "names both a backup and a schedule"],
        ),
        row(
            "mapped",
            json!({"backupName": "good", "namespaceMapping": {"apps": "velero-trust"}}),
            None,
            &[
                "[VT109]",
                "spec.namespaceMapping[apps]: ",
                "velero-trust's own",
            ],
        ),
        row(
            "no-backup-of-schedule",
            json!({"scheduleName": "nightly"}),
            None,
            &["[VT107]", "spec.scheduleName: ", "has no completed backup"],
        ),
    ];
    for Row {
        name,
        spec,
        expected,
        said,
    } in rows
    {
        let output = restore(cluster, &namespace, name, &spec, expected.as_deref())?;
        is_refused(&output, &said).context(name)?;
    }
    let stored = cluster.kubectl().get(&["restores", "-n", &namespace])?;
    ensure!(stored["items"] == json!([]), "these were stored: {stored}");
    Ok(())
}

fn refused_when_malformed(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("restores")?;
    backup(cluster, &namespace, "good", Some(GOOD), None)?;
    let malformed = [
        ("empty", String::new(), "is empty"),
        (
            "upper-case",
            GOOD.to_uppercase().replace("SHA", "sha"),
            "has digits in upper case",
        ),
        (
            "md5",
            GOOD.replace("sha256", "md5"),
            "is of algorithm `md5`, and only `sha256` is taken",
        ),
        (
            "short",
            GOOD.trim_end_matches('f').to_owned(),
            "has 63 hexadecimal digits instead of 64",
        ),
    ];
    for (name, checksum, why) in &malformed {
        let at = "metadata.annotations[velero-trust.io/backup-checksum]: ";
        let good = json!({"backupName": "good"});
        let output = restore(cluster, &namespace, name, &good, Some(checksum))?;
        is_refused(&output, &["[VT102]", at, why]).context(*name)?;
        // The same value on the Backup is reported for the Backup.
        backup(cluster, &namespace, name, Some(checksum), None)?;
        let spec = json!({"backupName": name});
        let output = restore(cluster, &namespace, name, &spec, None)?;
        is_refused(
            &output,
            &[
                "[VT102]",
                "spec.backupName: ",
                why,
                "velero-trust backup adopt",
            ],
        )
        .context(*name)?;
    }
    Ok(())
}

fn let_through(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("restores")?;
    backup(cluster, &namespace, "good", Some(GOOD), None)?;
    backup(cluster, &namespace, "bare", None, None)?;
    let good = json!({"backupName": "good"});
    let bare = json!({"backupName": "bare"});
    for (name, spec, expected) in [
        ("on-the-backup", &good, None),
        ("on-the-restore", &bare, Some(GOOD)),
        ("on-both", &good, Some(GOOD)),
    ] {
        let output = restore(cluster, &namespace, name, spec, expected)?;
        is_admitted(&output, &["[VT108] ", "(at spec.backupName)"]).context(name)?;
    }
    Ok(())
}

fn of_a_schedule(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("restores")?;
    let nightly = json!({"scheduleName": "nightly"});
    // The newest completed Backup of the schedule decides. Newer ones that did not complete, and
    // those of other schedules, do not count.
    let run = |day: u8, phase| {
        Some(Run {
            schedule: "nightly",
            day,
            phase,
        })
    };
    backup(
        cluster,
        &namespace,
        "nightly-1",
        Some(GOOD),
        run(1, "Completed"),
    )?;
    backup(
        cluster,
        &namespace,
        "nightly-3",
        None,
        run(3, "PartiallyFailed"),
    )?;
    let other = Some(Run {
        schedule: "weekly",
        day: 4,
        phase: "Completed",
    });
    backup(cluster, &namespace, "weekly-4", None, other)?;
    let output = restore(cluster, &namespace, "first", &nightly, None)?;
    // No Restore of another backup here is admitted, because none of them has a checksum.
    is_admitted(&output, &["[VT108] ", "(at spec.scheduleName)"])?;

    backup(cluster, &namespace, "nightly-2", None, run(2, "Completed"))?;
    let output = restore(cluster, &namespace, "second", &nightly, None)?;
    is_refused(
        &output,
        &[
            "[VT101]",
            "spec.scheduleName: Backup ",
            "/nightly-2 has no annotation",
        ],
    )
}

/// A run of a Schedule that created a Backup.
struct Run {
    schedule: &'static str,
    day: u8,
    phase: &'static str,
}

/// Creates a Backup in the state in which Velero leaves it. Velero's CRDs have no status
/// subresource, so the status can be written on creation.
fn backup(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    checksum: Option<&str>,
    run: Option<Run>,
) -> Result<()> {
    let Run {
        schedule,
        day,
        phase,
    } = run.unwrap_or(Run {
        schedule: "",
        day: 1,
        phase: "Completed",
    });
    let mut backup = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {"namespace": namespace, "name": name, "annotations": {}, "labels": {}},
        "spec": {},
        "status": {"phase": phase, "startTimestamp": format!("2026-01-{day:02}T01:00:00Z")},
    });
    if !schedule.is_empty() {
        backup["metadata"]["labels"]["velero.io/schedule-name"] = schedule.into();
    }
    let kubectl = cluster.kubectl();
    kubectl.apply(&backup.to_string())?;
    // A Backup that is created with a checksum loses it.
    if let Some(checksum) = checksum {
        let annotation = format!("velero-trust.io/checksum={checksum}");
        let annotate = ["annotate", "backup", name, "-n", namespace, &annotation];
        kubectl.ok(&[&annotate[..], &[installer::AS_VELERO_TRUST]].concat())?;
    }
    Ok(())
}

/// Runs `kubectl create` for a Restore, which may have an expected checksum.
fn restore(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    spec: &Value,
    expected: Option<&str>,
) -> Result<Output> {
    let mut restore = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {"namespace": namespace, "name": name, "annotations": {}},
        "spec": spec,
    });
    if let Some(expected) = expected {
        restore["metadata"]["annotations"]["velero-trust.io/backup-checksum"] = expected.into();
    }
    cluster.kubectl().create(&restore.to_string())
}
