//! A gate through which each request passes, and at which a test can end a controller.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

#[derive(Default)]
struct State {
    /// The requests that passed, in order.
    passed: Vec<String>,
    /// The number of the request that never passes.
    closed_at: Option<usize>,
    /// What the request begins with that never passes.
    closed_for: Option<&'static str>,
}

/// Clones are the same gate.
#[derive(Clone, Default)]
pub(in crate::controllers) struct Gate {
    state: Arc<Mutex<State>>,
    reached: Arc<Notify>,
}

impl Gate {
    /// Lets a request pass. The one that reaches the closed gate waits for ever.
    pub(in crate::controllers) async fn pass(&self, what: &str) {
        let is_closed = {
            let mut state = self.state.lock().unwrap();
            let is_closed = state.closed_at == Some(state.passed.len())
                || state
                    .closed_for
                    .is_some_and(|start| what.starts_with(start));
            if !is_closed {
                state.passed.push(what.to_owned());
            }
            is_closed
        };
        if is_closed {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Closes the gate after this number of requests.
    pub(in crate::controllers) fn close_after(&self, number: usize) {
        self.state.lock().unwrap().closed_at = Some(number);
    }

    /// Closes the gate for requests that begin so.
    pub(in crate::controllers) fn close_at(&self, start: &'static str) {
        self.state.lock().unwrap().closed_for = Some(start);
    }

    pub(in crate::controllers) fn open(&self) {
        let mut state = self.state.lock().unwrap();
        (state.closed_at, state.closed_for) = (None, None);
    }

    /// Waits until a request stands at the closed gate.
    pub(in crate::controllers) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(in crate::controllers) fn passed(&self) -> Vec<String> {
        self.state.lock().unwrap().passed.clone()
    }
}
