//! Off and away: nothing is refused for want of a server, in whatever order velero-trust goes.

use crate::load::{Answer, Load};
use crate::shared::{alone, applied, binary};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::{self, Installer, NAMESPACE};
use velero_trust_testing::process::clean_command;
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

/// Time limit for what the leader does, or tells, within seconds.
const SOON: Duration = Duration::from_secs(40);

/// Objects that are deleted between two kills of `uninstall`.
const BETWEEN_KILLS: usize = 4;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("removal::emergency_off", emergency_off),
        alone("removal::uninstall", uninstall),
        alone("removal::by_others", by_others),
    ]
}

struct Scene {
    webhook: Webhook,
    installer: Installer,
    cluster: Cluster,
}

impl Scene {
    fn start() -> Result<Self> {
        let cluster = Cluster::start()?;
        let installer = applied(&cluster, None)?;
        let webhook = installer.serve(&[])?;
        let scene = Self {
            webhook,
            installer,
            cluster,
        };
        scene.is_active()?;
        Ok(scene)
    }

    fn kubectl(&self) -> &Cli {
        self.cluster.kubectl()
    }

    fn is_active(&self) -> Result<()> {
        self.installer.set_ready(true)?;
        installer::wait_until_asked(self.kubectl()).with_context(|| self.webhook.log())
    }

    /// Installs it again, with a new server.
    fn install_again(&mut self) -> Result<()> {
        self.installer.apply()?;
        self.webhook = self.installer.serve(&[])?;
        let deployment = ["get", "pods", "-n", NAMESPACE, "-o", "name"];
        wait::poll("the Pods of the Deployment", SOON, || {
            ensure!(
                self.kubectl().ok(&deployment)?.lines().count() == 2,
                "not yet"
            );
            Ok(())
        })?;
        self.is_active()
    }

    /// Returns the configurations that have rules, but for that of the canary.
    fn asked(&self) -> Result<Vec<String>> {
        let kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations";
        let label = ["-l", "app.kubernetes.io/name=velero-trust"];
        let all = self.kubectl().get(&[&[kinds][..], &label].concat())?;
        let all = all["items"].as_array().context("no list")?.iter();
        let asked = all.filter(|one| {
            let labels = &one["metadata"]["labels"];
            one["webhooks"][0]["rules"].is_array()
                && labels["velero-trust.io/webhook"].is_string()
                && labels["velero-trust.io/webhook"] != "canary"
        });
        Ok(asked
            .map(|one| one["metadata"]["name"].to_string())
            .collect())
    }

    /// Returns a ValidatingWebhookConfiguration as it is, for another one like it.
    fn configuration(&self, name: &str) -> Result<Value> {
        self.kubectl()
            .get(&["validatingwebhookconfiguration", name])
    }

    fn is_unasked(&self) -> Result<Duration> {
        let began = Instant::now();
        wait::poll("no webhook to have rules", SOON, || {
            let asked = self.asked()?;
            ensure!(asked.is_empty(), "{asked:?} {}", self.webhook.tail());
            Ok(())
        })?;
        Ok(began.elapsed())
    }

    /// No leader sets the rules again, for as long as one waits between two changes.
    fn stays_unasked(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            let asked = self.asked()?;
            ensure!(
                asked.is_empty(),
                "set again: {asked:?} {}",
                self.webhook.tail()
            );
        }
        Ok(())
    }

    /// Runs `work` while callers ask, of which none may be refused for want of a server.
    fn under_load(&self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let load = Load::new(&self.cluster, Answer::RefusedOrUnasked)?;
        let failed = load.during(work)?;
        eprintln!(
            "removal: {name}: {} asked, {} failed",
            load.asked(),
            failed.len()
        );
        ensure!(failed.is_empty(), "{name}: {failed:?}");
        Ok(())
    }
}

