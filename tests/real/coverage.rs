//! The coverage audit, `velero-trust status` and `velero-trust rollout`, for the Pods that the real
//! controllers create from the output of `velero install`.

use crate::bundle::{holds, location_with, squeezed};
use crate::fresh::NAMESPACE;
use crate::servers::Servers;
use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::thread;
use std::time::Duration;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installation, Installer};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::process::clean_command;
use velero_trust_testing::wait;

const PATIENCE: Duration = wait::PATIENCE;

/// A time before any certificate was added.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// The only thing that needs somebody here: the kinds of the records are not installed.
const LEDGER_IS_MISSING: &str = "NEEDS A PERSON\nthe kinds BackupRecord and TrustedKey are not \
                                 installed, so no backup is recorded\n    -> kubectl apply -k \
                                 manifests/crds\n";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("coverage::of_a_velero_that_was_there_before", story),
        alone("coverage::says_once_what_it_may_not_watch", refused),
    ]
}

/// Without permission to read Pods and workloads, everything else works, and no metric shows a
/// number that was not counted.
fn refused() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    let mut role = kubectl.get(&["clusterrole", installer::NAMESPACE])?;
    let rules = role["rules"].as_array_mut().context("no rules")?;
    let before = rules.len();
    rules.retain(|rule| {
        rule["resources"] != json!(["pods"]) && rule["apiGroups"] != json!(["apps"])
    });
    ensure!(rules.len() + 2 == before, "other rules: {role}");
    kubectl.apply(&role.to_string())?;
    let own = Authority::new("own")?.pem();
    kubectl.apply(&location_with(NAMESPACE, "default", &own).to_string())?;
    let replica = servers.replica(&[])?;
    holds(kubectl, NAMESPACE, &own).with_context(|| replica.log())?;
    for what in ["Pods", "Deployments", "DaemonSets"] {
        let message = format!("cannot watch {what} in namespace {NAMESPACE}");
        wait::poll(&message, PATIENCE, || {
            let said = replica.events(&message);
            ensure!(said.len() == 1, "it is said {} times", said.len());
            ensure!(
                said[0]["error"].to_string().contains("is forbidden"),
                "{said:?}"
            );
            Ok(())
        })?;
    }
    // Nor does the library that retries them, every few seconds.
    let attempts = replica.log();
    ensure!(!attempts.contains("kube_runtime"), "{attempts}");
    let metrics = replica.metrics()?;
    ensure!(metrics.contains("velero_trust_held{"), "{metrics}");
    ensure!(!metrics.contains("velero_trust_pods{"), "{metrics}");
    Ok(())
}

/// A cluster in which Velero was installed before velero-trust.
struct Trialled {
    cluster: Cluster,
    command: Cli,
    installation: Installation,
}

fn story() -> Result<()> {
    let trial = Trialled::start()?;
    typo(&trial).context("a namespace that is not Velero's")?;
    made_before(&trial).context("made before velero-trust")?;
    refused_while_at_work(&trial).context("while a Backup is at work")?;
    refused_while_unasked(&trial).context("while the webhook is not asked")?;
    restarted(&trial).context("after the rollout")?;
    nobody_reads(&trial).context("a reader that goes early")?;
    forgotten(&trial).context("a wrong CA")?;
    stale(&trial).context("stale")?;
    conflicting(&trial).context("conflicting")?;
    opted_out(&trial).context("opted out")?;
    // The metric series of a namespace are removed with it.
    let gone = ["delete", "namespace", VELERO_NAMESPACE, "--wait=false"];
    trial.cluster.kubectl().ok(&gone)?;
    trial.pods_are(&[]).context("when its namespace is gone")
}

impl Trialled {
    fn start() -> Result<Self> {
        let cluster = Cluster::start()?;
        cluster.install_velero(VELERO_NAMESPACE, &[])?;
        wait::poll("the Pods of Velero", PATIENCE, || {
            let pods = pods(cluster.kubectl())?;
            ensure!(pods.len() == 2, "there are {}", pods.len());
            Ok(())
        })?;
        run_pods(cluster.kubectl(), LONG_AGO)?;
        let installation = Installer::new(&cluster, binary(), installer::NAMESPACE)?.install()?;
        let own = Authority::new("own")?.pem();
        let location = location_with(VELERO_NAMESPACE, "default", &own);
        cluster.kubectl().apply(&location.to_string())?;
        Ok(Self {
            command: Cli::new(binary().to_owned(), Some(cluster.kubeconfig()))?,
            cluster,
            installation,
        })
    }

