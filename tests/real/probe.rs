//! What a real store presents, how it is judged, and when it is probed anew.

use crate::servers::Servers;
use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use velero_trust::ca::certificate::Certificate;
use velero_trust::ca::endpoint::judge::judge;
use velero_trust::ca::endpoint::{self, DeniedAddresses, Target};
use velero_trust::controllers::probe::{ProbeLimits, fetch_certificates};
use velero_trust::dial::Proxies;
use velero_trust::velero::bsl::Bsl;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::minio::Minio;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// Time limit that is long enough on a machine that is busy with other trials.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("probe::sees_what_minio_presents", || Ok(sees()?)),
        alone("probe::looks_anew_when_velero_cannot_use_the_store", anew),
    ]
}

fn sees() -> Result<()> {
    let minio = Minio::start(&["backups"])?;
    let location = minio.location("velero", "default", "backups").to_string();
    let bsl: Bsl<'_> = serde_json::from_str(&location)?;
    let endpoints: Vec<_> = endpoint::read_endpoints("velero", &bsl)
        .into_iter()
        .flatten()
        .collect();
    let [found] = endpoints.as_slice() else {
        anyhow::bail!("not one endpoint: {endpoints:?}");
    };
    ensure!(found.url == minio.url && found.verified_by_velero);

    let ours = Certificate::parse(minio.authority.der())?;
    let other = Certificate::parse(Authority::new("another CA")?.der())?;
    let elsewhere = Target {
        host: "minio.example".to_owned(),
        ..found.target.clone()
    };
    for (target, roots, said) in [
        (&found.target, vec![ours.clone()], None),
        (
            &found.target,
            vec![other],
            Some("CA does not match the endpoint: issuer CN=velero-trust test: CA of MinIO"),
        ),
        (
            &elsewhere,
            vec![ours],
            Some("does not name `minio.example`, only localhost, minio.invalid, 127.0.0.1"),
        ),
    ] {
        let observation = judge(&presented(target)?, &target.host, &roots, now()?);
        let texts: Vec<_> = observation
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        ensure!(
            texts.len() == usize::from(said.is_some())
                && said.is_none_or(|said| texts[0].contains(said)),
            "{target:?}: {texts:?}"
        );
    }
    // The store only got handshakes, and it still works.
    minio.check_live(&minio.authority.pem())
}

/// The namespace of the locations.
const NAMESPACE: &str = "probed";

