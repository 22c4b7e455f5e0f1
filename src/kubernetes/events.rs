//! Writes Events, which `kubectl describe` shows.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::time::Duration;
use tokio::time::timeout;

use super::error;
use crate::names;

/// Most bytes in the note of an Event (`events.k8s.io/v1`, `note`).
const MAX_NOTE_BYTES: usize = 1024;

/// Longest time to write one Event. No decision waits for it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Writes Events. Callers make sure that they do not write the same Event again and again.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
}

impl Events {
    /// Returns a writer whose Events name `instance` as the reporting instance.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: names::APP.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self { client, reporter }
    }

    /// Writes a Warning: `reason` is in PascalCase, `note` is for a person. A failure to write the
    /// Event is only logged.
    pub async fn warning(&self, about: &ObjectReference, reason: &str, note: &str) {
        self.publish(EventType::Warning, about, reason, note).await;
    }

    /// Writes a Normal Event.
    pub async fn normal(&self, about: &ObjectReference, reason: &str, note: &str) {
        self.publish(EventType::Normal, about, reason, note).await;
    }

    async fn publish(&self, type_: EventType, about: &ObjectReference, reason: &str, note: &str) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(truncate_note(note).to_owned()),
            action: reason.to_owned(),
            secondary: None,
        };
        // A recorder that is reused treats two Events with the same reason as one, whatever their
        // notes say, and shows only the first note.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        let why = match timeout(REQUEST_TIMEOUT, recorder.publish(&event, about)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error::lookup_error(&error).message,
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        tracing::warn!(reason, why, "cannot write an Event");
    }
}

fn truncate_note(note: &str) -> &str {
    let mut end = note.len().min(MAX_NOTE_BYTES);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        assert_eq!(truncate_note("short"), "short");
        let long = "ä".repeat(1000);
        assert_eq!(truncate_note(&long), "ä".repeat(512));
        assert_eq!(truncate_note(&format!("x{long}")).len(), 1023);
    }
}
