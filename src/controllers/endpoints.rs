//! What the endpoints of a namespace's BSLs are like, judged with exactly its bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Controllers;
use super::board::Board;
use super::clock::now;
use super::locations::Locations;
use super::maker::{Published, Verdicts};
use super::notices::{Notice, Notices};
use super::prober::{Prober, Seen};
use crate::ca::certificate::Certificate;
use crate::ca::endpoint::judge::judge;
use crate::ca::endpoint::{self, Endpoint, Observation, Target};
use crate::ca::hold::Verdict;
use crate::kubernetes::report;
use crate::telemetry::EndpointGauges;
use crate::velero::bsl::Bsl;

/// After so long all is judged again.
const AGAIN: Duration = Duration::from_mins(5);

/// What was found of one endpoint.
enum Found {
    /// Nobody has looked yet.
    NotYet,
    /// It could not be seen, and why.
    Unseen(String),
    /// It was.
    Seen(Arc<Observation>),
}

/// Judges the endpoints of one namespace.
pub(super) struct Endpoints {
    controllers: Arc<Controllers>,
    namespace: String,
    board: Board,
    prober: Prober,
    notices: Notices,
    gauges: EndpointGauges,
}

impl Endpoints {
    pub(super) fn new(
        controllers: Arc<Controllers>,
        namespace: &str,
        board: Board,
        prober: Prober,
    ) -> Self {
        Self {
            gauges: EndpointGauges::new(Arc::clone(&controllers.metrics), namespace),
            namespace: namespace.to_owned(),
            board,
            prober,
            notices: Notices::default(),
            controllers,
        }
    }

    /// Judges now and whenever a location, the bundle or what was seen changes; never returns.
    pub(super) async fn run(
        mut self,
        mut locations: watch::Receiver<Locations>,
        published: &Published,
        verdicts: &Verdicts,
    ) {
        let mut published = published.subscribe();
        let mut seen = self.prober.seen();
        loop {
            let bsls = locations.borrow_and_update().clone();
            let roots = Arc::clone(&published.borrow_and_update());
            let all = Arc::clone(&seen.borrow_and_update());
            let bsls = read(&self.namespace, &bsls);
            let targets = targets(&bsls);
            self.prober
                .want(&self.namespace, targets.iter().cloned().collect());
            // Before the first bundle there is nothing to judge with.
            if !roots.is_empty() {
                self.judge(&bsls, &roots, &all, verdicts).await;
            }
            loop {
                tokio::select! {
                    Ok(()) = locations.changed() => break,
                    Ok(()) = published.changed() => break,
                    // What is presented stays, and its time passes.
                    () = sleep(AGAIN) => break,
                    Ok(()) = seen.changed() => {
                        let now = seen.borrow_and_update();
                        if targets.iter().any(|target| now.get(target) != all.get(target)) {
                            break;
                        }
                    }
                }
            }
        }
    }

    async fn judge(
        &mut self,
        bsls: &[Named],
        roots: &[Certificate],
        seen: &Seen,
        verdicts: &Verdicts,
    ) {
        let now = now();
        // Many BSLs of one store are judged once.
        let mut judged = BTreeMap::<&Target, Found>::new();
        for target in bsls.iter().flat_map(|bsl| &bsl.endpoints) {
            let target = &target.target;
            judged
                .entry(target)
                .or_insert_with(|| match seen.get(target) {
                    None => Found::NotYet,
                    Some(Err(failure)) => Found::Unseen(failure.to_string()),
                    Some(Ok(chain)) => {
                        let observation = judge(chain, &target.host, roots, now);
                        Found::Seen(Arc::new(observation))
                    }
                });
        }
        let found = |endpoint: &Endpoint| judged.get(&endpoint.target).unwrap_or(&Found::NotYet);
        self.board.update(|report| {
            for bsl in bsls {
                let told = bsl.endpoints.iter();
                let told = told.map(|one| tell(&self.namespace, one, found(one)));
                let location = report.locations.entry(bsl.name.clone()).or_default();
                location.endpoints = told.collect();
            }
        });
        let mut states = Vec::new();
        let mut notices = Vec::new();
        for bsl in bsls {
            for endpoint in &bsl.endpoints {
                let found = found(endpoint);
                let state = state(found);
                states.push((bsl.name.clone(), endpoint.url.clone(), state));
                let is_soon = matches!(found, Found::Seen(seen) if seen.soon.is_some());
                if endpoint.verified_by_velero && (state == UNTRUSTED || is_soon) {
                    notices.push(bsl.notice(&tell(&self.namespace, endpoint, found)));
                }
            }
        }
        self.gauges.set(states);
        self.notices
            .say(&self.controllers.events, &self.namespace, notices)
            .await;
        let decided = bsls.iter().filter_map(|bsl| {
            let store = bsl.endpoints.iter().filter(|one| bsl.breaks_without(one));
            let all: Option<Vec<Verdict>> = store.map(|one| verdict(found(one))).collect();
            Some((bsl.name.clone(), all?))
        });
        let decided: BTreeMap<_, _> = decided.collect();
        verdicts.send_if_modified(|verdicts| {
            let is_new = verdicts.as_ref() != Some(&decided);
            *verdicts = Some(decided);
            is_new
        });
    }
}