/// The certificate of a store is replaced. A location that turns unavailable is looked at anew, long
/// before the interval of the probes is over, as often as the limits say however it flaps; and so is
/// every location when an operator asks.
fn anew() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    servers.namespace(NAMESPACE)?;
    let minio = Minio::start(&["backups"])?;
    let (location, secret) = minio.location_with_ca(NAMESPACE, "default", "backups");
    kubectl.apply(&secret.to_string())?;
    kubectl.apply(&location.to_string())?;
    let counter = Counter::start()?;
    let mut other = minio.location(NAMESPACE, "other", "backups");
    let url = format!("https://127.0.0.1:{}", counter.port);
    merge(&mut other, &json!({"spec": {"config": {"s3Url": url}}}));
    kubectl.apply(&other.to_string())?;
    for name in ["default", "other"] {
        set_phase(&servers, name, "Available")?;
    }
    let replica = servers.replica(&["--probe=loopback"])?;
    let seen = |state: &str, issuer: &str| {
        wait::poll(&format!("the endpoint to be {state}"), PATIENCE, || {
            let report = servers.report(NAMESPACE)?;
            let endpoint = report["locations"]["default"]["endpoints"][0].clone();
            ensure!(endpoint["state"] == state, "{endpoint}");
            let told = endpoint["issuer"].to_string();
            ensure!(told.contains(issuer), "{endpoint}");
            let at = endpoint["probedAt"].as_str().context("no time")?;
            let at: k8s_openapi::jiff::Timestamp = at.parse()?;
            let age = now()? - at.as_second();
            ensure!((0..60).contains(&age), "{age} s: {endpoint}");
            Ok(at)
        })
        .with_context(|| replica.log())
    };
    let first = seen("trusted", "CA of MinIO")?;
    let metric = format!(
        r#"velero_trust_endpoint_probed_seconds{{namespace="{NAMESPACE}",location="default""#
    );
    ensure!(
        replica.metrics()?.contains(&metric),
        "no time in the metrics"
    );

    minio.show_certificate_of(&Authority::new("of another")?)?;
    set_phase(&servers, "default", "Unavailable")?;
    let second = seen("untrusted", "of another")?;
    ensure!(first < second, "{first} {second}");

    // Velero is asked for its opinion often, and it changes each time.
    let (start, before) = (Instant::now(), counter.count());
    for number in 0..60 {
        let phase = ["Unavailable", "Available"][number % 2];
        set_phase(&servers, "other", phase)?;
    }
    counter.exceeds(before).with_context(|| replica.log())?;
    let most = 2 + usize::try_from(start.elapsed().as_secs() / 5)?;
    let probes = counter.count() - before;
    ensure!(probes <= most, "{probes} probes in {:?}", start.elapsed());

    // Nothing tells the leader that the store is well again, until somebody asks.
    minio.show_certificate_of(&minio.authority)?;
    let command = Cli::new(binary().to_owned(), Some(servers.kubeconfig()))?;
    let status = |live: &str| -> Result<(Output, Value)> {
        let output = command.run(&["status", "--output=json", live])?;
        let status = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
        Ok((output, status))
    };
    // Two ask at the same time, and both have an answer.
    let (answer, other) = thread::scope(|scope| {
        let other = scope.spawn(|| status("--live"));
        (status("--live"), other.join())
    });
    let (_, other) = other.ok().context("its thread panicked")??;
    let (_, answer) = answer?;
    ensure!(other["namespaces"][0]["live"]["done"] == true, "{other}");
    let namespace = &answer["namespaces"][0];
    ensure!(namespace["live"]["done"] == true, "{answer}");
    let endpoint = &namespace["locations"][0]["report"]["endpoints"][0];
    ensure!(endpoint["state"] == "trusted", "{endpoint}");
    let text = command.run(&["status"])?.stdout;
    ensure!(
        text.contains("trusted (") && text.contains("s ago)"),
        "{text}"
    );

    // Nobody leads.
    drop(replica);
    let (output, answer) = status("--live=1")?;
    ensure!(output.code == Some(1), "{output:?}");
    let namespace = &answer["namespaces"][0];
    ensure!(namespace["live"]["done"] == false, "{answer}");
    let problems = namespace["problems"].to_string();
    ensure!(problems.contains("within 1 s of the request"), "{problems}");
    Ok(())
}

/// Sets the phase of a location, as Velero does.
fn set_phase(servers: &Servers, name: &str, phase: &str) -> Result<()> {
    let kind = GroupVersionKind::gvk("velero.io", "v1", "BackupStorageLocation");
    let resource = ApiResource::from_gvk(&kind);
    let api = Api::<DynamicObject>::namespaced_with(servers.client.clone(), NAMESPACE, &resource);
    let patch = Patch::Merge(json!({"status": {"phase": phase}}));
    let params = PatchParams::default();
    servers.runtime.block_on(api.patch(name, &params, &patch))?;
    Ok(())
}

/// A server that counts connections and closes them.
struct Counter {
    port: u16,
    count: Arc<AtomicUsize>,
}

impl Counter {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        // It ends with the process.
        thread::spawn(move || {
            for _ in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(Self { port, count })
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits for one more connection than `before`.
    fn exceeds(&self, before: usize) -> Result<()> {
        wait::poll("a probe", PATIENCE, || {
            ensure!(self.count() > before, "none");
            Ok(())
        })
    }
}

fn presented(target: &Target) -> Result<Vec<Vec<u8>>> {
    let limits = ProbeLimits {
        deadline: PATIENCE,
        ..ProbeLimits::default()
    };
    let denied = DeniedAddresses::default().allowing_loopback();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(fetch_certificates(
        target,
        &denied,
        &Proxies::default(),
        limits,
    ));
    found.context("MinIO does not show its certificates")
}

fn now() -> Result<i64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_secs())?)
}
