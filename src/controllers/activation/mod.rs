//! Makes the webhooks active by itself, and keeps them so: the leader sets their rules and, unless
//! somebody else does, their caBundle, by server-side apply and nothing else.
//!
//! What is set, and why not, is decided by [`activation::plan`]. What a person changed besides is told by
//! the controller `webhooks`, and stays.

mod canary;
mod observed;
mod reporter;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::observed::{Observed, Watches};
use self::reporter::Reporter;
use super::ControllerContext;
use crate::admission::activation::{self, Canary, Cas, Facts, Held, Outcome, Plan, Stopped};
use crate::admission::webhook_state::Activation;
use crate::ca::certificate::Fingerprint;
use crate::clock;
use crate::kubernetes::client::kubernetes_version;
use crate::kubernetes::published_activation::ServingCaReport;
use crate::kubernetes::serving_ca::{self, ServingCa};
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::serving_ca::Authorities;

const TIMING: Timing = Timing {
    debounce: Duration::from_millis(300),
    min_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(5),
    // The canary, and the CA, which no watch tells of.
    resync: Some(CANARY_INTERVAL),
};

/// Time between two looks at whether the API server reaches velero-trust.
const CANARY_INTERVAL: Duration = Duration::from_mins(1);

/// Shortest time between two changes of one configuration, which bounds the writes where somebody else
/// goes on changing it.
const MIN_CHANGE_INTERVAL: Duration = Duration::from_secs(3);

/// Time that an API server may take to heed a configuration that was changed.
const HEED_TIME: Duration = Duration::from_secs(10);

/// Longest time for one write.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the CA of the serving certificate comes from.
#[derive(Clone, Debug)]
pub enum CaSource {
    /// A PEM file.
    File(PathBuf),
    /// velero-trust's own CAs.
    Own(watch::Receiver<ServingCa>),
    /// Somebody else sets the caBundle.
    External,
}

impl CaSource {
    /// Returns the CAs at `now`, in seconds since 1970, or why they are not known. `issuing` are those of
    /// replicas that issue their own certificates.
    fn read(&self, now: i64, issuing: &str) -> Result<Cas, String> {
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| Cas::of_file(text + issuing))
                .map_err(|error| format!("{} cannot be read: {error}", path.display())),
            Self::Own(ca) => match ca.borrow().valid(now) {
                Some(own) => Ok(Cas::own(own.ca_bundle(), own.others_until())),
                None => Err("there is none yet".to_owned()),
            },
            Self::External => Err("--ca-bundle=external is set".to_owned()),
        }
    }

    /// Returns what is told of velero-trust's own CAs; `None` if there are none.
    fn report(&self) -> Option<ServingCaReport> {
        match self {
            Self::Own(ca) => Some(ServingCaReport::of(ca.borrow().held.as_deref())),
            Self::File(_) | Self::External => None,
        }
    }

    /// Waits until they change, as far as that is told.
    async fn changed(&mut self) {
        let Self::Own(ca) = self else {
            return std::future::pending().await;
        };
        if ca.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What the leader makes of the webhooks, for the other controllers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing: `certs --install` makes them active.
    ByCommand,
    /// It is not known yet.
    #[default]
    Pending,
    /// Something stays inactive.
    Held,
    /// All are active.
    Active,
}

impl Progress {
    /// Returns it as the state of the webhooks depends on it.
    pub(super) const fn activation(self) -> Activation {
        match self {
            Self::ByCommand => Activation::ByCommand,
            Self::Pending | Self::Held | Self::Active => Activation::ByLeader,
        }
    }

    /// Whether a webhook without rules is none of which they were taken.
    pub(super) const fn is_held(self) -> bool {
        matches!(self, Self::Pending | Self::Held)
    }
}

/// What the API server trusts, for the rotation of the CA.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedCas {
    /// The certificates that are in the caBundle of every webhook that is asked; none if none is.
    pub(super) everywhere: BTreeSet<Fingerprint>,
    /// When the canary was answered last.
    pub(super) answered: Option<Instant>,
}

