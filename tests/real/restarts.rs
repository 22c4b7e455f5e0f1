//! Restarts: no write fails that had a replica to judge it, and one replica leads.

use crate::load::{Answer, Load};
use crate::shared::{alone, applied, is_ready, leads};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installer, NAMESPACE};
use velero_trust_testing::proxy::Proxy;
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

/// Callers at a time.
const CALLERS: usize = 12;

/// Rolling restarts of both replicas; `RESTARTS` sets another number, as `make soak` does.
const RESTARTS: usize = 5;

/// Longest time after which a Service learns that a Pod goes.
const MAX_LAG: u64 = 5_000;

/// Time for which a connection of the API server is idle after its replica was told to end.
const IDLE: Duration = Duration::from_mins(1);

/// Less than a Lease lasts. It is two seconds where nothing else runs.
const SOONER: Duration = Duration::from_secs(8);

/// Time limit for a change of the leader.
const SOON: Duration = Duration::from_mins(1);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("restarts::fail_no_write", fail_no_write),
        alone("restarts::an_idle_connection_is_answered", idle_connection),
        alone(
            "restarts::a_silent_api_server_fails_no_write",
            silent_api_server,
        ),
        alone(
            "restarts::a_leader_that_stood_still_writes_nothing",
            stood_still,
        ),
    ]
}

/// An installation with two replicas, which issue their own certificates.
struct Scene {
    replicas: Vec<Webhook>,
    /// How many were started.
    started: usize,
    /// The times from their start until they were ready.
    ready_after: Vec<Duration>,
    installer: Installer,
    cluster: Cluster,
}

impl Scene {
    fn start() -> Result<Self> {
        let cluster = Cluster::start()?;
        let installer = applied(&cluster, None)?;
        Self::of(cluster, installer)
    }

    fn of(cluster: Cluster, installer: Installer) -> Result<Self> {
        let began = Instant::now();
        let first = installer.serve(&[])?;
        is_ready(&first, SOON)?;
        // This one has a CA to make, and the time has two calls of kubectl in it.
        let ready_after = vec![began.elapsed()];
        let mut scene = Self {
            replicas: vec![first],
            started: 1,
            ready_after,
            installer,
            cluster,
        };
        scene.start_another()?;
        scene.send_to_all()?;
        scene.installer.set_ready(true)?;
        installer::wait_until_asked(scene.cluster.kubectl())?;
        Ok(scene)
    }

    /// Starts a replica, and waits until it is ready. The Service does not know it yet.
    fn start_another(&mut self) -> Result<()> {
        self.started += 1;
        let began = Instant::now();
        let replica = self
            .installer
            .serve_beside(&format!("replica-{}", self.started))?;
        is_ready(&replica, SOON)?;
        self.ready_after.push(began.elapsed());
        self.replicas.push(replica);
        Ok(())
    }

    fn send_to_all(&self) -> Result<()> {
        let addresses = self.replicas.iter().map(Webhook::address);
        self.installer
            .set_replicas(&addresses.collect::<Result<Vec<_>>>()?);
        Ok(())
    }
}

/// Both replicas are replaced again and again, as in a rolling update, while the Service learns of it late; then
/// one is killed; then both are, and what does not concern velero-trust passes.
fn fail_no_write() -> Result<()> {
    let mut scene = Scene::start()?;
    let restarts = std::env::var("RESTARTS")
        .ok()
        .and_then(|text| text.parse().ok());
    let restarts = restarts.unwrap_or(RESTARTS);
    let load = Load::new(&scene.cluster, Answer::Refused)?.without_pause(CALLERS);
    // Those that were told to end, and drain.
    let mut old = Vec::new();
    let failed = load.during(|| {
        for number in 0..2 * restarts {
            scene.start_another()?;
            scene.send_to_all()?;
            let oldest = scene.replicas.remove(0);
            oldest.signal("TERM")?;
            old.push(oldest);
            thread::sleep(lag(number));
            scene.send_to_all()?;
        }
        Ok(())
    })?;
    eprintln!(
        "restarts: {restarts} of both replicas: {} asked, {} failed",
        load.asked(),
        failed.len()
    );
    ensure!(failed.is_empty(), "{failed:?}");
    scene.ready_after.sort();
    let middle = scene.ready_after.get(scene.ready_after.len() / 2);
    eprintln!("restarts: under this load a replica is ready {middle:?} after its start");
    drop(old);
    one_is_killed(&mut scene)?;
    without_a_replica(&mut scene)
}