    /// Waits until the metric shows exactly these Pods. A state that is not named has none, and
    /// with no state at all there is no series.
    fn pods_are(&self, wanted: &[(&str, usize)]) -> Result<()> {
        wait::poll(&format!("the metric to be {wanted:?}"), PATIENCE, || {
            let text = self.installation.webhook.metrics()?;
            let lines = text
                .lines()
                .filter(|line| line.starts_with("velero_trust_pods{"));
            let empty = |line: &&str| wanted.is_empty() || !line.ends_with(" 0");
            let lines: Vec<_> = lines.filter(empty).collect();
            let wanted = wanted.iter().map(|(state, count)| {
                format!(r#"velero_trust_pods{{namespace="velero",state="{state}"}} {count}"#)
            });
            let wanted: Vec<_> = wanted.collect();
            let same = lines.len() == wanted.len()
                && wanted.iter().all(|line| lines.contains(&line.as_str()));
            ensure!(same, "it is {lines:?}");
            Ok(())
        })
    }

    fn ran(&self, arguments: &[&str], code: i32, says: &[&str]) -> Result<Output> {
        let output = self.command.run(arguments)?;
        ensure!(
            output.code == Some(code),
            "{arguments:?} ended otherwise: {output:?}"
        );
        for says in says {
            ensure!(
                output.stdout.contains(says),
                "{arguments:?} does not say {says:?}: {output:?}"
            );
        }
        Ok(output)
    }

    /// Waits until `kubectl describe` shows an Event with this reason on a workload.
    fn described(&self, workload: &[&str], reason: &str) -> Result<String> {
        wait::poll(&format!("the Event {reason}"), PATIENCE, || {
            let arguments = [&["describe", "-n", VELERO_NAMESPACE], workload].concat();
            let text = self.cluster.kubectl().ok(&arguments)?;
            let (_, events) = text.rsplit_once("\nEvents:").context("no Events")?;
            ensure!(events.contains(reason), "{events}");
            Ok(events.to_owned())
        })
    }

    fn status(&self) -> Result<Value> {
        let output = self.command.run(&["status", "--output=json"])?;
        Ok(serde_json::from_str(&output.stdout)?)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let namespace = ["-n", VELERO_NAMESPACE];
        self.cluster
            .kubectl()
            .ok(&[&namespace[..], arguments].concat())
    }
}

/// A mistyped namespace is an error, not a namespace without problems.
fn typo(trial: &Trialled) -> Result<()> {
    for command in ["rollout", "status"] {
        for (namespace, says) in [
            ("vleero", "there is no namespace vleero; "),
            ("default", "namespace default holds nothing of Velero: "),
        ] {
            let arguments = [command, "--velero-namespace", namespace];
            let output = trial.ran(&arguments, 2, &[])?;
            ensure!(
                output.stdout.is_empty() && output.stderr.contains(says),
                "{arguments:?} does not say {says:?}: {output:?}"
            );
        }
    }
    Ok(())
}

fn made_before(trial: &Trialled) -> Result<()> {
    trial.pods_are(&[("uninjected", 2)])?;
    let events = trial.described(&["deployment", "velero"], "CABundleNotInjected")?;
    ensure!(
        events.contains("kubectl -n velero rollout restart deployment/velero"),
        "{events}"
    );
    trial.described(&["daemonset", "node-agent"], "CABundleNotInjected")?;
    trial.ran(
        &["status"],
        1,
        &[
            "uninjected",
            "0/2",
            "NAMESPACE   LOCATION",
            "NEEDS A PERSON",
            "v1.1",
        ],
    )?;
    let status = trial.status()?;
    let namespace = &status["namespaces"][0];
    ensure!(namespace["name"] == VELERO_NAMESPACE, "{status}");
    ensure!(namespace["pods"]["wanted"] == 2, "{status}");
    ensure!(namespace["bundle"]["state"] == "published", "{status}");
    ensure!(namespace["locations"][0]["name"] == "default", "{status}");
    Ok(())
}

fn refused_while_at_work(trial: &Trialled) -> Result<()> {
    let backup = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {"namespace": VELERO_NAMESPACE, "name": "nightly"},
        "spec": {},
        "status": {"phase": "InProgress"},
    });
    trial.cluster.kubectl().apply(&backup.to_string())?;
    let warning = "# WARNING: Backup nightly (InProgress) in velero is at work";
    let command = "kubectl -n velero rollout restart deployment/velero\n";
    trial.ran(&["rollout"], 1, &[warning, command])?;
    trial.ran(&["rollout", "--apply"], 1, &[warning, "refused"])?;
    let deployment = trial.kubectl(&["get", "deployment", "velero", "-o", "json"])?;
    ensure!(
        !deployment.contains("restartedAt"),
        "it was restarted: {deployment}"
    );
    trial.kubectl(&["delete", "backup", "nightly"])?;
    Ok(())
}