/// What is remembered between two looks.
struct Activator<'c> {
    controllers: &'c ControllerContext,
    ca: CaSource,
    kubernetes: Option<(u32, u32)>,
    canary: Canary,
    canary_ran: Option<Instant>,
    answered: Option<Instant>,
    /// The configurations that were seen active.
    active: BTreeSet<String>,
    changed: BTreeMap<String, Instant>,
    trusted: watch::Sender<TrustedCas>,
    /// velero-trust's own CAs, PEM, as far as this replica has its certificate from files: others issue theirs
    /// while an installation moves from files to certificates of its own.
    issuing: String,
    reporter: Reporter<'c>,
}

/// What became of what was planned.
#[derive(Default)]
struct Applied {
    /// Why something could not be applied.
    failure: Option<String>,
    /// Time until something may be changed again.
    postponed: Option<Duration>,
}

/// Makes the webhooks active while this replica leads. Never returns.
pub(super) async fn run(
    controllers: Arc<ControllerContext>,
    progress: watch::Sender<Progress>,
    trusted: watch::Sender<TrustedCas>,
) {
    let Some(ca) = controllers.settings.activation.clone() else {
        return Reporter::new(&controllers, progress).report_off().await;
    };
    let mut watches = Watches::new(&controllers.client, &controllers.settings.namespace);
    let mut certificates = controllers.certificate.clone();
    let mut removing = controllers.settings.removing.clone();
    let mut activator = Activator {
        controllers: &controllers,
        ca,
        kubernetes: None,
        canary: Canary::default(),
        canary_ran: None,
        answered: None,
        active: BTreeSet::new(),
        changed: BTreeMap::new(),
        trusted,
        issuing: String::new(),
        reporter: Reporter::new(&controllers, progress),
    };
    let mut worker = Worker::new(TIMING);
    loop {
        tokio::select! {
            () = watches.changed() => worker.trigger(()),
            () = activator.ca.changed() => worker.trigger(()),
            Ok(()) = certificates.changed() => worker.trigger(()),
            Ok(()) = removing.changed() => worker.trigger(()),
            () = worker.next() => {
                let requeue = match watches.known() {
                    Some(observed) => activator.reconcile(&observed).await,
                    None => Requeue::default(),
                };
                worker.done((), requeue);
            }
        }
    }
}

