//! Makes the merged CA bundle of one namespace, and writes it when it is another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::time::{Instant, timeout};

use super::complaints::{Complaint, Complaints};
use super::locations::Locations;
use crate::ca::bundle::contribution;
use crate::ca::keeping::{Memory, Share, Shares, keep};
use crate::decision::{Facts, Lookup};
use crate::kubernetes::{bundle, trouble};
use crate::names;
use crate::sources::{Limits, Source};
use crate::velero::bsl::Bsl;

/// Longest wait for the Secrets of a namespace.
const LOOKUP: Duration = Duration::from_secs(10);

/// Longest time for one bundle: the client for controllers waits for ever.
const LONGEST: Duration = Duration::from_secs(30);

/// Makes the bundle of one namespace.
pub(super) struct Maker {
    maps: Api<ConfigMap>,
    source: Arc<dyn Source>,
    namespace: String,
    memory: Memory,
    /// While the memory lacks a location: the last bundle made, which may hold its CA. It
    /// counts when the one in the cluster is gone or was edited.
    carried: Option<String>,
    /// The ConfigMap's version when it was last read or written.
    version: Option<String>,
    complaints: Complaints,
}

/// What came of making a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// It was written.
    pub(super) wrote: bool,
    /// Something is wrong that may pass: it should be made again.
    pub(super) again: bool,
}

impl Maker {
    pub(super) fn new(client: Client, source: Arc<dyn Source>, namespace: String) -> Self {
        Self {
            maps: Api::namespaced(client, &namespace),
            source,
            memory: Memory::default(),
            carried: None,
            version: None,
            complaints: Complaints::new(namespace.clone()),
            namespace,
        }
    }

    /// Whether this version of the ConfigMap was seen.
    pub(super) fn knows(&self, version: Option<&str>) -> bool {
        version.is_some() && version == self.version.as_deref()
    }

    /// Makes the bundle, whatever is known for it, and writes it if it is another than that in
    /// the cluster. What is wrong is logged when it is new.
    pub(super) async fn make(&mut self, locations: &Locations) -> Made {
        let mut wrong = BTreeSet::new();
        let published = timeout(LONGEST, self.publish(locations, &mut wrong)).await;
        let (wrote, raced) = match published {
            Ok(Ok(wrote)) => (wrote, false),
            Ok(Err(Some(complaint))) => {
                wrong.insert(complaint);
                (false, false)
            }
            Ok(Err(None)) => (false, true),
            Err(_) => {
                wrong.insert(Complaint::Late);
                (false, false)
            }
        };
        let again = raced || wrong.iter().any(Complaint::may_pass);
        self.complaints.say(wrong);
        Made { wrote, again }
    }

    /// Whether it wrote. Without a complaint it failed because another writer was faster.
    async fn publish(
        &mut self,
        locations: &Locations,
        wrong: &mut BTreeSet<Complaint>,
    ) -> Result<bool, Option<Complaint>> {
        let shares = self.shares(locations, wrong).await;
        self.memory.learn(&shares);
        let live = self.maps.get_opt(names::BUNDLE).await;
        let live =
            live.map_err(|error| Some(Complaint::Unreadable(trouble::reason(&error).message)))?;
        self.version = live.as_ref().and_then(version);
        if let Some(live) = &live
            && !bundle::is_ours(&live.metadata)
        {
            return Err(Some(Complaint::Foreign));
        }

        let there = live.as_ref().and_then(bundle::text);
        let before = match &self.carried {
            Some(carried) if !live.as_ref().is_some_and(bundle::is_as_published) => {
                Some(&**carried)
            }
            _ => there,
        };
        let kept = keep(&shares, &self.memory, before);
        let no_room = kept.left_out.into_iter();
        wrong.extend(no_room.map(|(owner, count)| Complaint::NoRoom { owner, count }));
        let made = kept.bundle;
        self.carried = self.memory.lacks(&shares).then(|| made.text.clone());

        let wanted = bundle::config_map(&self.namespace, &made);
        if live
            .as_ref()
            .is_some_and(|live| bundle::is_same(live, &wanted))
        {
            return Ok(false);
        }
        let written = bundle::write(&self.maps, wanted, live.as_ref()).await;
        let written = written.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 409 => None,
            error => Some(Complaint::Unwritable(trouble::reason(&error).message)),
        })?;
        self.version = version(&written);
        tracing::info!(
            namespace = self.namespace,
            certificates = made.count,
            hash = made.hash,
            "bundle published"
        );
        Ok(true)
    }

    /// What each location adds, with all their Secrets read live.
    async fn shares(&self, locations: &Locations, wrong: &mut BTreeSet<Complaint>) -> Shares {
        let namespace = &self.namespace;
        let read = |text| serde_json::from_str::<Bsl<'_>>(text).unwrap_or_default();
        let bsls: Vec<_> = locations
            .iter()
            .map(|(name, text)| (name, read(text.as_str())))
            .collect();
        let mut facts = Facts::default();
        let needs: BTreeSet<Lookup> = bsls
            .iter()
            .flat_map(|(_, bsl)| contribution(namespace, bsl, &facts).report.needs)
            .collect();
        if !needs.is_empty() {
            let limits = Limits {
                deadline: Instant::now() + LOOKUP,
                dry_run: false,
            };
            let needs: Vec<_> = needs.into_iter().collect();
            facts = self.source.resolve(&needs, limits).await;
        }
        let mut shares = Shares::new();
        for (location, bsl) in bsls {
            let found = contribution(namespace, &bsl, &facts);
            let share = Share {
                whole: found.left_out.is_empty() && found.report.unknowns.is_empty(),
                certificates: found.certificates,
            };
            wrong.extend(found.left_out.into_iter().map(|path| Complaint::LeftOut {
                location: location.clone(),
                path: path.to_string(),
            }));
            let unknowns = found.report.unknowns.into_iter();
            wrong.extend(unknowns.map(|(_, reason)| Complaint::Unknown {
                location: location.clone(),
                why: reason.message,
            }));
            shares.insert(location.clone(), share);
        }
        shares
    }
}

fn version(map: &ConfigMap) -> Option<String> {
    map.metadata.resource_version.clone()
}
