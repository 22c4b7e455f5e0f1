//! Makes the merged CA bundle of one namespace, and writes it when it is another.

mod decide;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Controllers;
use super::clock::{moment, now};
use super::complaints::Complaints;
use super::holds::{self, Found};
use super::locations::Locations;
use super::store::Store;
use super::survey::survey;
use super::teller::Teller;
use crate::ca::certificate::Certificate;
use crate::ca::common_roots::CommonRoots;
use crate::ca::evaluation::{EvaluatedLocation, contributions, forgotten, no_room};
use crate::ca::issue::BundleIssue;
use crate::ca::merged_bundle::{Contributions, Memory, merge_contributions};
use crate::decision::Context;
use crate::kubernetes::bundle::{self, State};

use decide::{adds, lacks_unknown};
use writer::Writer;

/// Longest time for one bundle: the client for controllers waits for ever.
const LONGEST: Duration = Duration::from_secs(30);

/// The bundle's certificates, for who has to know them.
pub(super) type Published = watch::Sender<Arc<[Certificate]>>;

/// What was found of the endpoints; without any nothing is looked at.
pub(super) type Verdicts = watch::Sender<Option<Found>>;

/// Makes the bundle of one namespace.
pub(super) struct Maker {
    controllers: Arc<Controllers>,
    namespace: String,
    store: Store,
    memory: Memory,
    verdicts: watch::Receiver<Option<Found>>,
    writer: Writer,
    /// When a certificate that somebody names next begins or ends to be valid, seconds since 1970.
    turn: Option<i64>,
    /// What was found of the locations the last time.
    evaluated: BTreeMap<String, EvaluatedLocation>,
    complaints: Complaints,
    teller: Teller,
}

/// What came of making a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// It was written.
    pub(super) wrote: bool,
    /// Something is wrong that may pass: it should be made again.
    pub(super) again: bool,
    /// After so long a certificate that somebody names begins or ends to be valid.
    pub(super) turn: Option<Duration>,
}

impl Maker {
    pub(super) fn new(
        controllers: Arc<Controllers>,
        namespace: &str,
        teller: Teller,
        verdicts: &Verdicts,
        published: Arc<Published>,
    ) -> Self {
        let client = &controllers.client;
        let own = &controllers.settings.namespace;
        Self {
            writer: Writer::new(client.clone(), namespace, published),
            store: Store::new(client.clone(), own, namespace),
            memory: Memory::default(),
            turn: None,
            evaluated: BTreeMap::new(),
            complaints: Complaints::new(namespace.to_owned()),
            namespace: namespace.to_owned(),
            controllers,
            verdicts: verdicts.subscribe(),
            teller,
        }
    }

    /// Whether this version of the ConfigMap was seen.
    pub(super) fn knows(&self, version: Option<&str>) -> bool {
        self.writer.knows(version)
    }

    /// Makes the bundle, whatever is known for it, and writes it if it is another than that in
    /// the cluster. What is wrong is logged when it is new.
    pub(super) async fn make(&mut self, locations: &Locations) -> Made {
        let mut wrong = BTreeSet::new();
        let controllers = Arc::clone(&self.controllers);
        let turn = controllers.turns.next().await;
        let published = timeout(LONGEST, self.publish(locations, &mut wrong)).await;
        let (wrote, raced) = match published {
            Ok(Ok(wrote)) => (wrote, false),
            Ok(Err(Some(complaint))) => {
                wrong.insert(complaint);
                (false, false)
            }
            Ok(Err(None)) => (false, true),
            Err(_) => {
                wrong.insert(BundleIssue::Late);
                (false, false)
            }
        };
        drop(turn);
        let again = raced || wrong.iter().any(BundleIssue::may_pass);
        self.complaints.say(wrong);
        self.teller.complain(self.complaints.said()).await;
        self.teller.tell(&self.evaluated, &self.memory).await;
        let turn = self.turn.map(|turn| turn.saturating_sub(now()));
        let turn = turn.and_then(|seconds| u64::try_from(seconds).ok());
        Made {
            wrote,
            again,
            turn: turn.map(Duration::from_secs),
        }
    }