impl Activator<'_> {
    async fn reconcile(&mut self, observed: &Observed<'_>) -> Requeue {
        if self.kubernetes.is_none() {
            let version = timeout(
                REQUEST_TIMEOUT,
                kubernetes_version(&self.controllers.client),
            );
            self.kubernetes = version.await.ok().and_then(Result::ok);
        }
        let Some(kubernetes) = self.kubernetes else {
            return Requeue {
                retry: true,
                within: None,
            };
        };
        if let CaSource::Own(ca) = &self.ca
            && ca.borrow().valid(clock::now()).is_none()
        {
            // This replica is about to have one, and says why if it does not.
            return Requeue {
                retry: true,
                within: None,
            };
        }
        self.read_issuing().await;
        let mut plan = self.plan(observed, kubernetes);
        let is_stopped = matches!(
            plan.held,
            Some(Held::Off(_) | Held::Removed(_) | Held::OldKubernetes(_))
        );
        if is_stopped {
            self.active.clear();
            self.canary = Canary::default();
        } else if plan.has_canary && (plan.waits_for_canary || self.is_canary_due()) {
            self.run_canary(observed).await;
            plan = self.plan(observed, kubernetes);
        }
        let Applied { failure, postponed } = self.apply(observed, &plan).await;
        self.note_active(observed);
        self.trusted.send_replace(TrustedCas {
            everywhere: activation::trusted_everywhere(
                &self.controllers.settings.namespace,
                &observed.views(&self.active),
            ),
            answered: self.answered,
        });
        self.reporter
            .report(&plan, &self.canary, &self.ca, failure.as_deref())
            .await;
        let waits = plan.waits_for_canary || !plan.changes.is_empty();
        Requeue {
            retry: failure.is_some() || waits || plan.held.is_some() && !is_stopped,
            within: Some(postponed.unwrap_or(CANARY_INTERVAL)),
        }
    }

    /// Reads the CAs of replicas that issue their own certificates, if this one does not. Those that cannot be
    /// read stay as they were.
    async fn read_issuing(&mut self) {
        if !matches!(self.ca, CaSource::File(_)) {
            return;
        }
        let ControllerContext {
            client, settings, ..
        } = self.controllers;
        let read = timeout(
            REQUEST_TIMEOUT,
            serving_ca::read(client, &settings.namespace),
        );
        match read.await {
            Ok(Ok(Some(secret))) => {
                if let Ok(own) = Authorities::read(&secret.data, clock::now()) {
                    self.issuing = own.ca_bundle();
                }
            }
            Ok(Ok(None)) => self.issuing.clear(),
            Ok(Err(_)) | Err(_) => {}
        }
    }

    fn plan(&self, observed: &Observed<'_>, kubernetes: (u32, u32)) -> Plan {
        let now = clock::now();
        let ca = self.ca.read(now, &self.issuing);
        let certificate = self.controllers.certificate.borrow().clone();
        let facts = Facts {
            namespace: &self.controllers.settings.namespace,
            kubernetes,
            stopped: self.stopped(observed),
            is_rolled_out: observed.is_rolled_out,
            certificate: certificate.as_ref(),
            ca: ca.as_ref().map_err(String::as_str),
            is_external: matches!(self.ca, CaSource::External),
            canary: &self.canary,
            now,
        };
        activation::plan(facts, &observed.views(&self.active))
    }

    fn stopped(&self, observed: &Observed<'_>) -> Option<Stopped> {
        if *self.controllers.settings.removing.borrow() {
            return Some(Stopped::Removed);
        }
        observed.is_off.then_some(Stopped::Off)
    }

    fn is_canary_due(&self) -> bool {
        let ran = self.canary_ran;
        ran.is_none_or(|ran| ran.elapsed() >= CANARY_INTERVAL)
    }

    /// Asks until velero-trust answered often enough in a row, or until it does not answer.
    async fn run_canary(&mut self, observed: &Observed<'_>) {
        let ControllerContext {
            client, settings, ..
        } = self.controllers;
        let was_answered = self.canary.is_answered();
        self.canary_ran = Some(Instant::now());
        loop {
            let heard = canary::ask(client, &settings.namespace).await;
            let is_answered = heard.outcome == Outcome::Answered;
            if is_answered {
                self.answered = Some(Instant::now());
            }
            if !is_answered && !was_answered && self.is_heeded_later(observed) {
                return;
            }
            self.canary.note(heard);
            if !is_answered || self.canary.is_answered() {
                return;
            }
        }
    }

    /// Whether the API server may not heed the configuration of the canary yet.
    fn is_heeded_later(&self, observed: &Observed<'_>) -> bool {
        let canaries = observed.configurations.iter().filter(|one| one.is_canary());
        let mut changed = canaries.filter_map(|one| self.changed.get(&one.to_string()));
        changed.any(|at| at.elapsed() < HEED_TIME)
    }

    /// Applies what is planned.
    async fn apply(&mut self, observed: &Observed<'_>, plan: &Plan) -> Applied {
        let mut applied = Applied::default();
        for (index, webhooks) in &plan.changes {
            let Some(configuration) = observed.configurations.get(*index) else {
                continue;
            };
            let name = configuration.to_string();
            let before = self.changed.get(&name);
            let left = before.and_then(|at| MIN_CHANGE_INTERVAL.checked_sub(at.elapsed()));
            if left.is_some() {
                applied.postponed = applied.postponed.or(left);
                continue;
            }
            self.changed.insert(name.clone(), Instant::now());
            let write = configuration.apply(&self.controllers.client, webhooks);
            let why = match timeout(REQUEST_TIMEOUT, write).await {
                Ok(Ok(_)) => {
                    let was_active = self.active.contains(&name);
                    self.reporter.changed(configuration, was_active).await;
                    continue;
                }
                Ok(Err(error)) => format!("{error}: {}", error.reason()),
                Err(_) => format!("cannot change {name}: the API server did not answer in time"),
            };
            applied.failure.get_or_insert(why);
        }
        applied
    }

    /// Remembers what is active, so that it is not held up by a rollout if somebody takes it away.
    fn note_active(&mut self, observed: &Observed<'_>) {
        let asked = observed.configurations.iter().filter(|one| one.is_asked());
        let names = asked.map(ToString::to_string);
        self.active.extend(names);
    }
}
