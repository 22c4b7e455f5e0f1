//! Which namespaces are Velero's, and the tasks of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::board::{self, Board};
use super::endpoints::Endpoints;
use super::keeper::Keeper;
use super::leavings::Leavings;
use super::locations::{self, Change, Locations};
use super::news::{self, Members};
use super::prober::Prober;
use super::{Controllers, coverage};
use crate::kubernetes::bundle;

/// Never a Velero namespace, whatever is in it.
const NEVER: &str = "kube-system";

/// The tasks of the Velero namespaces.
struct Tasks<'c> {
    controllers: &'c Arc<Controllers>,
    /// Who looks at endpoints, if anybody does.
    prober: Option<Prober>,
    /// Those that have tasks, with what tells them of their locations.
    running: BTreeMap<String, watch::Sender<Locations>>,
    /// Whose turn it is: one that is back begins when what it left behind was removed.
    turns: BTreeMap<String, Arc<Mutex<()>>>,
    set: JoinSet<()>,
}

/// Keeps the tasks of every Velero namespace running: of each that holds a BSL or a bundle of ours,
/// or is labelled as one. Ends only when it is cancelled, and its tasks with it.
pub(super) async fn run(controllers: &Arc<Controllers>) {
    let client = &controllers.client;
    let mut bsls = locations::watch(client.clone());
    let mut bundles = Members::new(news::everywhere_bundles(client.clone()));
    let mut labelled = Members::new(news::labelled_namespaces(client.clone()));
    let mut namespaces = locations::Namespaces::default();
    let mut set = JoinSet::new();
    let prober = controllers.settings.probe.clone().map(|refused| {
        let (prober, work) = Prober::new(refused);
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
            () = bundles.changed(|map| bundle::is_ours(map).then(|| map.namespace.clone())?) => {}
            () = labelled.changed(|namespace| namespace.name.clone()) => {}
            () = sleep_until(leavings.due()), if all_known => {
                let members = members(&namespaces, [&bundles, &labelled]);
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
            let members = members(&namespaces, [&bundles, &labelled]);
            tasks.keep(&members, &namespaces);
        }
    }
}

/// The Velero namespaces.
fn members<'m>(namespaces: &'m locations::Namespaces, more: [&'m Members; 2]) -> BTreeSet<&'m str> {
    let more = more.into_iter().flat_map(Members::names);
    let all = namespaces.names().chain(more);
    all.map(String::as_str)
        .filter(|name| *name != NEVER)
        .collect()
}

impl Tasks<'_> {
    /// Tells the tasks of a namespace what its locations are; starts them when there are none.
    fn tell(&mut self, change: Change) {
        let Change {
            namespace,
            locations,
        } = change;
        if namespace == NEVER {
            return;
        }
        let running = self.running.get(&namespace);
        // Closed: its keeper panicked, and another takes its place.
        if let Some(running) = running.filter(|running| !running.is_closed()) {
            running.send_replace(locations);
        } else if !locations.is_empty() {
            self.start(&namespace, locations);
        }
    }

    /// Starts the tasks of new `members`, and ends those of all that are none.
    fn keep(&mut self, members: &BTreeSet<&str>, namespaces: &locations::Namespaces) {
        // The tasks of a namespace end when nothing can be told to its keeper any more; its bundle
        // stays for the pods that mount it.
        self.running
            .retain(|name, _| members.contains(name.as_str()));
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        for name in members {
            let running = self.running.get(*name);
            if running.is_none_or(watch::Sender::is_closed) {
                self.start(name, namespaces.of(name));
            }
        }
    }

    fn start(&mut self, name: &str, locations: Locations) {
        let (sender, receiver) = watch::channel(locations);
        self.running.insert(name.to_owned(), sender);
        let controllers = Arc::clone(self.controllers);
        let prober = self.prober.clone();
        let name = name.to_owned();
        let turn = Arc::clone(self.turns.entry(name.clone()).or_default());
        self.set.spawn(async move {
            let _turn = turn.lock().await;
            if receiver.has_changed().is_err() {
                return;
            }
            let board = Board::new(&name);
            let audit = coverage::run(
                controllers.client.clone(),
                name.clone(),
                Arc::clone(&controllers.metrics),
                controllers.events.clone(),
            );
            let published = Arc::new(watch::Sender::new(Arc::from([])));
            let verdicts = watch::Sender::new(prober.is_some().then(BTreeMap::new));
            let keeper = Keeper::new(
                Arc::clone(&controllers),
                &name,
                board.clone(),
                &verdicts,
                Arc::clone(&published),
            );
            let endpoints = async {
                match prober {
                    Some(prober) => {
                        Endpoints::new(Arc::clone(&controllers), &name, board.clone(), prober)
                            .run(receiver.clone(), &published, &verdicts)
                            .await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = keeper.run(receiver.clone()) => {}
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
