//! What people see of the records: `status`, `backup`, `keys`.

use super::recorded::{wait_for_annotation, wait_until_closed};
use super::{at, ensure_passed};
use crate::shared::binary;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::scratch;

const INSTALL: &str = "kubectl apply -k manifests/crds";

/// Without the kinds, each command names the one that installs them.
pub(super) fn without_the_ledger(cluster: &Cluster) -> Result<()> {
    let status = json(cluster, &["status"])?;
    ensure!(status["records"]["installed"] == false, "{status}");
    ensure!(
        status["problems"].to_string().contains(INSTALL),
        "{}",
        status["problems"]
    );
    ensure!(
        status["namespaces"][0]["backups"]["recorded"].is_null(),
        "{}",
        status["namespaces"]
    );
    doctor_finds(cluster, "records", &["fail"], INSTALL)?;
    let commands: [&[&str]; 4] = [
        &["backup", "list"],
        &["backup", "show", "early"],
        &["keys", "list"],
        &["keys", "export"],
    ];
    for command in commands {
        let output = run(cluster, command)?;
        ensure!(
            output.code == Some(2) && output.stderr.contains(INSTALL),
            "{command:?}: {output:?}"
        );
    }
    Ok(())
}

/// Two backups are recorded, `early` as `late` and `first` as `observed`.
pub(super) fn recorded(cluster: &Cluster) -> Result<()> {
    let folder = scratch::folder("seen")?;
    let folder = folder.path();
    let status = json(cluster, &["status"])?;
    let backups = &status["namespaces"][0]["backups"];
    ensure!(
        backups["recorded"] == 2 && backups["total"] == 2,
        "{backups}"
    );
    ensure!(
        backups["levels"] == serde_json::json!({"late": 1, "observed": 1}),
        "{backups}"
    );
    let text = run(cluster, &["status"])?.stdout;
    for expected in ["2 of 2", "1 late, 1 observed", "rests on the clock of the"] {
        ensure!(text.contains(expected), "no `{expected}`: {text}");
    }
    backup_commands(cluster, folder)?;
    keys_commands(cluster, folder)
}

fn backup_commands(cluster: &Cluster, folder: &Path) -> Result<()> {
    let list = json(cluster, &["backup", "list", "--velero-namespace=velero"])?;
    let rows = list["backups"].as_array().context("no list")?;
    let rows: Vec<_> = rows
        .iter()
        .map(|row| format!("{} {} {}", row["backup"], row["state"], row["level"]))
        .collect();
    let expected = [
        r#""early" "Recorded" "late""#,
        r#""first" "Recorded" "observed""#,
    ];
    ensure!(rows == expected, "{rows:?}");

    let shown = json(cluster, &["backup", "show", "first"])?;
    ensure!(shown["verified"] == true, "{shown}");
    let tarball = folder.join("first.tar.gz");
    let tarball = tarball.to_str().context("a path that is no text")?;
    let download = [
        "backup",
        "download",
        "first",
        "-o",
        tarball,
        "--insecure-skip-tls-verify",
    ];
    ensure_passed("the download", &super::velero(cluster, &download)?)?;
    let sums = run(cluster, &["backup", "show", "first", "--sha256sums"])?;
    ensure!(sums.code == Some(0), "{sums:?}");
    fs::write(folder.join("sums"), &sums.stdout)?;
    let check = "cd \"$1\" && sha256sum --check --strict --ignore-missing sums";
    let shell = Cli::new("/bin/sh".into(), None)?;
    let check = ["-c", check, "sh", folder.to_str().context("no text")?];
    let checked = shell.run(&check)?;
    ensure!(
        checked.code == Some(0) && checked.stdout.contains("first.tar.gz: OK"),
        "{checked:?} of {sums:?}"
    );
    fs::write(tarball, "changed")?;
    ensure!(shell.run(&check)?.code == Some(1), "it is not checked");

    for (command, expected) in [
        (
            ["backup", "show", "nope", "--output=text"],
            "no record of a backup named nope",
        ),
        (
            ["backup", "show", "first", "--velero-namespace=nope"],
            "in namespace nope",
        ),
        (
            ["backup", "list", "--velero-namespace=nope", "--output=text"],
            "namespace nope has no Backup",
        ),
    ] {
        let output = run(cluster, &command)?;
        ensure!(
            output.code == Some(2) && output.stderr.contains(expected),
            "{command:?}: {output:?}"
        );
    }
    Ok(())
}

