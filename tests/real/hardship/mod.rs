//! Failure scenarios of the controllers: nothing is lost, nothing is written that must not be, and
//! there are no hot loops. All requests of one replica to the API server are counted.

mod apart;
mod crowd;
mod flapping;
mod foreign;
mod forgotten;
mod gone;
mod greedy;
mod memory;
mod own;
mod refused;
mod replicas;
mod silent;

use crate::bundle::PATIENCE;
use crate::servers::Servers;
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use velero_trust_testing::failure;
use velero_trust_testing::proxy::{Proxy, Seen};
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

/// Time for which changes are collected before a bundle is built.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Time for which changes are collected before a report is written.
const REPORT_DEBOUNCE: Duration = Duration::from_millis(500);

pub(crate) fn trials() -> Vec<Trial> {
    let shared = Shared::default();
    vec![
        crate::shared::alone("hardship::namespaces_never_mix", apart::apart),
        crate::shared::alone("hardship::a_greedy_namespace", greedy::greedy),
        shared.trial("hardship::500_locations_in_one_namespace", crowd::crowd),
        shared.trial("hardship::a_secret_that_flaps", flapping::flapping),
        shared.trial("hardship::two_locations_name_one_secret", flapping::shared),
        shared.trial("hardship::a_bundle_that_others_touch", foreign::touched),
        shared.trial("hardship::a_config_map_that_is_not_ours", foreign::foreign),
        shared.trial("hardship::a_bundle_that_is_immutable", foreign::immutable),
        shared.trial("hardship::a_memory_that_is_not_ours", memory::strange),
        shared.trial("hardship::a_memory_that_is_deleted", memory::deleted),
        shared.trial("hardship::a_memory_that_is_read_again", memory::read_again),
        shared.trial(
            "hardship::a_report_and_a_certificate_that_others_touch",
            own::replaced,
        ),
        shared.trial("hardship::an_api_server_that_refuses", refused::refused),
        crate::shared::alone("hardship::retention_over_restarts", memory::restarts),
        crate::shared::alone("hardship::a_ca_that_is_forgotten", forgotten::forgotten),
        // With its own proxy, because a proxy can refuse requests for only one trial at a time.
        crate::shared::alone("hardship::a_namespace_that_leaves_and_is_back", || {
            gone::back(&Steady::start()?)
        }),
        crate::shared::alone("hardship::a_leader_that_dies", replicas::takeover),
        crate::shared::alone("hardship::a_leader_whose_lease_hangs", replicas::hung),
        crate::shared::alone(
            "hardship::a_leader_whose_connections_go_silent",
            silent::silent,
        ),
        crate::shared::alone("hardship::what_gone_namespaces_leave", gone::leavings),
    ]
}

/// An API server and one replica behind a proxy that records all requests. The fields are dropped
/// in this order.
struct Steady {
    replica: Webhook,
    proxy: Proxy,
    servers: Servers,
}

/// Started by the first trial that needs it.
#[derive(Clone, Default)]
struct Shared(Arc<OnceLock<Result<Steady, String>>>);

impl Shared {
    /// Returns a trial in its own namespace.
    fn trial(&self, name: &str, run: fn(&Steady) -> Result<()>) -> Trial {
        let shared = self.clone();
        crate::shared::told(name, move || {
            let start = || Steady::start().map_err(|error| failure::tell(&error, &[]));
            let steady = shared.0.get_or_init(start).as_ref().map_err(Clone::clone)?;
            run(steady).map_err(|error| failure::tell(&error, &[steady.replica.tail()]))
        })
    }
}

impl Steady {
    fn start() -> Result<Self> {
        let servers = Servers::start()?;
        let proxy = servers.proxy()?;
        Ok(Self {
            replica: servers.replica_behind(&proxy, &[])?,
            proxy,
            servers,
        })
    }

    /// Returns the requests with `method` for the bundle in `namespace`.
    fn of_bundle(&self, method: &str, namespace: &str) -> Vec<Seen> {
        let path = bundle_path(namespace);
        self.proxy
            .seen(|seen| seen.method == method && seen.path == path)
    }

    /// Returns how often a bundle was built. Each build reads it once.
    fn made(&self, namespace: &str) -> usize {
        self.of_bundle("GET", namespace).len()
    }

    /// Waits until the bundle was built `wanted` times.
    fn made_often(&self, namespace: &str, wanted: usize) -> Result<()> {
        wait::poll("the bundle to be made", PATIENCE, || {
            let made = self.made(namespace);
            ensure!(made >= wanted, "{made} times, not {wanted}");
            Ok(())
        })
    }

    /// Returns how often `what`, the `memory` or `report` of `namespace` in the namespace of
    /// velero-trust, was written.
    fn wrote(&self, what: &str, namespace: &str) -> usize {
        let end = format!("/configmaps/velero-trust-{what}.{namespace}");
        let wrote = |seen: &Seen| seen.method == "PATCH" && seen.path.ends_with(&end);
        self.proxy.seen(wrote).len()
    }

    /// Waits until the report has exactly these issues. Each is given by a part of its message.
    fn has_issues(&self, namespace: &str, parts: &[&str]) -> Result<()> {
        let what = format!("the report to have the issues {parts:?}");
        wait::poll(&what, PATIENCE, || {
            let report = self.servers.report(namespace)?;
            let issues = report["issues"].as_array().cloned().unwrap_or_default();
            let messages = || issues.iter().filter_map(|issue| issue["message"].as_str());
            let has = |part: &&str| messages().any(|message| message.contains(part));
            let all = issues.len() == parts.len() && parts.iter().all(has);
            ensure!(all, "{issues:?}");
            Ok(())
        })
    }
}

fn bundle_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps/velero-trust-ca")
}

/// Returns the origins of the certificates in a bundle, without the public roots.
fn origins(map: &Value) -> String {
    let origins = map["metadata"]["annotations"]["velero-trust.io/origins"].as_str();
    let origins = origins.unwrap_or_default().split(' ');
    let own: Vec<_> = origins.filter(|one| !one.starts_with("public=")).collect();
    own.join(" ")
}

/// Waits until the origins are exactly `wanted`, and returns the ConfigMap.
fn comes_from(servers: &Servers, namespace: &str, wanted: &str) -> Result<Value> {
    wait::poll(&format!("origins {wanted}"), PATIENCE, || {
        let map = servers.bundle(namespace)?;
        ensure!(origins(&map) == wanted, "{}", origins(&map));
        Ok(map)
    })
}

/// Returns how often something that happens once per `every` can happen in `time`.
fn times(time: Duration, every: Duration) -> usize {
    let times = time.as_millis() / every.as_millis().max(1);
    usize::try_from(times).unwrap_or(usize::MAX)
}