/// Returns how late the Service learns that a Pod goes: another time for each, from 0 on.
const fn lag(number: usize) -> Duration {
    Duration::from_millis(number as u64 * 1_370 % MAX_LAG)
}

/// Only those calls fail that the replica had not answered, and those that the Service sent to it after its end.
fn one_is_killed(scene: &mut Scene) -> Result<()> {
    let load = Load::new(&scene.cluster, Answer::Refused)?.without_pause(CALLERS);
    let before = scene.installer.refused_connections();
    let killed = scene.replicas.remove(0);
    let failed = load.during(|| {
        thread::sleep(Duration::from_secs(1));
        killed.signal("KILL")?;
        thread::sleep(Duration::from_secs(1));
        scene.send_to_all()?;
        thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    let refused = scene.installer.refused_connections() - before;
    eprintln!(
        "restarts: kill -9: {} asked, {} failed, {refused} connections after the end of the replica",
        load.asked(),
        failed.len()
    );
    ensure!(failed.len() <= CALLERS + refused, "{failed:?}");
    Ok(())
}

/// The webhooks are active, and nobody serves them: what velero-trust does not judge passes.
fn without_a_replica(scene: &mut Scene) -> Result<()> {
    for replica in std::mem::take(&mut scene.replicas) {
        replica.signal("KILL")?;
    }
    let kubectl = scene.cluster.kubectl();
    let pod = |name: &str, namespace: &str, labels: Value| {
        let rights = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
        });
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "none", "securityContext": rights}]},
        })
    };
    let labels = json!({
        "app.kubernetes.io/name": "velero-trust", "app.kubernetes.io/component": "webhook",
    });
    let ours = pod("velero-trust-x", NAMESPACE, labels);
    let dns = pod("dns", "kube-system", json!({}));
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "some-node", "namespace": "kube-node-lease"},
    });
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "some-node"}});
    for object in [node, lease, dns, ours] {
        kubectl.apply(&object.to_string())?;
    }
    let more = ["--no-default-backup-location", "--use-node-agent"];
    scene.cluster.install_velero(VELERO_NAMESPACE, &more)?;
    let bsl = json!({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
        "metadata": {"name": "unjudged", "namespace": VELERO_NAMESPACE},
        "spec": {"provider": "aws", "objectStorage": {"bucket": "b"}},
    });
    let refused = kubectl.create(&bsl.to_string())?;
    let says = "failed calling webhook \"backupstoragelocations.velero-trust.io\"";
    ensure!(refused.stderr.contains(says), "{refused:?}");
    Ok(())
}

