//! Keeps the merged CA bundle of one namespace: when to make it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Controllers;
use super::board::Board;
use super::bundles::Seen;
use super::holds::Found;
use super::locations::Locations;
use super::maker::{Made, Maker, Published, Verdicts};
use super::news::{self, News, Stream};
use super::pace::Pace;
use super::teller::Teller;
use crate::sources::cluster::CommonRootsReceiver;

/// How long changes are gathered before a bundle is made: a GitOps tool applies many at once.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// First and longest pause before a bundle that is not whole, or not written, is made again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// After so long the bundle is made again without any news: a watch may have gone silent.
const WITHOUT_NEWS: Duration = Duration::from_mins(5);

/// Keeps the bundle of one namespace.
pub(super) struct Keeper {
    maker: Maker,
    secrets: Stream,
    bundle: watch::Receiver<Seen>,
    base: CommonRootsReceiver,
    verdicts: watch::Receiver<Option<Found>>,
    pace: Pace,
}

/// Why a bundle is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    /// A location or a Secret changed, or it is time.
    Inputs,
    /// The bundle itself was changed by somebody else.
    Bundle,
}

impl Keeper {
    pub(super) fn new(
        controllers: Arc<Controllers>,
        namespace: &str,
        bundle: watch::Receiver<Seen>,
        board: Board,
        verdicts: &Verdicts,
        published: Arc<Published>,
    ) -> Self {
        let client = controllers.client.clone();
        let teller = Teller::new(Arc::clone(&controllers), namespace, board);
        Self {
            secrets: news::of_secrets(client, namespace),
            bundle,
            base: controllers.base.clone(),
            verdicts: verdicts.subscribe(),
            maker: Maker::new(controllers, namespace, teller, verdicts, published),
            pace: Pace::default(),
        }
    }

    /// Makes the bundle now and whenever something changes; ends when the sender of `locations`
    /// is gone.
    pub(super) async fn run(mut self, mut locations: watch::Receiver<Locations>) {
        let mut pause = RETRY.0;
        let mut because = Because::Inputs;
        loop {
            let now = locations.borrow_and_update().clone();
            self.base.mark_unchanged();
            self.bundle.mark_unchanged();
            self.verdicts.mark_unchanged();
            let Made { wrote, again, turn } = self.maker.make(&now).await;
            if wrote && because == Because::Bundle {
                self.pace.restored(Instant::now());
            }
            let longest = match *self.bundle.borrow() {
                Seen::Unknown => news::POLL,
                _ => WITHOUT_NEWS,
            };
            let quiet = turn.unwrap_or(longest).min(longest);
            let wait = if again { pause.min(quiet) } else { quiet };
            pause = if again {
                (pause * 2).min(RETRY.1)
            } else {
                RETRY.0
            };
            match self.wait(&mut locations, &now, wait).await {
                Some(heard) => because = heard,
                None => return,
            }
            sleep(DEBOUNCE).await;
            // Its namespace may be no Velero namespace any more, and its bundle deleted for good.
            let is_over = locations.has_changed().is_err();
            if is_over || !news::drain(&mut self.secrets) {
                return;
            }
        }
    }

    /// Waits until there is a reason to make the bundle, at most for `longest`; `None` when there
    /// will be none any more.
    async fn wait(
        &mut self,
        locations: &mut watch::Receiver<Locations>,
        now: &Locations,
        longest: Duration,
    ) -> Option<Because> {
        let again = sleep(longest);
        tokio::pin!(again);
        let mut because = Because::Inputs;
        loop {
            tokio::select! {
                changed = locations.changed() => {
                    changed.ok()?;
                    return Some(Because::Inputs);
                }
                changed = self.base.changed() => {
                    changed.ok()?;
                    return Some(Because::Inputs);
                }
                changed = self.verdicts.changed() => {
                    changed.ok()?;
                    if self.maker.is_moved_by_verdicts() {
                        return Some(Because::Inputs);
                    }
                }
                heard = self.secrets.next() => match heard? {
                    News::Changed { name, .. } if !mentions(now, &name) => {}
                    _ => return Some(Because::Inputs),
                },
                changed = self.bundle.changed() => {
                    changed.ok()?;
                    if self.is_of_others() {
                        because = Because::Bundle;
                        let soon = Instant::now();
                        let soon = soon + self.pace.pause(soon);
                        let earlier = again.deadline().min(soon);
                        again.as_mut().reset(earlier);
                    }
                }
                () = &mut again => return Some(because),
            }
        }
    }

    /// Whether somebody else changed the bundle, or may have.
    fn is_of_others(&mut self) -> bool {
        match &*self.bundle.borrow_and_update() {
            Seen::There { version, .. } => !self.maker.knows(version.as_deref()),
            Seen::Unknown | Seen::Absent => true,
        }
    }
}

/// Whether any of the locations could mean the Secret `name`; a false alarm costs one look.
fn mentions(locations: &Locations, name: &str) -> bool {
    locations.values().any(|text| text.contains(name))
}
