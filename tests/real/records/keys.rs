//! The commands of `velero-trust keys`, on a real API server and with a leader that signs.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use velero_trust::integrity::envelope::Envelope;
use velero_trust::integrity::public_key::{Algorithm, PublicKey};
use velero_trust::kubernetes::crds::{BackupRecord, BackupRecordSpec, KeyState, TrustedKey};
use velero_trust::signing_key::SigningKey;
use velero_trust_testing::cli::{Cli, Output};

use super::stores::until_state;
use super::{NAMESPACE, Scene};
use crate::shared::binary;

const PASSPHRASE: &str = "correct horse battery";

/// A scene, and the command with a folder for its files.
struct Bench {
    scene: Scene,
    ours: Cli,
}

impl Bench {
    fn path(&self, name: &str) -> String {
        self.ours.home().join(name).display().to_string()
    }

    fn refused(&self, arguments: &[&str], says: &str) -> Result<Output> {
        let output = self.ours.run(arguments)?;
        ensure!(
            output.code == Some(2) && output.stderr.contains(says) && output.stdout.is_empty(),
            "{arguments:?}: {output:?}"
        );
        Ok(output)
    }

    fn keys(&self) -> Result<Vec<TrustedKey>> {
        let keys = Api::<TrustedKey>::all(self.scene.servers.client.clone());
        let all = ListParams::default();
        Ok(self.scene.servers.runtime.block_on(keys.list(&all))?.items)
    }

    fn key(&self, name: &str) -> Result<TrustedKey> {
        let keys = self.keys()?.into_iter();
        let mut keys = keys.filter(|key| key.metadata.name.as_deref() == Some(name));
        keys.next().with_context(|| format!("no TrustedKey {name}"))
    }

    fn shown(&self, key: &str) -> Result<Value> {
        let json = self.ours.ok(&["keys", "show", key, "-o", "json"])?;
        Ok(serde_json::from_str(&json)?)
    }

    /// Backs up, and returns the id of the key that signed.
    fn signer(&self, backup: &str) -> Result<String> {
        let store = self.scene.store()?;
        self.scene
            .back_up(&store, "default", &[backup.to_owned()], &[])?;
        let record = until_state(&self.scene, backup, "Recorded", None)?;
        let envelope = record.envelope.context("no envelope")?;
        let ids = Envelope::parse(envelope.as_bytes())?.key_ids();
        Ok(ids.first().context("no key id")?.to_string())
    }
}

pub(super) fn keys() -> Result<()> {
    let scene = Scene::start()?;
    scene.location("default", &json!({}))?;
    let ours = Cli::new(binary().to_owned(), Some(scene.servers.kubeconfig()))?;
    let bench = Bench { scene, ours };
    let leader = bench.scene.servers.replica(&["--probe=loopback"])?;
    let first = bench.signer("before")?;
    let own = shown_and_exported(&bench, &first)?;
    let foreign = trusted_by_file(&bench)?;
    let copy = exported_privately(&bench, &first)?;
    let second = rotated(&bench, &own, &first)?;
    revoked(&bench, &own, &foreign)?;
    // It would end the record of a backup that is not there.
    drop(leader);
    trusted_by_fingerprint(&bench)?;
    imported(&bench, &copy, &second)
}

/// Returns the name of the key that signs.
fn shown_and_exported(bench: &Bench, id: &str) -> Result<String> {
    let text = bench.ours.ok(&["keys", "show", "--qr", "always"])?;
    ensure!(text.contains(id) && text.contains('\u{2584}'), "{text}");
    ensure!(text.contains("Active, and signs in this cluster"), "{text}");
    let own = format!("velero-trust-{}", &id[..16]);
    let shown = bench.shown(&own)?;
    let digits = shown["fingerprint"].as_str().context("no fingerprint")?;
    ensure!(digits.split(' ').count() == 16 && digits.replace(' ', "") == id);
    // What is written for Git is taken, here and by any other cluster.
    let yaml = bench.ours.ok(&["keys", "export", "--output", "yaml"])?;
    let kubectl = &bench.scene.servers.kubectl;
    let before = bench.key(&own)?;
    kubectl.apply(&yaml)?;
    ensure!(bench.key(&own)?.spec == before.spec, "{yaml}");
    let renamed = yaml.replace(&own, "for-git");
    kubectl.apply(&renamed)?;
    let problems = bench.ours.run(&["status", "-o", "json"])?.stdout;
    let told = format!("the TrustedKeys for-git, {own} have the same key");
    ensure!(problems.contains(&told), "{problems}");
    kubectl.ok(&["delete", "trustedkey", "for-git"])?;
    Ok(own)
}

