//! Emits an Event once, and again every hour while its reason lasts: the API server deletes Events
//! after an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

use crate::kubernetes::events::Events;

/// Interval at which an Event is emitted again.
const REPEAT_INTERVAL: Duration = Duration::from_mins(55);

/// Most Events that are emitted at a time.
const MAX_EVENTS: usize = 20;

/// An Event to emit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PendingEvent {
    /// The object's kind, name and uid.
    pub(super) about: (String, String, String),
    /// In PascalCase.
    pub(super) reason: &'static str,
    /// For a person.
    pub(super) note: String,
}

/// The Events of one namespace, and when each was last emitted.
#[derive(Debug, Default)]
pub(super) struct EventDeduper(BTreeMap<PendingEvent, Instant>);

impl EventDeduper {
    /// Returns the Events of `now` that are due, at most [`MAX_EVENTS`]; the others wait for the next
    /// call. An Event whose reason is over stays remembered: the reason may come back at any moment.
    fn due(&mut self, now: Vec<PendingEvent>, at: Instant) -> Vec<PendingEvent> {
        self.0
            .retain(|_, last| at.saturating_duration_since(*last) < REPEAT_INTERVAL);
        let mut due = Vec::new();
        for event in now {
            if due.len() < MAX_EVENTS && !self.0.contains_key(&event) {
                self.0.insert(event.clone(), at);
                due.push(event);
            }
        }
        due
    }

    /// Emits each Event of `now` that was not emitted lately.
    pub(super) async fn emit_events(
        &mut self,
        recorder: &Events,
        namespace: &str,
        now: Vec<PendingEvent>,
    ) {
        for event in self.due(now, Instant::now()) {
            let (kind, name, uid) = event.about;
            let api = match kind.as_str() {
                "BackupStorageLocation" => "velero.io/v1",
                _ => "v1",
            };
            let about = ObjectReference {
                api_version: Some(api.to_owned()),
                kind: Some(kind),
                namespace: Some(namespace.to_owned()),
                name: Some(name),
                uid: Some(uid).filter(|uid| !uid.is_empty()),
                ..ObjectReference::default()
            };
            recorder.warning(&about, event.reason, &event.note).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emits_an_event_once_and_again_after_an_hour() {
        let event = |note: &str| PendingEvent {
            about: ("ConfigMap".to_owned(), "a".to_owned(), String::new()),
            reason: "Reason",
            note: note.to_owned(),
        };
        let start = Instant::now();
        let mut events = EventDeduper::default();
        let both = vec![event("a"), event("b"), event("a")];
        assert_eq!(events.due(both.clone(), start).len(), 2);
        assert_eq!(events.due(both, start).len(), 0);
        // What comes and goes is emitted once.
        assert_eq!(events.due(vec![event("a")], start).len(), 0);
        let now = events.due(vec![event("a"), event("b"), event("c")], start);
        assert_eq!(now, [event("c")]);
        let later = start + REPEAT_INTERVAL;
        assert_eq!(events.due(vec![event("a")], later).len(), 1);
        assert_eq!(events.due(vec![event("a")], later).len(), 0);
        let many = (0..50).map(|number| event(&number.to_string()));
        let many: Vec<_> = many.collect();
        assert_eq!(events.due(many.clone(), later).len(), MAX_EVENTS);
        assert_eq!(events.due(many, later)[0], event("20"));
    }
}