fn keys_commands(cluster: &Cluster, folder: &Path) -> Result<()> {
    let kubectl = cluster.kubectl();
    let nags = || {
        let status = json(cluster, &["status"])?;
        Ok::<_, anyhow::Error>(status["problems"].to_string().contains("keys export"))
    };
    ensure!(nags()?, "status does not ask for the export");
    doctor_finds(cluster, "records", &["ok", "fail"], "keys export --private")?;
    let list = json(cluster, &["keys", "list"])?;
    let [key] = &list["keys"].as_array().context("no list")?[..] else {
        anyhow::bail!("not one key: {list}");
    };
    ensure!(key["signs"] == true && key["exportedAt"].is_null(), "{key}");
    let name = key["name"].as_str().context("no name")?;
    let public = run(cluster, &["keys", "export"])?;
    ensure!(
        Some(&*public.stdout) == key["publicKey"].as_str(),
        "{public:?}"
    );

    let file = folder.join("signing.pem");
    let path = file.to_str().context("a path that is no text")?;
    let export = ["keys", "export", "--private", path, "--unencrypted"];
    let exported = run(cluster, &export)?;
    ensure!(
        exported.code == Some(0) && !exported.stderr.contains("BEGIN"),
        "{exported:?}"
    );
    let secret = kubectl.get(&["secret", "velero-trust-signing-key", "-n", "velero-trust"])?;
    let pem = at(&secret, "/data/key.pem").as_str().context("no key")?;
    ensure!(fs::read(&file)? == STANDARD.decode(pem)?, "another key");
    let mode = fs::metadata(&file)?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let again = run(cluster, &export)?;
    ensure!(
        again.code == Some(2) && again.stderr.contains("cannot write"),
        "an older key may be in the file: {again:?}"
    );
    ensure!(!nags()?, "status still asks for the export");
    doctor_finds(
        cluster,
        "records",
        &["ok", "ok"],
        "is trusted and was exported",
    )?;
    doctor_finds(cluster, "bucket", &["ok"], "its 2 backups hold 1 MB")?;
    // Velero made the Secret when it started.
    doctor_finds(cluster, "repository", &["warn"], "which everybody knows")?;
    let list = json(cluster, &["keys", "list"])?;
    ensure!(list["keys"][0]["exportedAt"].is_string(), "{list}");

    let set = |state: &str| {
        let change = format!(r#"{{"spec": {{"state": "{state}"}}}}"#);
        kubectl.ok(&["patch", "trustedkey", name, "--type=merge", "-p", &change])
    };
    set("Revoked")?;
    wait_until_closed(cluster, "first")?;
    let shown = run(cluster, &["backup", "show", "first"])?;
    ensure!(
        shown.code == Some(1)
            && shown.stdout.contains("which is revoked")
            && !shown.stdout.contains("first.tar.gz"),
        "{shown:?}"
    );
    let sums = run(cluster, &["backup", "show", "first", "--sha256sums"])?;
    ensure!(sums.code == Some(1) && sums.stdout.is_empty(), "{sums:?}");
    set("Active")?;
    wait_for_annotation(cluster, "first").map(drop)
}

/// The doctor has these results of a check, and says this.
fn doctor_finds(cluster: &Cluster, check: &str, levels: &[&str], says: &str) -> Result<()> {
    let document = json(cluster, &["doctor"])?;
    let all = document["checks"].as_array().context("no checks")?;
    let found: Vec<_> = all.iter().filter(|one| one["check"] == check).collect();
    let found_levels: Vec<_> = found.iter().map(|one| at(one, "/level")).collect();
    ensure!(found_levels == levels, "{found:?}");
    let text = serde_json::to_string(&found)?;
    ensure!(text.contains(says), "no `{says}`: {text}");
    ensure!(!text.contains("PRIVATE"), "{text}");
    Ok(())
}

fn run(cluster: &Cluster, arguments: &[&str]) -> Result<Output> {
    Cli::new(binary().to_owned(), Some(cluster.kubeconfig()))?.run(arguments)
}

fn json(cluster: &Cluster, arguments: &[&str]) -> Result<Value> {
    let output = run(cluster, &[arguments, &["--output=json"]].concat())?;
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}
