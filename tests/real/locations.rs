//! BackupStorageLocations on the real API server, together with their Secrets.

use crate::shared::Shared;
use crate::words::{is_admitted, is_refused};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust_testing::cli::Output;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::{self, Installation};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// The field with the reference to the Secret, as messages show it.
const AT: &str = "spec.objectStorage.caCertRef: ";

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![
        shared.installed(
            "locations::need_a_secret_that_is_there_and_good",
            need_a_good_secret,
        ),
        shared.installed(
            "locations::never_show_a_private_key",
            never_show_a_private_key,
        ),
        shared.installed(
            "locations::are_tried_before_their_secret_is_there",
            are_tried_first,
        ),
        shared.installed(
            "locations::that_are_bad_can_be_made_better",
            can_be_made_better,
        ),
        shared.installed(
            "locations::name_the_command_that_grants_a_right",
            name_the_command,
        ),
        shared.installed(
            "locations::of_older_velero_name_it_by_annotation",
            by_annotation,
        ),
    ]
}

fn need_a_good_secret(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = bound_namespace(cluster)?;
    let good = Authority::new("a good CA")?.pem();
    let cut_off = good.replace("-----END CERTIFICATE-----", "");
    let create = format!(
        "create it first: `kubectl -n {namespace} create secret generic ca --from-file=ca.crt=ca.pem`"
    );
    let replace = format!("replace it: `kubectl -n {namespace} patch secret ca -p ");

    let output = location(cluster, &namespace, "absent")?;
    let absent = format!("{AT}Secret {namespace}/ca does not exist");
    is_refused(&output, &[&absent, &create, "[VT001]"]).context("absent Secret")?;
    for (content, words, rule) in [
        (json!({"other": good}), "has no key ca.crt", "[VT002]"),
        (json!({"ca.crt": ""}), "is empty", "[VT003]"),
        (json!({"ca.crt": "nonsense"}), AT, "[VT010]"),
        (json!({"ca.crt": cut_off}), "(line 1) is cut off", "[VT013]"),
    ] {
        secret(cluster, &namespace, &content)?;
        let output = location(cluster, &namespace, "broken")?;
        is_refused(&output, &[AT, words, &replace, rule]).context(rule)?;
    }
    let stored = cluster
        .kubectl()
        .get(&["backupstoragelocations", "-n", &namespace])?;
    ensure!(stored["items"] == json!([]), "these were stored: {stored}");

    secret(cluster, &namespace, &json!({"ca.crt": good}))?;
    let output = location(cluster, &namespace, "good")?;
    is_admitted(&output, &[])?;
    ensure!(
        output.stderr.is_empty(),
        "a good one is no reason to speak: {output:?}"
    );
    Ok(())
}

fn never_show_a_private_key(cluster: &Cluster, installation: &Installation) -> Result<()> {
    let namespace = bound_namespace(cluster)?;
    let identity = Authority::new("a CA")?.server("a server")?;
    let both = format!("{}{}", identity.key_pem, identity.certificate_pem);
    let lines = || {
        identity
            .key_pem
            .lines()
            .filter(|line| !line.starts_with('-'))
    };
    secret(cluster, &namespace, &json!({"ca.crt": both}))?;
    let output = location(cluster, &namespace, "with-key")?;
    is_refused(&output, &[AT, "private key", "take the key out", "[VT011]"])?;

    // Nor is a private key accepted whose PEM markers are incomplete, so that it is harder to
    // recognize.
    let unframed = lines().collect::<Vec<_>>().join(
        "
",
    );
    let half = format!(
        "-----BEGIN PRIVATE KEY-----\n{unframed}\n{}",
        identity.certificate_pem
    );
    secret(cluster, &namespace, &json!({"ca.crt": half}))?;
    let broken = location(cluster, &namespace, "with-broken-key")?;
    is_refused(&broken, &[AT])?;

    let log = installation.webhook.log();
    ensure!(
        log.contains("with-broken-key"),
        "the log tells nothing of it"
    );
    ensure!(
        lines().count() >= 2,
        "the key has {} lines",
        lines().count()
    );
    for shown in [
        &output.stderr,
        &output.stdout,
        &broken.stderr,
        &broken.stdout,
        &log,
    ] {
        let seen = lines().find(|line| shown.contains(*line));
        ensure!(seen.is_none(), "a line of the key is shown in {shown}");
    }
    Ok(())
}

fn are_tried_first(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = bound_namespace(cluster)?;
    let object = location_at(&namespace, "early").to_string();
    let dry_run = ["create", "--dry-run=server", "-f", "-"];
    let output = cluster.kubectl().run_with_input(&dry_run, &object)?;
    let absent = format!("Warning: [VT001] Secret {namespace}/ca does not exist yet");
    is_admitted(&output, &[&absent])?;

    // An existing but invalid Secret does not become valid later, so the dry run is denied.
    secret(cluster, &namespace, &json!({"ca.crt": "nonsense"}))?;
    let output = cluster.kubectl().run_with_input(&dry_run, &object)?;
    is_refused(&output, &["[VT010]"])
}