fn restarted(trial: &Trialled) -> Result<()> {
    roll_out(trial)?;
    trial.pods_are(&[("current", 2)])?;
    trial.described(&["deployment", "velero"], "CABundleCurrent")?;
    trial.ran(&["rollout"], 0, &["# velero: nothing to restart"])?;
    let healthy = ["2/2", "LEADER   ", "renewed", LEDGER_IS_MISSING];
    trial.ran(&["status"], 1, &healthy)?;
    let pods = trial.status()?["namespaces"][0]["pods"].clone();
    ensure!(pods["current"] == 2, "{pods}");
    let own = ["CN=own", "BackupStorageLocation default", "public roots"];
    trial.ran(&["status", "--certificates"], 1, &own)?;
    same_from_files(trial)
}

/// When the reader of the output is gone, as with `| head`, commands end silently, with the exit
/// code that a shell reports for a program ended by SIGPIPE.
fn nobody_reads(trial: &Trialled) -> Result<()> {
    let home = tempfile::tempdir()?;
    for command in ["status", "rollout", "doctor", "client-ca"] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut run = clean_command(binary(), home.path());
        run.env("KUBECONFIG", trial.cluster.kubeconfig());
        let output = run.arg(command).stdout(writer).output()?;
        ensure!(
            output.status.code() == Some(141) && output.stderr.is_empty(),
            "{command}: {output:?}"
        );
    }
    Ok(())
}

/// The status computed from files equals the one reported by the controllers.
fn same_from_files(trial: &Trialled) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kinds = "backupstoragelocations,secrets,pods,deployments,daemonsets,configmaps";
    let objects = trial.kubectl(&["get", kinds, "-o", "json"])?;
    fs::write(folder.path().join("objects.json"), objects)?;
    let folder = folder.path().display().to_string();
    let files = ["--objects", &folder, "--output=json"];
    let cluster = trial.status()?["namespaces"][0].clone();
    let output = trial.ran(&[&["status"], &files[..]].concat(), 0, &[])?;
    let computed: Value = serde_json::from_str(&output.stdout)?;
    let computed = &computed["namespaces"][0];
    ensure!(computed["bundle"]["state"] == "computed", "{computed}");
    let pointers = [
        "/name",
        "/velero",
        "/bundle/hash",
        "/bundle/certificates",
        "/bundle/origins",
        "/bundle/earliestExpiry",
        "/bundle/lastAdded",
        "/bundle/held",
        "/locations/0/report/certificates",
        "/locations/0/report/findings",
        "/locations/0/report/sources",
        "/pods",
        "/templates",
        "/problems",
    ];
    for pointer in pointers {
        let (files, cluster) = (computed.pointer(pointer), cluster.pointer(pointer));
        ensure!(
            files.is_some() && files == cluster,
            "{pointer}: {files:?} from files, {cluster:?} in the cluster"
        );
    }
    Ok(())
}