/// The endpoints of a namespace stay wanted for as long as somebody judges them.
impl Drop for Endpoints {
    fn drop(&mut self) {
        self.prober.want(&self.namespace, Vec::new());
    }
}

/// A BSL, as far as its endpoints go.
struct Named {
    name: String,
    uid: String,
    /// Its plugin takes `AWS_CA_BUNDLE`.
    is_aws: bool,
    endpoints: Vec<Endpoint>,
}

impl Named {
    /// Whether `AWS_CA_BUNDLE` decides on this endpoint: the store's, and not what the `velero`
    /// command downloads from.
    fn breaks_without(&self, endpoint: &Endpoint) -> bool {
        let is_public = endpoint.from.to_string().ends_with("publicUrl");
        self.is_aws && endpoint.verified_by_velero && !is_public
    }

    fn notice(&self, told: &report::Endpoint) -> Notice {
        Notice {
            about: (
                "BackupStorageLocation".to_owned(),
                self.name.clone(),
                self.uid.clone(),
            ),
            reason: "Endpoint",
            note: format!("{}: {}; {}", told.url, told.message, told.fix),
        }
    }
}

fn read(namespace: &str, locations: &Locations) -> Vec<Named> {
    let bsls = locations.iter().map(|(name, text)| {
        let bsl: Bsl<'_> = serde_json::from_str(text).unwrap_or_default();
        let whole: Value = serde_json::from_str(text).unwrap_or_default();
        let uid = whole.pointer("/metadata/uid").and_then(Value::as_str);
        Named {
            name: name.clone(),
            uid: uid.unwrap_or_default().to_owned(),
            is_aws: !["azure", "gcp"].contains(&bsl.provider()),
            endpoints: endpoint::of(namespace, &bsl)
                .into_iter()
                .flatten()
                .collect(),
        }
    });
    bsls.collect()
}

fn targets(bsls: &[Named]) -> BTreeSet<Target> {
    let all = bsls.iter().flat_map(|bsl| &bsl.endpoints);
    all.map(|endpoint| endpoint.target.clone()).collect()
}

/// What it means for the hold; none while nobody has looked.
fn verdict(found: &Found) -> Option<Verdict> {
    Some(match found {
        Found::NotYet => return None,
        Found::Unseen(why) => Verdict::Unknown(why.clone()),
        Found::Seen(seen) => seen.verdict(),
    })
}

const TRUSTED: &str = "trusted";
const UNTRUSTED: &str = "untrusted";
const UNKNOWN: &str = "unknown";

/// As reports and metrics call it.
fn state(found: &Found) -> &'static str {
    match found {
        Found::Seen(seen) if seen.is_trusted() => TRUSTED,
        Found::Seen(seen) if !seen.is_undecided() => UNTRUSTED,
        _ => UNKNOWN,
    }
}

fn tell(namespace: &str, endpoint: &Endpoint, found: &Found) -> report::Endpoint {
    let mut told = report::Endpoint {
        url: endpoint.url.clone(),
        state: state(found).to_owned(),
        ..report::Endpoint::default()
    };
    match found {
        Found::NotYet => "it was not looked at yet".clone_into(&mut told.message),
        Found::Unseen(why) => told.message.clone_from(why),
        Found::Seen(seen) => {
            let wrong = seen.problems.iter().map(ToString::to_string);
            let wrong = wrong.chain(seen.soon.iter().map(ToString::to_string));
            told.message = wrong.collect::<Vec<_>>().join("; ");
            let fixes = seen.problems.iter().map(|problem| problem.fix(namespace));
            told.fix = fixes.collect::<Vec<_>>().join("; ");
            if told.fix.is_empty() && seen.soon.is_some() {
                "renew it at the server".clone_into(&mut told.fix);
            }
            let leaf = seen.chain.first();
            let expiry = leaf.and_then(|leaf| Timestamp::from_second(leaf.not_after).ok());
            told.not_after = expiry.map(|expiry| expiry.to_string());
        }
    }
    told
}
