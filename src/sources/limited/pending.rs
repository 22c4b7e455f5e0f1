//! Work that identical requests share until it begins.
//!
//! A request must not join work that has begun: what it asks about may have changed since. So it
//! joins work that waits for its turn, or adds its own.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};

/// Work by key that has not begun.
pub(super) struct Pending<K: Clone + Eq + Hash, V: Clone>(Arc<Waiting<K, V>>);

type Work<V> = BoxFuture<'static, V>;
type Waiting<K, V> = Mutex<HashMap<K, WeakShared<Work<V>>>>;

/// While this exists, requests join the work. The work drops it when it begins.
pub(super) struct Joinable<K: Clone + Eq + Hash, V: Clone> {
    key: K,
    waiting: Arc<Waiting<K, V>>,
}

impl<K: Clone + Eq + Hash, V: Clone> Default for Pending<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Pending<K, V> {
    /// Returns the result of the work of `key`: of the work that waits, or else of new `work`.
    pub(super) fn join(
        &self,
        key: K,
        work: impl FnOnce(K, Joinable<K, V>) -> Work<V>,
    ) -> Shared<Work<V>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = waiting.get(&key).and_then(WeakShared::upgrade) {
            return shared;
        }
        let joinable = Joinable {
            key: key.clone(),
            waiting: Arc::clone(&self.0),
        };
        let shared = work(key.clone(), joinable).shared();
        if let Some(weak) = shared.downgrade() {
            waiting.insert(key, weak);
        }
        shared
    }
}

/// The last request may drop the work before it begins, which removes it as well.
impl<K: Clone + Eq + Hash, V: Clone> Drop for Joinable<K, V> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Semaphore;

    /// Work that waits for a permit of the first semaphore to begin, and for one of the second to
    /// end. Its result is its number.
    #[derive(Default)]
    struct Rig {
        pending: Pending<&'static str, u32>,
        begun: Arc<AtomicU32>,
        gates: Arc<[Gate; 2]>,
    }

    struct Gate(Semaphore);

    impl Default for Gate {
        fn default() -> Self {
            Self(Semaphore::new(0))
        }
    }

    impl Gate {
        async fn pass(&self) {
            self.0.acquire().await.unwrap().forget();
        }
    }

    impl Rig {
        fn join(&self, key: &'static str) -> Shared<Work<u32>> {
            let (begun, gates) = (Arc::clone(&self.begun), Arc::clone(&self.gates));
            self.pending.join(key, |_, joinable| {
                async move {
                    gates[0].pass().await;
                    drop(joinable);
                    let number = begun.fetch_add(1, Ordering::Relaxed) + 1;
                    gates[1].pass().await;
                    number
                }
                .boxed()
            })
        }

        fn waiting(&self) -> usize {
            self.pending.0.lock().unwrap().len()
        }
    }

    #[tokio::test]
    async fn only_work_that_has_not_begun_is_shared() {
        let rig = Rig::default();
        let (first, same, other) = (rig.join("a"), rig.join("a"), rig.join("b"));
        assert_eq!(rig.waiting(), 2);
        let mut first = tokio::spawn(first);
        rig.gates[0].0.add_permits(1);
        while rig.waiting() == 2 {
            tokio::task::yield_now().await;
        }
        let later = rig.join("a");
        rig.gates[0].0.add_permits(2);
        rig.gates[1].0.add_permits(3);
        let later = later.await;
        let numbers = ((&mut first).await.unwrap(), same.await, other.await);
        assert_eq!((numbers.0, numbers.1), (1, 1));
        assert_ne!(later, 1);
        assert_eq!((rig.waiting(), rig.begun.load(Ordering::Relaxed)), (0, 3));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_forgotten() {
        let rig = Rig::default();
        let unpolled = rig.join("a");
        drop(unpolled);
        let polled = tokio::time::timeout(std::time::Duration::ZERO, rig.join("b"));
        assert!(polled.await.is_err());
        assert_eq!(rig.waiting(), 0);
    }
}