/// One command lets the API server ask nothing, with a server and without one, and another one ends that.
fn emergency_off() -> Result<()> {
    let mut scene = Scene::start()?;
    let off = ["emergency-off", "--reason", "we must restore now"];
    scene.under_load("emergency-off", || {
        let said = scene.installer.command.ok(&off)?;
        for line in [
            "  kubectl -n velero-trust create configmap velero-trust-off --from-literal=reason='we must restore now'",
            "ValidatingWebhookConfiguration velero-trust-restores is asked nothing",
            "To end that: velero-trust emergency-off --undo",
        ] {
            ensure!(said.contains(line), "{line}: {said}");
        }
        Ok(())
    })?;
    ensure!(scene.asked()?.is_empty(), "{:?}", scene.asked()?);
    // A GitOps tool applies the manifests again, and a leader that starts anew makes nothing active.
    scene.installer.apply()?;
    scene.webhook.signal("KILL")?;
    scene.webhook.ended(SOON)?;
    scene.webhook = scene.installer.serve(&[])?;
    wait::poll("the leader to tell why nothing is active", SOON, || {
        let status = scene.installer.command.run(&["status", "--output=json"])?;
        let status: Value = serde_json::from_str(&status.stdout)?;
        let held = status["activation"]["held"].as_str().unwrap_or_default();
        ensure!(held.contains("velero-trust-off is there"), "{status}");
        let fix = status["activation"]["fix"].as_str().unwrap_or_default();
        ensure!(fix.contains("emergency-off --undo"), "{fix}");
        Ok(())
    })?;
    ensure!(scene.asked()?.is_empty(), "{:?}", scene.asked()?);
    let undo = ["emergency-off", "--undo"];
    let said = scene.installer.command.ok(&undo)?;
    ensure!(said.contains("velero-trust-off is deleted"), "{said}");
    scene.is_active()?;
    let again = scene.installer.command.ok(&undo)?;
    ensure!(again.contains("velero-trust-off is not there"), "{again}");

    // No server lives.
    scene.webhook.signal("KILL")?;
    scene.webhook.ended(SOON)?;
    scene.installer.command.ok(&off)?;
    scene.under_load("emergency-off without a server", || {
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    scene.webhook = scene.installer.serve(&[])?;
    scene.installer.command.ok(&undo)?;
    scene.is_active()?;

    // Nothing can be written into a namespace that is being deleted and cannot be.
    scene.webhook.signal("KILL")?;
    scene.webhook.ended(SOON)?;
    let stuck = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "stuck", "namespace": NAMESPACE, "finalizers": ["example.com/never"]},
    });
    let kubectl = scene.kubectl();
    kubectl.apply(&stuck.to_string())?;
    kubectl.ok(&["delete", "namespace", NAMESPACE, "--wait=false"])?;
    ensure!(scene.asked()?.len() == 5, "{:?}", scene.asked()?);
    let told = scene.installer.command.run(&off)?;
    let why = "ConfigMap velero-trust/velero-trust-off cannot be written";
    ensure!(
        told.code == Some(2) && told.stderr.contains(why),
        "{told:?}"
    );
    ensure!(scene.asked()?.is_empty(), "{:?}", scene.asked()?);
    let free = ["--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    kubectl.ok(&[&["patch", "configmap", "stuck", "-n", NAMESPACE][..], &free].concat())?;
    Ok(())
}

/// `uninstall` is killed again and again, and each time begins where it was.
fn uninstall() -> Result<()> {
    let scene = Scene::start()?;
    let kubectl = scene.kubectl();
    let secret = ["secret", "velero-trust-signing-key", "-n", NAMESPACE];
    wait::poll("the key that signs", SOON, || {
        kubectl.get(&secret).map(drop)
    })?;
    let dry = scene.installer.command.ok(&["uninstall", "--dry-run"])?;
    for line in [
        "  Deployment velero-trust/velero-trust\n",
        "  ClusterRole velero-trust\n",
    ] {
        ensure!(dry.contains(line), "{line}: {dry}");
    }
    ensure!(scene.asked()?.len() == 5, "the dry run changed something");
    let mut kills = 0;
    scene.under_load("uninstall", || {
        while is_killed_after(&scene, BETWEEN_KILLS)? {
            kills += 1;
            ensure!(
                scene.asked()?.is_empty() || kills == 1,
                "{:?}",
                scene.asked()?
            );
        }
        Ok(())
    })?;
    eprintln!("removal: uninstall was killed {kills} times");
    ensure!(kills >= 5, "it was killed only {kills} times");
    scene.webhook.signal("TERM")?;

    let said = scene.installer.command.ok(&["uninstall"])?;
    for kept in [
        "Kept:\n  Secret velero-trust/velero-trust-signing-key\n",
        "  CustomResourceDefinition backuprecords.velero-trust.io\n",
        "  Namespace velero-trust\n",
        "velero-trust uninstall --purge-keys",
    ] {
        ensure!(said.contains(kept), "{kept}: {said}");
    }
    let deleted: Vec<_> = said
        .lines()
        .filter(|line| line.ends_with(" is deleted"))
        .collect();
    let only = "ConfigMap velero-trust/velero-trust-off is deleted";
    ensure!(deleted == [only], "something was left: {said}");
    for object in scene.installer.objects()? {
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or("default");
        let (kind, name) = (
            kind.as_str().context("no kind")?,
            name.as_str().context("no name")?,
        );
        let is_kept = ["Namespace", "CustomResourceDefinition"].contains(&kind);
        let found = scene.kubectl().run(&["get", kind, name, "-n", namespace])?;
        ensure!(
            (found.code == Some(0)) == is_kept,
            "{kind} {name}: {found:?}"
        );
    }
    scene.kubectl().get(&secret)?;

    scene.installer.command.ok(&["uninstall", "--purge-keys"])?;
    wait::poll("keys, records and the namespace to go", SOON, || {
        let left = [
            "get",
            "crd/trustedkeys.velero-trust.io",
            "namespace/velero-trust",
        ];
        let left = scene
            .kubectl()
            .run(&[&left[..], &["--ignore-not-found"]].concat())?;
        ensure!(left.stdout.is_empty(), "{left:?}");
        Ok(())
    })
}

