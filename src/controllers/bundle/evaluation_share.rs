//! Bounds the memory for what is kept of the evaluations of all namespaces, and shares it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::shared_quota::SharedQuota;

/// Memory for the evaluation of a namespace that it always has: more than a hundred CAs.
const GUARANTEED_BYTES: usize = 1 << 20;

/// Memory for the evaluations of all namespaces. While a namespace is evaluated, the result of
/// before is kept too.
const TOTAL_BYTES: usize = 48 << 20;

/// The memory for the evaluations of all namespaces. Clones share it.
#[derive(Clone, Debug)]
pub struct EvaluationQuota(Arc<Mutex<SharedQuota>>);

/// The part of one namespace, which is given back when this is dropped.
#[derive(Debug)]
pub(super) struct EvaluationShare {
    quota: EvaluationQuota,
    namespace: String,
}

impl EvaluationQuota {
    /// Returns the part of `namespace`, which holds nothing yet.
    pub(super) fn share(&self, namespace: &str) -> EvaluationShare {
        EvaluationShare {
            quota: self.clone(),
            namespace: namespace.to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, SharedQuota> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for EvaluationQuota {
    fn default() -> Self {
        let quota = SharedQuota::new(GUARANTEED_BYTES, TOTAL_BYTES);
        Self(Arc::new(Mutex::new(quota)))
    }
}

impl EvaluationShare {
    /// Whether an evaluation that is under way may keep `bytes` in all. They then count as held, if
    /// the evaluation before did not hold more.
    pub(super) fn admit(&self, bytes: usize) -> bool {
        let mut quota = self.quota.lock();
        let is_admitted = quota.admits(&self.namespace, bytes);
        if is_admitted && bytes > quota.held(&self.namespace) {
            quota.set(&self.namespace, bytes);
        }
        is_admitted
    }

    /// Records that `bytes` are kept after the evaluation.
    pub(super) fn settle(&self, bytes: usize) {
        self.quota.lock().set(&self.namespace, bytes);
    }
}

impl Drop for EvaluationShare {
    fn drop(&mut self) {
        self.settle(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_others_hold_is_not_free_until_they_are_gone() {
        let quota = EvaluationQuota::default();
        let [greedy, other] = ["greedy", "other"].map(|namespace| quota.share(namespace));
        assert!(greedy.admit(TOTAL_BYTES / 2) && !greedy.admit(TOTAL_BYTES / 2 + 1));
        assert!(!other.admit(TOTAL_BYTES / 4 + 1) && other.admit(TOTAL_BYTES / 4));
        // A new evaluation begins, and the old result is kept until it ends.
        assert!(greedy.admit(1) && !other.admit(TOTAL_BYTES / 4 + 1));
        greedy.settle(TOTAL_BYTES / 4);
        assert!(other.admit(TOTAL_BYTES / 4 + 1));
        drop(greedy);
        assert!(other.admit(TOTAL_BYTES / 2));
        assert!(quota.share("another").admit(GUARANTEED_BYTES));
    }
}