/// The API server keeps connections for 90 seconds. A replica that was told to end answers what comes on them.
fn idle_connection() -> Result<()> {
    let mut scene = Scene::start()?;
    let first = scene.replicas.remove(0);
    scene.installer.set_replicas(&[first.address()?]);
    // All connections that the API server has are to this replica from now on: the other one is new.
    let other = scene.replicas.remove(0);
    other.signal("KILL")?;
    scene.start_another()?;
    let load = Load::new(&scene.cluster, Answer::Refused)?;
    let mut failed = load.during(|| {
        thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    // What was under way on the connections of the one that was killed.
    failed.retain(|why| !why.contains("EOF") && !why.contains("reset"));
    ensure!(failed.is_empty(), "{failed:?}");
    let served = reviews(&first);
    ensure!(served > 0, "it was asked nothing");
    scene.send_to_all()?;
    first.signal("TERM")?;
    let ended = Instant::now();
    thread::sleep(IDLE);
    let kubectl = scene.cluster.kubectl();
    installer::wait_until_asked(kubectl)?;
    let after = reviews(&first) - served;
    eprintln!(
        "restarts: {after} calls on idle connections, {:?} after the replica was told to end",
        ended.elapsed()
    );
    ensure!(
        after > 0,
        "no call came on an idle connection: {}",
        first.log()
    );
    Ok(())
}

/// Returns how many reviews a replica answered.
fn reviews(replica: &Webhook) -> usize {
    replica.events("review admitted").len() + replica.events("review denied").len()
}

/// All connections of the replicas to the API server go silent, again and again, as when one of several API servers
/// behind one address is gone without a word. What the replicas cannot answer then is asked again.
fn silent_api_server() -> Result<()> {
    let cluster = Cluster::start()?;
    let proxy = Proxy::start(cluster.access())?;
    let installer = applied(&cluster, Some(&proxy.access().server))?;
    let scene = Scene::of(cluster, installer)?;
    let load = Load::new(&scene.cluster, Answer::RefusedOrUnasked)?;
    let load = load.of_a_secret().without_pause(CALLERS);
    let failed = load.during(|| {
        for _ in 0..3 {
            thread::sleep(Duration::from_secs(2));
            proxy.silence();
            thread::sleep(Duration::from_secs(6));
        }
        Ok(())
    })?;
    let unanswered = scene
        .replicas
        .iter()
        .map(|one| one.events("review not decided").len());
    eprintln!(
        "restarts: {} connections went silent: {} asked, {} answered by no decision, {} failed",
        proxy.silent(),
        load.asked(),
        unanswered.sum::<usize>(),
        failed.len()
    );
    ensure!(proxy.silent() > 2, "only {} went silent", proxy.silent());
    ensure!(failed.is_empty(), "{failed:?}");
    // Not each is a line of the log.
    let decided: usize = scene.replicas.iter().map(reviews).sum();
    ensure!(decided > 100, "they were asked only {decided} times");
    Ok(())
}

/// A leader that stands still for half a minute finds another one, and changes nothing.
fn stood_still() -> Result<()> {
    let scene = Scene::start()?;
    let [first, second] = &scene.replicas[..] else {
        anyhow::bail!("not two replicas");
    };
    eprintln!(
        "restarts: a replica is ready {:?} after its start",
        scene.ready_after
    );
    leads(first)?;
    first.signal("STOP")?;
    let began = Instant::now();
    leads(second)?;
    eprintln!(
        "restarts: another replica leads after {:?}",
        began.elapsed()
    );
    thread::sleep(Duration::from_secs(30).saturating_sub(began.elapsed()));
    wait::poll("the new leader to say that all is well", SOON, || {
        let status = scene.installer.command.run(&["status", "--output=json"])?;
        let status: Value = serde_json::from_str(&status.stdout)?;
        ensure!(status["leader"]["holder"] == "replica-2", "{status}");
        ensure!(status["activation"]["held"].is_null(), "{status}");
        Ok(())
    })?;
    let kubectl = scene.cluster.kubectl();
    let before = written(kubectl)?;
    first.signal("CONT")?;
    wait::poll("the first one to lead no more", SOON, || {
        ensure!(
            first.metrics()?.contains("velero_trust_leader 0"),
            "it leads"
        );
        Ok(())
    })?;
    // The longest time that it looks at anything which the leader keeps.
    thread::sleep(Duration::from_secs(12));
    let after = written(kubectl)?;
    ensure!(before == after, "{before:#?}\n{after:#?}");

    // Told to end, it is followed sooner.
    second.signal("TERM")?;
    let began = Instant::now();
    leads(first)?;
    // Before the Lease would expire.
    ensure!(began.elapsed() < SOONER, "after {:?}", began.elapsed());
    eprintln!(
        "restarts: after SIGTERM another replica leads after {:?}",
        began.elapsed()
    );
    Ok(())
}

/// Returns what the leader keeps, without what changes with time.
fn written(kubectl: &Cli) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for kinds in [
        "configmaps,secrets",
        "validatingwebhookconfigurations,mutatingwebhookconfigurations",
    ] {
        let listed = kubectl.get(&[kinds, "-n", NAMESPACE])?;
        for object in listed["items"].as_array().context("no list")? {
            let key = format!("{} {}", object["kind"], object["metadata"]["name"]);
            let mut data = object["data"].clone();
            if let Some(data) = data.as_object_mut() {
                // What the canary heard last, which changes.
                data.remove("activation.json");
            }
            let content = json!([data, object["webhooks"]]);
            all.insert(key, content);
        }
    }
    ensure!(all.len() > 8, "only {all:#?}");
    Ok(all)
}