fn can_be_made_better(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = bound_namespace(cluster)?;
    let kubectl = cluster.kubectl();
    secret(
        cluster,
        &namespace,
        &json!({"ca.crt": Authority::new("a CA")?.pem()}),
    )?;
    is_admitted(&location(cluster, &namespace, "bad-later")?, &[])?;
    secret(cluster, &namespace, &json!({"ca.crt": "nonsense"}))?;

    let patch = |patch: Value| {
        let arguments = [
            "patch",
            "backupstoragelocation",
            "bad-later",
            "--type=merge",
        ];
        let patch = patch.to_string();
        kubectl.run(&[&arguments[..], &["-n", &namespace, "--patch", &patch]].concat())
    };
    // The Secret was invalid before this change, so the change is not denied because of it.
    let output = patch(json!({"spec": {"config": {"region": "elsewhere"}}}))?;
    is_admitted(&output, &["Warning: [VT010]"]).context("an unrelated change")?;
    let output = patch(json!({"spec": {"objectStorage": {"caCertRef": {"key": "gone"}}}}))?;
    is_refused(&output, &["[VT002]", "has no key gone"]).context("a new fault")?;
    let output = patch(json!({"spec": {"objectStorage": {"caCertRef": null}}}))?;
    is_admitted(&output, &[]).context("no reference at all")
}

fn name_the_command(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("unbound")?;
    let kubectl = cluster.kubectl();
    let mut no_secret = location_at(&namespace, "names-none");
    no_secret["spec"]["objectStorage"] = json!({"bucket": "b"});
    is_admitted(&kubectl.create(&no_secret.to_string())?, &[])
        .context("a location that names no Secret needs no right")?;

    secret(
        cluster,
        &namespace,
        &json!({"ca.crt": Authority::new("a CA")?.pem()}),
    )?;
    let output = location(cluster, &namespace, "names-one")?;
    let command = format!(
        "kubectl -n {namespace} create rolebinding velero-trust-secret-reader \
         --clusterrole=velero-trust-secret-reader --serviceaccount=velero-trust:velero-trust"
    );
    is_refused(&output, &["may not read Secrets", &format!("`{command}`")])?;

    // After the command from the message, the location is admitted.
    let typed = command.split(' ').skip(1).collect::<Vec<_>>();
    kubectl.ok(&typed)?;
    wait::poll("the right to arrive", wait::PATIENCE, || {
        is_admitted(&location(cluster, &namespace, "names-one")?, &[])
    })
}

fn by_annotation(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = bound_namespace(cluster)?;
    let mut object = location_at(&namespace, "older");
    object["spec"]["objectStorage"] = json!({"bucket": "b"});
    object["metadata"]["annotations"] = json!({"velero-trust.io/ca-secret": "ca/ca.crt"});
    let output = cluster.kubectl().create(&object.to_string())?;
    let at = "metadata.annotations[velero-trust.io/ca-secret]: Secret ";
    is_refused(&output, &[at, "does not exist", "[VT001]"])?;
    secret(
        cluster,
        &namespace,
        &json!({"ca.crt": Authority::new("a CA")?.pem()}),
    )?;
    is_admitted(&cluster.kubectl().create(&object.to_string())?, &[])
}

fn bound_namespace(cluster: &Cluster) -> Result<String> {
    let namespace = cluster.namespace("locations")?;
    installer::bind(cluster.kubectl(), &namespace)?;
    Ok(namespace)
}

/// Replaces the Secret `ca`. It has exactly this content.
fn secret(cluster: &Cluster, namespace: &str, content: &Value) -> Result<()> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": "ca"},
        "stringData": content,
    });
    // `apply` would keep the keys of the previous Secret.
    let replace = ["replace", "--force", "-f", "-"];
    let output = cluster
        .kubectl()
        .run_with_input(&replace, &object.to_string())?;
    ensure!(output.code == Some(0), "{output:?}");
    Ok(())
}

/// Creates a location that references the key `ca.crt` of the Secret `ca`.
fn location_at(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "provider": "aws",
            "objectStorage": {"bucket": "b", "caCertRef": {"name": "ca", "key": "ca.crt"}},
            "config": {"region": "minio", "s3Url": "https://127.0.0.1:1"},
        },
    })
}

/// Runs `kubectl create` for [`location_at`].
fn location(cluster: &Cluster, namespace: &str, name: &str) -> Result<Output> {
    cluster
        .kubectl()
        .create(&location_at(namespace, name).to_string())
}