/// Returns the name of the key of another cluster.
fn trusted_by_file(bench: &Bench) -> Result<String> {
    let foreign = SigningKey::generate(Algorithm::Ed25519)?;
    let (public, private) = (bench.path("foreign.pub"), bench.path("foreign.key"));
    fs::write(&public, foreign.public_pem())?;
    fs::write(&private, foreign.to_pem())?;
    let refused = bench.refused(&["keys", "trust", &private], "it is a private key")?;
    let body = foreign.to_pem();
    let body = body.lines().nth(1).context("no body")?;
    ensure!(!refused.stderr.contains(body), "{refused:?}");

    let id = foreign.public().id().to_string();
    let digit = if id.starts_with('0') { "1" } else { "0" };
    let wrong = format!("{digit}{}", &id[1..]);
    let fingerprint = ["keys", "trust", &public, "--fingerprint", &wrong];
    bench.refused(
        &fingerprint,
        &format!("group 1 is {}, and the key has {}", &wrong[..4], &id[..4]),
    )?;
    let spaced = id.to_uppercase().replace('A', "a ");
    let trust = [
        "keys",
        "trust",
        &public,
        "--fingerprint",
        &spaced,
        "--backups",
        "nightly-*",
        "--levels",
        "observed,late",
    ];
    let yaml = bench
        .ours
        .ok(&[&trust[..], &["--dry-run", "-o", "yaml"]].concat())?;
    ensure!(
        yaml.contains("nightly-*") && bench.keys()?.len() == 1,
        "{yaml}"
    );
    let trusted = bench.ours.ok(&trust)?;
    let name = format!("velero-trust-{}", &id[..16]);
    ensure!(
        trusted.starts_with(&format!("trustedkey/{name} is trusted")),
        "{trusted}"
    );
    let key = bench.key(&name)?;
    ensure!(key.spec.scope.backups == ["nightly-*"], "{key:?}");
    let labels = key.metadata.labels.unwrap_or_default();
    ensure!(
        !labels.contains_key("app.kubernetes.io/managed-by")
            && labels.contains_key("velero.io/exclude-from-backup"),
        "{labels:?}"
    );
    let again = bench.ours.ok(&trust)?;
    ensure!(
        again.contains("is the TrustedKey of this key already"),
        "{again}"
    );
    bench.refused(
        &["keys", "trust", &public],
        "counts for other backups than you ask for",
    )?;
    let problems = bench.ours.run(&["status", "-o", "json"])?.stdout;
    ensure!(
        problems.contains("has nightly-*, which no backup is"),
        "{problems}"
    );
    Ok(name)
}

/// The key is in the record of a backup that came by sync, and its fingerprint on paper.
fn trusted_by_fingerprint(bench: &Bench) -> Result<()> {
    let signing = SigningKey::generate(Algorithm::EcdsaP256)?;
    let id = signing.public().id().to_string();
    let signer = json!({"keyId": id, "publicKey": signing.public_pem()});
    bench
        .scene
        .servers
        .runtime
        .block_on(add_synced(&bench.scene, &signer))?;
    let count = bench.keys()?.len();
    let from = |fingerprint: &str| {
        let arguments = [
            "keys",
            "trust",
            "--from-backup",
            "synced",
            "--name",
            "paper",
            "--fingerprint",
            fingerprint,
        ];
        bench.ours.run(&arguments)
    };
    let digit = if id.ends_with('0') { "1" } else { "0" };
    let wrong = from(&format!("{}{digit}", &id[..63]))?;
    ensure!(
        wrong.code == Some(2)
            && wrong.stderr.contains("the key that signed synced: ")
            && wrong.stderr.contains("group 16 is"),
        "{wrong:?}"
    );
    let short = from(&id[..16])?;
    ensure!(
        short.code == Some(2) && short.stderr.contains("has 16 digits, and all 64"),
        "{short:?}"
    );
    ensure!(
        bench.keys()?.len() == count,
        "a key was trusted all the same"
    );
    let right = from(&id)?;
    ensure!(right.code == Some(0), "{right:?}");
    let key = bench.key("paper")?;
    ensure!(PublicKey::from_pem(&key.spec.public_key)?.id().to_string() == id);
    ensure!(key.spec.state == KeyState::Active && key.spec.scope.is_everything());
    Ok(())
}