/// A location with a wrong CA is made and deleted. The Pods never needed that CA, and the operator
/// takes it out before its retention is over.
fn forgotten(trial: &Trialled) -> Result<()> {
    let wrong = Authority::new("wrong")?.pem();
    let location = location_with(VELERO_NAMESPACE, "mistake", &wrong);
    trial.cluster.kubectl().apply(&location.to_string())?;
    holds(trial.cluster.kubectl(), VELERO_NAMESPACE, &wrong)?;
    trial.kubectl(&["delete", "bsl", "mistake"])?;
    let status = wait::poll("the CA to be retained", PATIENCE, || {
        let status = trial.status()?;
        let retained = status["namespaces"][0]["retained"].clone();
        ensure!(retained[0]["subject"] == "CN=wrong", "{retained}");
        Ok(status)
    })?;
    let namespace = &status["namespaces"][0];
    let retained = &namespace["retained"][0];
    let until: Timestamp = retained["until"].as_str().context("no end")?.parse()?;
    let left = until.as_second() - Timestamp::now().as_second();
    ensure!((6 * 86_400..=7 * 86_400).contains(&left), "{retained}");
    trial.pods_are(&[("current", 2)])?;
    let day = until.to_string()[..10].to_owned();
    let fingerprint = retained["fingerprint"].as_str().context("none")?[..12].to_owned();
    let says = ["RETAINED UNTIL", &day, &fingerprint, LEDGER_IS_MISSING];
    trial.ran(&["status"], 1, &says)?;
    let until = format!("retained until {day}");
    trial.ran(&["status", "--certificates"], 1, &[&until])?;

    trial.ran(
        &["ca", "forget", &fingerprint],
        0,
        &["velero: CN=wrong", "is forgotten"],
    )?;
    let bundle = trial.kubectl(&["get", "configmap", "velero-trust-ca", "-o", "json"])?;
    let bundle: Value = serde_json::from_str(&bundle)?;
    let text = bundle["data"]["ca-bundle.crt"].as_str().unwrap_or_default();
    ensure!(
        !squeezed(text).contains(&squeezed(&wrong)),
        "it is in the bundle"
    );
    trial.pods_are(&[("current", 2)])?;
    wait::poll("the status not to show it", PATIENCE, || {
        let status = trial.status()?;
        ensure!(status["namespaces"][0]["retained"].is_null(), "{status}");
        let problems = (&status["problems"], &status["namespaces"][0]["problems"]);
        ensure!(
            problems
                .0
                .as_array()
                .is_some_and(|problems| problems.len() == 1)
                && problems.1 == &json!([]),
            "{problems:?}"
        );
        Ok(())
    })
}

fn stale(trial: &Trialled) -> Result<()> {
    let new = Authority::new("new")?.pem();
    let location = location_with(VELERO_NAMESPACE, "second", &new);
    trial.cluster.kubectl().apply(&location.to_string())?;
    holds(trial.cluster.kubectl(), VELERO_NAMESPACE, &new)?;
    trial.pods_are(&[("stale", 2)])?;
    trial.described(&["deployment", "velero"], "CABundleStale")?;
    trial.ran(&["status"], 1, &["stale", "0/2", "second"])?;
    let why = "began before the newest certificate";
    trial.ran(&["rollout"], 1, &[why, "deployment/velero"])?;
    roll_out(trial)?;
    trial.pods_are(&[("current", 2)])
}

/// A restart would replace Pods that lack the bundle by others that lack it, or, where they carry it,
/// take it away from them.
fn refused_while_unasked(trial: &Trialled) -> Result<()> {
    let kubectl = trial.cluster.kubectl();
    let configuration = ["mutatingwebhookconfiguration", "velero-trust-pods"];
    let rules = kubectl.get(&configuration)?["webhooks"][0]["rules"].clone();
    let patch = |operation: Value| {
        let patch = json!([operation]).to_string();
        let patch = ["--type=json", "-p", &patch];
        kubectl.ok(&[&["patch"], &configuration[..], &patch].concat())
    };
    patch(json!({"op": "remove", "path": "/webhooks/0/rules"}))?;
    let deployment = || kubectl.get(&["deployment", "velero", "-n", VELERO_NAMESPACE]);
    let pods = || {
        let pods = pods(kubectl)?.into_iter();
        anyhow::Ok(
            pods.map(|pod| pod["metadata"]["uid"].clone())
                .collect::<Vec<_>>(),
        )
    };
    let before = (deployment()?["spec"].clone(), pods()?);
    let command = "kubectl -n velero rollout restart deployment/velero\n";
    let cause = "new Pods would lack the bundle: MutatingWebhookConfiguration velero-trust-pods has no \
                 rules: Pods of Velero that are created start without the CA bundle now; run \
                 `velero-trust certs --install --namespace velero-trust`";
    let refused = format!("# velero: refused, nothing was restarted, {cause}");
    trial.ran(&["rollout", "--apply"], 1, &[command, &refused])?;
    let not_yet = format!("# velero: do not restart yet, {cause}");
    trial.ran(&["rollout"], 1, &[command, &not_yet])?;
    let after = (deployment()?["spec"].clone(), pods()?);
    ensure!(before == after, "something was restarted: {after:?}");
    patch(json!({"op": "add", "path": "/webhooks/0/rules", "value": rules}))?;
    installer::wait_until_asked(kubectl)
}

