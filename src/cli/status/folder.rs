//! The status of what stands in a folder of YAML files: by the same functions as the controllers
//! use, without anybody to ask.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::items::{self, Named};
use super::model::{Bundle, BundleState, Leader, LeaderState, Location, Namespace, Source, Status};
use super::read;
use crate::ca::base::Base;
use crate::ca::complaint::Complaint;
use crate::ca::endpoint;
use crate::ca::keeping::{Kept, Memory, Shares, keep};
use crate::ca::survey::{PASSES, Survey, Surveyed, no_room, shares};
use crate::cli::live::{self, Live};
use crate::decision::{Facts, Policy};
use crate::kubernetes::bundle::{State, config_map};
use crate::kubernetes::published::Published;
use crate::kubernetes::report;
use crate::sources::inventory::Inventory;
use crate::velero::bsl::Bsl;

/// What the status of a folder is made from.
#[derive(Debug)]
pub(super) struct Folder<'f> {
    pub(super) inventory: &'f Inventory,
    /// What every bundle holds.
    pub(super) base: &'f Base,
    pub(super) policy: &'f Policy,
    pub(super) now: Timestamp,
    /// Whether the certificates of the bundles are wanted.
    pub(super) certificates: bool,
}

impl Folder<'_> {
    /// The status of the namespaces that were `asked` for; else of all that are Velero's.
    pub(super) fn status(&self, asked: &[String]) -> Status {
        let members = self.inventory.namespaces();
        let asked: BTreeSet<_> = asked.iter().cloned().collect();
        let shown = if asked.is_empty() { &members } else { &asked };
        let namespaces = shown.iter().map(|name| {
            let live = self.live(name);
            if members.contains(name) {
                self.namespace(&live)
            } else {
                outside(&live)
            }
        });
        Status {
            source: Source::Objects,
            leader: Leader {
                state: LeaderState::Unknown,
                message: Some("read from files, no cluster was asked".to_owned()),
                ..Leader::default()
            },
            namespaces: namespaces.collect(),
            ..Status::default()
        }
    }

    fn live(&self, namespace: &str) -> Live {
        let bundle = self.inventory.bundle(namespace);
        Live {
            namespace: namespace.to_owned(),
            bundle: bundle.map_or(live::Bundle::Absent, live::Bundle::of),
            pods: self.inventory.pods(namespace),
            templates: self.inventory.templates(namespace),
            ..Live::default()
        }
    }

    fn namespace(&self, live: &Live) -> Namespace {
        let locations = self.inventory.locations(&live.namespace);
        let surveyed = self.survey(&live.namespace, &locations);
        let mut wrong = BTreeSet::new();
        let shares = shares(&surveyed, self.base, &mut wrong);
        let kept = keep(&shares, &Memory::default(), &self.base.public);
        wrong.extend(no_room(&kept));
        if kept.certificates.is_empty() {
            wrong.insert(Complaint::NoRoots);
        }
        let unknown = take_sealed(&mut wrong, &surveyed);
        let locations = locations.iter().map(|(name, text)| {
            let surveyed = surveyed.get(name);
            location(&live.namespace, name, text, surveyed)
        });
        Namespace {
            bundle: self.bundle(live, &kept, &shares),
            locations: locations.collect(),
            complaints: wrong.iter().map(ToString::to_string).collect(),
            unknown,
            ..outside(live)
        }
    }

    fn survey(
        &self,
        namespace: &str,
        locations: &BTreeMap<String, String>,
    ) -> BTreeMap<String, Surveyed> {
        let mut survey = Survey::new(namespace, locations, self.now.as_second());
        let mut facts = Facts::default();
        for _ in 0..PASSES {
            let needs: Vec<_> = survey.pass(&facts).into_iter().collect();
            if needs.is_empty() {
                break;
            }
            facts.extend(self.inventory.objects.facts(&needs));
        }
        survey.weigh(self.policy)
    }

    /// What the bundle would be; of the one that is there only what nothing else can tell.
    fn bundle(&self, live: &Live, kept: &Kept, shares: &Shares) -> Bundle {
        let there = match &live.bundle {
            live::Bundle::Foreign => return read::bundle(&live.bundle),
            live::Bundle::Absent => None,
            live::Bundle::Published(published) => Some(published),
        };
        if kept.certificates.is_empty() {
            return Bundle::default();
        }
        let map = config_map(&live.namespace, kept, State::default());
        let computed = Published::read(&map.metadata).unwrap_or_default();
        let items = self.certificates.then(|| {
            let public = &self.base.public;
            items::of(&kept.certificates, &named(shares), public)
        });
        Bundle {
            state: BundleState::Computed,
            last_added: there.and_then(|there| there.last_added),
            held: there.and_then(|there| there.held.clone()),
            published: there.map(|there| there.hash.clone()),
            items,
            ..read::of(&computed)
        }
    }
}

/// What can be said of any namespace.
fn outside(live: &Live) -> Namespace {
    Namespace {
        name: live.namespace.clone(),
        velero: read::version(live),
        bundle: read::bundle(&live.bundle),
        pods: read::pods(live),
        templates: read::templates(live),
        ..Namespace::default()
    }
}

fn location(namespace: &str, name: &str, text: &str, surveyed: Option<&Surveyed>) -> Location {
    let bsl: Bsl<'_> = serde_json::from_str(text).unwrap_or_default();
    let whole: Value = serde_json::from_str(text).unwrap_or_default();
    let phase = whole.pointer("/status/phase").and_then(Value::as_str);
    let phase = phase.filter(|phase| !phase.is_empty());
    let mut report = report::Location::default();
    if let Some(surveyed) = surveyed {
        report.tell(surveyed);
    }
    let endpoints = endpoint::read_endpoints(namespace, &bsl).into_iter();
    let endpoints = endpoints.filter_map(|endpoint| match endpoint {
        Ok(endpoint) => Some(report::Endpoint {
            url: endpoint.url,
            state: "unknown".to_owned(),
            message: "nothing is dialled".to_owned(),
            ..report::Endpoint::default()
        }),
        Err(setting) => report::Endpoint::skipped(&setting),
    });
    report.endpoints = endpoints.collect();
    Location {
        name: name.to_owned(),
        phase: phase.map(str::to_owned),
        report: Some(report),
    }
}

/// Takes out of `wrong` what is so only here: Secrets that something in the cluster makes or
/// decrypts.
fn take_sealed(
    wrong: &mut BTreeSet<Complaint>,
    surveyed: &BTreeMap<String, Surveyed>,
) -> Vec<String> {
    let mut unknown = Vec::new();
    for (name, surveyed) in surveyed {
        for note in &surveyed.notes {
            wrong.remove(&Complaint::LeftOut {
                location: name.clone(),
                path: note.path.to_string(),
            });
            unknown.push(format!("BackupStorageLocation {name}: {note}"));
        }
    }
    unknown
}

/// Who names what.
fn named(shares: &Shares) -> Named {
    let mut named = Named::new();
    for (owner, share) in shares {
        for certificate in &share.certificates {
            let from = named.entry(certificate.fingerprint().to_string());
            from.or_default().push(owner.to_string());
        }
    }
    named
}