/// Runs `uninstall`, and kills it after so many objects. Returns false if it ended before.
fn is_killed_after(scene: &Scene, objects: usize) -> Result<bool> {
    let command = &scene.installer.command;
    let mut uninstall = clean_command(binary(), command.home());
    uninstall
        .arg("uninstall")
        .env("KUBECONFIG", scene.cluster.kubeconfig());
    let mut uninstall = uninstall.stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(uninstall.stdout.take().context("no output")?).lines();
    let mut deleted = 0;
    for line in lines {
        let line = line?;
        deleted +=
            usize::from(line.ends_with(" is deleted") || line.ends_with(" is asked nothing"));
        if deleted == objects {
            uninstall.kill()?;
            uninstall.wait()?;
            return Ok(true);
        }
    }
    let status = uninstall.wait()?;
    ensure!(status.success(), "uninstall failed: {status}");
    Ok(false)
}

/// Its Deployment is deleted, its namespace, or everything at once, by whoever: the rules are gone before the
/// server is. Scaling to 0 is no removal.
fn by_others() -> Result<()> {
    let mut scene = Scene::start()?;
    let deployment = ["deployment/velero-trust", "-n", NAMESPACE];
    scene
        .kubectl()
        .ok(&[&["scale", "--replicas=0"], &deployment[..]].concat())?;
    wait::poll("the Pods to go", SOON, || {
        let pods = scene
            .kubectl()
            .ok(&["get", "pods", "-n", NAMESPACE, "-o", "name"])?;
        ensure!(pods.is_empty(), "{pods}");
        Ok(())
    })?;
    ensure!(
        scene.asked()?.len() == 5,
        "scaling to 0 took rules: {:?}",
        scene.asked()?
    );
    scene
        .kubectl()
        .ok(&[&["scale", "--replicas=2"], &deployment[..]].concat())?;

    // What an earlier version left behind. velero-trust has no right to change it, which keeps it from nothing else.
    let mut left = scene.configuration("velero-trust-backupstoragelocations")?;
    left["metadata"] = json!({
        "name": "velero-trust",
        "labels": {"app.kubernetes.io/name": "velero-trust"},
    });
    left["webhooks"][0]["failurePolicy"] = json!("Ignore");
    scene.kubectl().apply(&left.to_string())?;

    let objects = scene.installer.objects()?;
    // A tool that prunes goes the other way.
    let reversed = objects.iter().rev().filter(|one| {
        let kind = one["kind"].as_str().unwrap_or_default();
        !["Namespace", "CustomResourceDefinition"].contains(&kind)
    });
    let reversed: Vec<_> = reversed.cloned().collect();
    let reversed = json!({"apiVersion": "v1", "kind": "List", "items": reversed});
    let all = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "velero-trust", "namespace": NAMESPACE},
    });
    for (name, objects, ends_first) in [
        ("the Deployment", &deployment, false),
        (
            "the Deployment, after its Pods were told to end",
            &deployment,
            true,
        ),
        ("the namespace", &namespace, false),
        ("a tool that prunes", &reversed, false),
        ("kubectl delete -k", &all, false),
    ] {
        scene.under_load(name, || {
            if ends_first {
                scene.webhook.signal("TERM")?;
            }
            // The kinds stay, and kubectl says so.
            let delete = ["delete", "--wait=false", "-f", "-"];
            scene
                .kubectl()
                .run_with_input(&delete, &objects.to_string())?;
            let took = scene.is_unasked()?;
            eprintln!("removal: {name}: no webhook is asked after {took:?}");
            scene.stays_unasked()?;
            // It would drain for as long as the API server keeps its connections.
            scene.webhook.signal("KILL")?;
            std::thread::sleep(Duration::from_secs(1));
            Ok(())
        })?;
        scene.webhook.ended(SOON)?;
        wait::poll("the namespace to be gone or whole", SOON, || {
            let phase = [
                "get",
                "namespace",
                NAMESPACE,
                "-o",
                "jsonpath={.status.phase}",
            ];
            let phase = scene.kubectl().run(&phase)?.stdout;
            ensure!(phase != "Terminating", "it is still there");
            Ok(())
        })?;
        scene.install_again().context(name)?;
    }
    Ok(())
}