/// Runs `rollout --apply --wait`, and meanwhile plays the kubelets.
fn roll_out(trial: &Trialled) -> Result<()> {
    thread::scope(|scope| {
        let rollout = scope.spawn(|| {
            let arguments = ["rollout", "--apply", "--wait"];
            trial.ran(&arguments, 0, &["# done: ", "daemonset/node-agent"])
        });
        wait::poll("the rollout to end", 2 * PATIENCE, || {
            run_pods(trial.cluster.kubectl(), &now())?;
            ensure!(rollout.is_finished(), "it still waits");
            Ok(())
        })?;
        rollout.join().ok().context("its thread panicked")??;
        Ok(())
    })
}

fn conflicting(trial: &Trialled) -> Result<()> {
    let own = ["set", "env", "deployment/velero", "AWS_CA_BUNDLE=/own.crt"];
    trial.kubectl(&own)?;
    wait::poll("only the new Pod of the server", PATIENCE, || {
        run_pods(trial.cluster.kubectl(), &now())?;
        let pods = pods(trial.cluster.kubectl())?;
        ensure!(pods.len() == 2, "there are {}", pods.len());
        let pods = Value::from(pods).to_string();
        ensure!(pods.contains("/own.crt"), "the old one");
        Ok(())
    })?;
    trial.pods_are(&[("current", 1), ("conflicting", 1)])?;
    let events = trial.described(&["deployment", "velero"], "CABundleConflict")?;
    ensure!(events.contains("[VT201]"), "{events}");
    trial.ran(&["status"], 1, &["conflicting", "[VT201]"])?;
    let needs = "deployment/velero needs a change of the template first, conflicting";
    let output = trial.ran(&["rollout", "--apply"], 1, &[needs])?;
    ensure!(!output.stdout.contains("# done"), "{output:?}");
    Ok(())
}

fn opted_out(trial: &Trialled) -> Result<()> {
    let label = json!({"labels": {"velero-trust.io/inject": "false"}});
    let patch = json!({"spec": {"template": {"metadata": label}}}).to_string();
    trial.kubectl(&["patch", "daemonset", "node-agent", "-p", &patch])?;
    wait::poll("the new Pod of the node agent", PATIENCE, || {
        run_pods(trial.cluster.kubectl(), &now())?;
        let pods = Value::from(pods(trial.cluster.kubectl())?).to_string();
        ensure!(
            pods.contains(r#""velero-trust.io/inject":"false""#),
            "the old one"
        );
        Ok(())
    })?;
    trial.pods_are(&[("conflicting", 1), ("opted-out", 1)])?;
    trial.ran(&["status"], 1, &["0/1 (1 opted out)"])?;
    let needs = "daemonset/node-agent needs a change of the template first, opted-out";
    trial.ran(&["rollout"], 1, &[needs])?;
    Ok(())
}

fn now() -> String {
    Timestamp::now().to_string()
}

fn pods(kubectl: &Cli) -> Result<Vec<Value>> {
    let mut list = kubectl.get(&["pods", "-n", VELERO_NAMESPACE])?;
    match list["items"].take() {
        Value::Array(items) => Ok(items),
        other => anyhow::bail!("no list: {other}"),
    }
}

/// Reports the Pods that are not running yet as started, as a kubelet does.
fn run_pods(kubectl: &Cli, started: &str) -> Result<()> {
    for pod in pods(kubectl)? {
        if pod["status"]["phase"] != "Running" {
            let name = pod["metadata"]["name"].as_str().context("no name")?;
            began(kubectl, &format!("pod/{name}"), started)?;
        }
    }
    Ok(())
}

fn began(kubectl: &Cli, pod: &str, started: &str) -> Result<()> {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let status = json!({"phase": "Running", "startTime": started, "conditions": ready});
    let patch = json!({ "status": status }).to_string();
    let arguments = ["patch", pod, "-n", VELERO_NAMESPACE];
    let status = ["--subresource=status", "--patch", &patch];
    kubectl.ok(&[&arguments[..], &status].concat())?;
    Ok(())
}
