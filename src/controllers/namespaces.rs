//! Which namespaces are Velero's, and the tasks of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::board::{self, Board};
use super::bundles::{Bundles, Seen};
use super::endpoints::Endpoints;
use super::keeper::Keeper;
use super::leavings::Leavings;
use super::locations::{self, Change, Locations};
use super::news::{self, Members};
use super::prober::Prober;
use super::{Controllers, coverage};

/// Never a Velero namespace, whatever is in it.
const NEVER: &str = "kube-system";

/// How long the tasks of a namespace wait when those before them panicked.
const AGAIN: Duration = Duration::from_secs(1);

/// The tasks of the Velero namespaces.
struct Tasks<'c> {
    controllers: &'c Arc<Controllers>,
    /// Who looks at endpoints, if anybody does.
    prober: Option<Prober>,
    /// Those that have tasks.
    running: BTreeMap<String, Running>,
    /// Whose turn it is: one that is back begins when what it left behind was removed.
    turns: BTreeMap<String, Arc<Mutex<()>>>,
    set: JoinSet<()>,
}

/// What tells the tasks of a namespace what there is.
struct Running {
    locations: watch::Sender<Locations>,
    bundle: watch::Sender<Seen>,
}

/// Keeps the tasks of every Velero namespace running: of each that holds a BSL or a bundle of ours,
/// or is labelled as one. Ends only when it is cancelled, and its tasks with it.
pub(super) async fn run(controllers: &Arc<Controllers>) {
    let client = &controllers.client;
    let mut bsls = locations::watch(client.clone());
    let mut bundles = Bundles::watch(client.clone());
    let mut labelled = Members::new(news::labelled_namespaces(client.clone()));
    let mut namespaces = locations::Namespaces::default();
    let mut set = JoinSet::new();
    let prober = controllers.settings.probe.clone().map(|denied| {
        let (prober, work) = Prober::new(denied);
        set.spawn(work);
        prober
    });
    let mut tasks = Tasks {
        controllers,
        prober,
        running: BTreeMap::new(),
        turns: BTreeMap::new(),
        set,
    };
    let mut leavings = Leavings::new(Arc::clone(controllers));
    loop {
        // Nothing is removed because it is not known.
        let all_known = namespaces.are_known() && bundles.are_known() && labelled.are_known();
        tokio::select! {
            Some(event) = bsls.next() => match event {
                Ok(event) => {
                    for change in namespaces.take(event) {
                        tasks.tell(change);
                    }
                }
                Err(error) => {
                    // Among others: Velero is not installed yet. The watch tries again by itself.
                    tracing::warn!(%error, "cannot watch BackupStorageLocations");
                    continue;
                }
            },
            () = bundles.changed() => tasks.show(&bundles),
            () = labelled.changed() => {}
            () = sleep_until(leavings.due()), if all_known => {
                let members = members(&namespaces, &bundles, &labelled);
                leavings.remove(&members).await;
                continue;
            }
            Some(ended) = tasks.set.join_next() => {
                if let Err(error) = ended
                    && !error.is_cancelled()
                {
                    tracing::error!(%error, "a task of a namespace ended");
                }
            }
        }
        if namespaces.are_known() {
            let members = members(&namespaces, &bundles, &labelled);
            tasks.keep(&members, &namespaces, &bundles);
        }
    }
}

/// The Velero namespaces.
fn members<'m>(
    namespaces: &'m locations::Namespaces,
    bundles: &'m Bundles,
    labelled: &'m Members,
) -> BTreeSet<&'m str> {
    let all = namespaces.names().chain(bundles.names());
    let all = all.chain(labelled.names());
    all.map(String::as_str)
        .filter(|name| *name != NEVER)
        .collect()
}

impl Tasks<'_> {
    /// Tells the tasks of a namespace what its locations are, if it has tasks.
    fn tell(&self, change: Change) {
        if let Some(running) = self.running.get(&change.namespace) {
            running.locations.send_replace(change.locations);
        }
    }

    /// Tells the tasks of each namespace what is seen of its bundle.
    fn show(&self, bundles: &Bundles) {
        for (name, running) in &self.running {
            let new = bundles.of(name);
            running.bundle.send_if_modified(|seen| {
                let is_other = *seen != new;
                *seen = new;
                is_other
            });
        }
    }

    /// Starts the tasks of new `members`, and ends those of all that are none.
    fn keep(
        &mut self,
        members: &BTreeSet<&str>,
        namespaces: &locations::Namespaces,
        bundles: &Bundles,
    ) {
        // The tasks of a namespace end when nothing can be told to its keeper any more; its bundle
        // stays for the pods that mount it.
        self.running
            .retain(|name, _| members.contains(name.as_str()));
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        for name in members {
            let pause = match self.running.get(*name) {
                None => Duration::ZERO,
                // Its keeper panicked, and another takes its place.
                Some(running) if running.locations.is_closed() => AGAIN,
                Some(_) => continue,
            };
            self.start(name, namespaces.of(name), bundles.of(name), pause);
        }
    }

    fn start(&mut self, name: &str, locations: Locations, bundle: Seen, pause: Duration) {
        let (locations, heard) = watch::channel(locations);
        let (bundle, seen) = watch::channel(bundle);
        let running = Running { locations, bundle };
        self.running.insert(name.to_owned(), running);
        let controllers = Arc::clone(self.controllers);
        let prober = self.prober.clone();
        let name = name.to_owned();
        let turn = Arc::clone(self.turns.entry(name.clone()).or_default());
        self.set.spawn(async move {
            sleep(pause).await;
            let _turn = turn.lock().await;
            if heard.has_changed().is_err() {
                return;
            }
            let board = Board::new(&name);
            let audit = coverage::run(
                controllers.client.clone(),
                name.clone(),
                seen.clone(),
                Arc::clone(&controllers.metrics),
                controllers.events.clone(),
            );
            let published = Arc::new(watch::Sender::new(Arc::from([])));
            let verdicts = watch::Sender::new(prober.is_some().then(BTreeMap::new));
            let keeper = Keeper::new(
                Arc::clone(&controllers),
                &name,
                seen,
                board.clone(),
                &verdicts,
                Arc::clone(&published),
            );
            let endpoints = async {
                match prober {
                    Some(prober) => {
                        Endpoints::new(Arc::clone(&controllers), &name, board.clone(), prober)
                            .run(heard.clone(), &published, &verdicts)
                            .await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = keeper.run(heard.clone()) => {}
                () = endpoints => {}
                () = board::publish(&controllers, &name, &board) => {}
                () = audit => {}
            }
            board::withdraw(&controllers, &name).await;
        });
    }
}

#[cfg(test)]
mod tests;