    /// Whether it wrote. Without a complaint it failed because another writer was faster.
    async fn publish(
        &mut self,
        locations: &Locations,
        wrong: &mut BTreeSet<BundleIssue>,
    ) -> Result<bool, Option<BundleIssue>> {
        self.remember(wrong).await?;
        let base = self.base().await;
        let moment = moment();
        let now = moment.wall;
        let context = Context {
            policy: &self.controllers.policy,
            now,
        };
        let source = &*self.controllers.source;
        let evaluated = survey(&self.namespace, locations, source, context).await;
        let contributions = contributions(&evaluated, &base, wrong);
        let named = contributions.values().flat_map(|share| &share.certificates);
        // A certificate is still valid in its last second.
        let turns = named.flat_map(|one| [one.not_before, one.not_after.saturating_add(1)]);
        self.turn = turns.filter(|turn| *turn > now).min();
        let retention = self.controllers.settings.retention.as_secs();
        self.memory.learn(
            &contributions,
            moment,
            i64::try_from(retention).unwrap_or(i64::MAX),
        );
        wrong.extend(forgotten(&mut self.memory, &self.namespace));
        holds::decide(
            &mut self.memory,
            self.verdicts.borrow().as_ref(),
            &evaluated,
        );
        let published = self
            .publish_from(&base, &contributions, &evaluated, now, wrong)
            .await;
        self.evaluated = evaluated;
        published
    }

    /// Writes the bundle that follows from what was found, if it is another.
    async fn publish_from(
        &mut self,
        base: &CommonRoots,
        contributions: &Contributions,
        evaluated: &BTreeMap<String, EvaluatedLocation>,
        now: i64,
        wrong: &mut BTreeSet<BundleIssue>,
    ) -> Result<bool, Option<BundleIssue>> {
        let live = self.writer.read().await?;
        // A new installation beside the bundle of an old one must not take a CA out of it that it
        // only cannot read yet.
        if self.store.is_blank()
            && live.as_ref().is_some_and(bundle::is_as_published)
            && lacks_unknown(&self.memory, evaluated)
        {
            return Err(Some(BundleIssue::LeftAlone));
        }
        let merged = merge_contributions(contributions, &self.memory, &base.public);
        if merged.certificates.is_empty() {
            return Err(Some(BundleIssue::NoRoots));
        }
        wrong.extend(no_room(&merged));
        if live.as_ref().is_some_and(bundle::is_immutable) {
            wrong.insert(BundleIssue::Immutable);
        }
        let text = &merged.bundle.text;
        let is_stuck = live
            .as_ref()
            .is_some_and(|live| bundle::is_stuck(live, text));
        if !is_stuck
            && adds(
                &merged,
                &self.writer.published(),
                live.as_ref(),
                &self.memory,
            )
        {
            self.memory.last_added = Some(now);
        }
        // First what must not be forgotten, then what can be made from it again.
        if let Err(complaint) = self.store.save(&self.memory).await {
            wrong.insert(complaint);
        }
        let hold = holds::why(&self.memory, evaluated);
        self.teller.count(&merged, hold.is_some());
        if is_stuck {
            // What is said of it would be of another content.
            return Ok(false);
        }
        let state = State {
            last_added: self.memory.last_added,
            hold: hold.as_deref(),
        };
        self.writer.write(&merged, state, live.as_ref()).await
    }

    /// Reads the memory, once.
    async fn remember(
        &mut self,
        wrong: &mut BTreeSet<BundleIssue>,
    ) -> Result<(), Option<BundleIssue>> {
        match self.store.load().await {
            Ok(Some(memory)) => self.memory = memory,
            Ok(None) => {}
            Err(complaint) if self.store.is_loaded() => {
                wrong.insert(complaint);
            }
            Err(complaint) => return Err(Some(complaint)),
        }
        Ok(())
    }

    async fn base(&self) -> Arc<CommonRoots> {
        let mut base = self.controllers.base.clone();
        match base.wait_for(Option::is_some).await {
            Ok(base) => base.clone().unwrap_or_default(),
            Err(_) => Arc::default(),
        }
    }

    /// Whether what was found at the endpoints changes because of which locations the namespace is
    /// held.
    pub(super) fn is_moved_by_verdicts(&self) -> bool {
        let found = self.verdicts.borrow();
        holds::are_moved(&self.memory, found.as_ref(), &self.evaluated)
    }
}