async fn add_synced(scene: &Scene, signer: &Value) -> Result<()> {
    let name = "synced.3f2a0000-0000-4000-8000-00000000000a";
    let mut record = BackupRecord::new(
        name,
        BackupRecordSpec {
            namespace: "elsewhere".to_owned(),
            backup: "synced".to_owned(),
            uid: "3f2a0000-0000-4000-8000-00000000000a".to_owned(),
            observed: false,
        },
    );
    record.status = None;
    let records = Api::<BackupRecord>::all(scene.servers.client.clone());
    records.create(&PostParams::default(), &record).await?;
    let status =
        json!({"status": {"state": "Unobserved", "reason": "KeyUnknown", "signers": [signer]}});
    let patch = Patch::Merge(&status);
    records
        .patch_status(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// Returns the file with an encrypted copy of the key.
fn exported_privately(bench: &Bench, id: &str) -> Result<String> {
    let (copy, words) = (bench.path("copy.pem"), bench.path("passphrase"));
    fs::write(&words, format!("{PASSPHRASE}\n"))?;
    let export = ["keys", "export", "--private", &copy];
    bench
        .ours
        .ok(&[&export[..], &["--passphrase-file", &words]].concat())?;
    let text = fs::read_to_string(&copy)?;
    ensure!(
        text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
        "{text}"
    );
    let opened = Command::new("openssl")
        .args([
            "pkey",
            "-in",
            &copy,
            "-passin",
            &format!("file:{words}"),
            "-pubout",
        ])
        .output()?;
    ensure!(opened.status.success(), "{opened:?}");
    let public = PublicKey::from_pem(&String::from_utf8(opened.stdout)?)?;
    ensure!(public.id().to_string() == id, "another key");
    Ok(copy)
}

/// Returns the id of the new key.
fn rotated(bench: &Bench, own: &str, first: &str) -> Result<String> {
    let told = bench.ours.ok(&["keys", "rotate"])?;
    ensure!(
        told.contains(&format!("{own} signs no more")) && told.contains("keys export"),
        "{told}"
    );
    let old = bench.key(own)?;
    ensure!(
        old.spec.state == KeyState::VerifyOnly && old.spec.valid_until.is_some(),
        "{old:?}"
    );
    // The leader was not restarted.
    let second = bench.signer("after")?;
    ensure!(second != first, "the old key signs still");
    let shown = bench.shown(&format!("velero-trust-{}", &second[..16]))?;
    ensure!(
        shown["signs"] == true && shown["exportedAt"].is_null(),
        "{shown}"
    );
    let before = bench.ours.ok(&["backup", "show", "before"])?;
    ensure!(before.contains("Recorded"), "{before}");
    Ok(second)
}

fn revoked(bench: &Bench, own: &str, foreign: &str) -> Result<()> {
    let revoke = |key: &str, more: &[&str]| {
        bench.ours.run(
            &[
                &["keys", "revoke", key, "--reason", "a laptop was stolen"],
                more,
            ]
            .concat(),
        )
    };
    let asked = revoke(own, &[])?;
    ensure!(
        asked.code == Some(1)
            && asked.stdout.contains("  velero/before\n")
            && asked.stderr.contains("add --yes"),
        "{asked:?}"
    );
    ensure!(bench.key(own)?.spec.state == KeyState::VerifyOnly);
    let now = revoke(own, &["--at", "now"])?;
    ensure!(
        now.stdout.starts_with("1 record stays good\n") && !now.stdout.contains("close"),
        "{now:?}"
    );
    let none = revoke(foreign, &["--yes"])?;
    ensure!(
        none.code == Some(0) && !none.stdout.contains("record"),
        "{none:?}"
    );
    let done = revoke(own, &["--yes"])?;
    ensure!(
        done.code == Some(0) && done.stdout.contains("backup adopt"),
        "{done:?}"
    );
    let shown = bench.shown(own)?;
    ensure!(
        shown["state"] == "Revoked" && shown["revokedBecause"] == "a laptop was stolen",
        "{shown}"
    );
    let closed = bench.ours.run(&["backup", "show", "before"])?;
    ensure!(closed.code == Some(1), "{closed:?}");
    Ok(())
}

/// The leader is gone.
fn imported(bench: &Bench, copy: &str, second: &str) -> Result<()> {
    let words = bench.path("passphrase");
    let import = |file: &str, more: &[&str]| {
        bench
            .ours
            .run(&[&["keys", "import", file, "--passphrase-file", &words], more].concat())
    };
    let there = import(copy, &[])?;
    ensure!(
        there.code == Some(2)
            && there.stderr.contains(second)
            && there.stderr.contains("--replace"),
        "{there:?}"
    );
    let revoked = import(copy, &["--replace"])?;
    ensure!(
        revoked.code == Some(2) && revoked.stderr.contains("which is revoked"),
        "{revoked:?}"
    );
    let new = SigningKey::generate(Algorithm::Ed25519)?;
    let file = bench.path("new.pem");
    fs::write(&file, new.to_pem())?;
    let replaced = import(&file, &["--replace"])?;
    ensure!(replaced.code == Some(0), "{replaced:?}");
    let retired = bench.key(&format!("velero-trust-{}", &second[..16]))?;
    ensure!(retired.spec.state == KeyState::VerifyOnly, "{retired:?}");
    // The whole namespace is gone, and the key comes from the copy.
    let kubectl = &bench.scene.servers.kubectl;
    kubectl.ok(&[
        "-n",
        "velero-trust",
        "delete",
        "secret",
        "velero-trust-signing-key",
    ])?;
    let back = import(&file, &[])?;
    ensure!(back.code == Some(0), "{back:?}");
    let shown = bench.ours.ok(&["keys", "show", "-o", "json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    ensure!(
        shown["keyId"] == new.public().id().to_string() && shown["exportedAt"].is_string(),
        "{shown}"
    );
    let _leader = bench.scene.servers.replica(&["--probe=loopback"])?;
    ensure!(bench.signer("last")? == new.public().id().to_string());
    ensure!(
        bench
            .scene
            .records()?
            .values()
            .flatten()
            .any(|one| one.spec.namespace == NAMESPACE)
    );
    Ok(())
}
