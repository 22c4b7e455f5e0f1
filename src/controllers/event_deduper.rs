//! Emits an Event once, and again while its reason lasts: a little before the API server deletes
//! it, which it does after an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

use crate::decision::Key;
use crate::kubernetes::events::{EventReason, Events, velero_object};
use crate::names::BUNDLE;

/// Interval at which an Event is emitted again.
const REPEAT_INTERVAL: Duration = Duration::from_mins(55);

/// Most Events that are emitted at a time.
const MAX_EVENTS: usize = 20;

/// Remembers when each Event of a namespace was last emitted. Two Events with the same key `K` are
/// the same Event.
#[derive(Debug)]
pub(super) struct EventDeduper<K>(BTreeMap<K, Instant>);

impl<K> Default for EventDeduper<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> EventDeduper<K> {
    /// Returns the `current` Events that are due, at most [`MAX_EVENTS`], and counts them as
    /// emitted. An Event whose reason no longer exists stays remembered, because the reason may
    /// return at any moment.
    pub(super) fn take_due(
        &mut self,
        current: impl IntoIterator<Item = K>,
        now: Instant,
    ) -> Vec<K> {
        self.0
            .retain(|_, last| now.saturating_duration_since(*last) < REPEAT_INTERVAL);
        let mut due = Vec::new();
        for event in current {
            if due.len() < MAX_EVENTS && !self.0.contains_key(&event) {
                self.0.insert(event.clone(), now);
                due.push(event);
            }
        }
        due
    }

    /// Forgets that `event` was emitted, because its reason is over and that was told: it is emitted
    /// again when the reason returns.
    pub(super) fn forget(&mut self, event: &K) {
        self.0.remove(event);
    }

    /// Returns the time until the next of the `current` Events is due.
    pub(super) fn next_due<'k>(
        &self,
        current: impl IntoIterator<Item = &'k K>,
        now: Instant,
    ) -> Option<Duration>
    where
        K: 'k,
    {
        let due = current.into_iter().map(|event| match self.0.get(event) {
            None => Duration::ZERO,
            Some(last) => (*last + REPEAT_INTERVAL).saturating_duration_since(now),
        });
        due.min()
    }
}

/// An Event to emit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PendingEvent {
    pub(super) about: EventObject,
    pub(super) reason: EventReason,
    /// For people.
    pub(super) note: String,
}

/// The object of an Event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EventObject {
    /// The ConfigMap of the bundle.
    Bundle,
    /// A BackupStorageLocation.
    Location { name: String, uid: String },
}

impl EventObject {
    fn reference(self, namespace: &str) -> ObjectReference {
        match self {
            Self::Bundle => ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("ConfigMap".to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(BUNDLE.to_owned()),
                ..ObjectReference::default()
            },
            Self::Location { name, uid } => {
                let location = Key::new(namespace, &*name);
                let uid = Some(uid).filter(|uid| !uid.is_empty());
                velero_object("BackupStorageLocation", &location, uid.as_deref())
            }
        }
    }
}

impl EventDeduper<PendingEvent> {
    /// Returns an Event for each condition that was told and is over: no `current` Event has its object
    /// and reason. The condition is told again when it returns; its end is told at most once in
    /// [`REPEAT_INTERVAL`], so that one that comes and goes does not flood the API server.
    fn take_ended(
        &mut self,
        current: &[PendingEvent],
        now: Instant,
        is_known: impl Fn(&EventObject) -> bool,
    ) -> Vec<PendingEvent> {
        let lasts = |told: &PendingEvent| {
            current
                .iter()
                .any(|one| one.about == told.about && one.reason == told.reason)
        };
        let told = self.0.keys().filter(|told| {
            told.reason != EventReason::ConditionEnded && !lasts(told) && is_known(&told.about)
        });
        let told: Vec<_> = told.cloned().collect();
        let mut ended = Vec::new();
        for told in told {
            let end = PendingEvent {
                about: told.about.clone(),
                reason: EventReason::ConditionEnded,
                note: format!("{} is over: {}", told.reason, told.note),
            };
            if ended.len() < MAX_EVENTS && !self.0.contains_key(&end) {
                self.0.remove(&told);
                self.0.insert(end.clone(), now);
                ended.push(end);
            }
        }
        ended
    }

    /// Emits each of the `current` Events that is due, and an Event for each condition that is over.
    /// `is_known` tells whether everything is known about an object, so that what is not current is over.
    pub(super) async fn emit_events(
        &mut self,
        recorder: &Events,
        namespace: &str,
        current: Vec<PendingEvent>,
        is_known: impl Fn(&EventObject) -> bool,
    ) {
        let now = Instant::now();
        let mut events = self.take_ended(&current, now, is_known);
        events.extend(self.take_due(current, now));
        for event in events {
            let about = event.about.reference(namespace);
            recorder.emit(&about, event.reason, &event.note).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::Client;
    use kube::client::Body;
    use tokio::sync::mpsc;
    use tower::{BoxError, service_fn};

    #[test]
    fn emits_an_event_once_and_again_after_an_hour() {
        let start = Instant::now();
        let mut events = EventDeduper::default();
        assert_eq!(events.take_due(["a", "b", "a"], start), ["a", "b"]);
        assert_eq!(events.take_due(["a", "b"], start), [""; 0]);
        // An Event whose reason returns is not emitted again.
        assert_eq!(events.take_due(["a"], start), [""; 0]);
        assert_eq!(events.take_due(["a", "b", "c"], start), ["c"]);
        let later = start + REPEAT_INTERVAL;
        assert_eq!(events.take_due(["a"], later), ["a"]);
        assert_eq!(events.take_due(["a"], later), [""; 0]);
        events.forget(&"a");
        assert_eq!(events.take_due(["a"], later), ["a"]);
    }

    #[test]
    fn the_object_of_an_event_is_found_by_kubectl_describe() {
        let location = EventObject::Location {
            name: "default".to_owned(),
            uid: "u".to_owned(),
        };
        let object = location.reference("velero");
        assert_eq!(object.namespace.as_deref(), Some("velero"));
        let names = (object.name.as_deref(), object.uid.as_deref());
        assert_eq!(names, (Some("default"), Some("u")));
        assert_eq!(object.api_version.as_deref(), Some("velero.io/v1"));
        let bundle = EventObject::Bundle.reference("velero");
        let kind = (bundle.kind.as_deref(), bundle.namespace.as_deref());
        assert_eq!(kind, (Some("ConfigMap"), Some("velero")));
        assert_eq!(bundle.uid, None);
    }

    #[test]
    fn emits_a_few_at_a_time() {
        let start = Instant::now();
        let mut events = EventDeduper::default();
        let first = events.take_due(0..50, start);
        assert_eq!(first.len(), MAX_EVENTS);
        assert_eq!(events.next_due(&[49], start), Some(Duration::ZERO));
        assert_eq!(events.take_due(0..50, start)[0], 20);
    }

    #[test]
    fn knows_when_the_next_event_is_due() {
        let start = Instant::now();
        let mut events = EventDeduper::default();
        events.take_due(["a"], start);
        let minute = Duration::from_mins(1);
        events.take_due(["b"], start + minute);
        let next = events.next_due(&["a", "b"], start + minute);
        assert_eq!(next.map(|next| next + minute), Some(REPEAT_INTERVAL));
        assert_eq!(
            events.next_due(&["b"], start + minute),
            Some(REPEAT_INTERVAL)
        );
        assert_eq!(events.next_due(&[], start), None);
    }

    #[test]
    fn what_is_over_is_told_once_and_what_is_not_known_is_not_over() {
        let start = Instant::now();
        let event = |name: &str, note: &str| PendingEvent {
            about: EventObject::Location {
                name: name.to_owned(),
                uid: String::new(),
            },
            reason: EventReason::CaInvalid,
            note: note.to_owned(),
        };
        let mut events = EventDeduper::default();
        let both = [event("a", "x"), event("b", "y")];
        assert_eq!(events.take_due(both.clone(), start).len(), 2);
        assert_eq!(events.take_ended(&both, start, |_| true), []);
        // The reason is still there, with another note.
        let changed = [event("a", "z"), event("b", "y")];
        assert_eq!(events.take_ended(&changed, start, |_| true), []);
        assert_eq!(events.take_ended(&[], start, |_| false), []);
        let is_a = |about: &EventObject| *about == both[0].about;
        let ended = events.take_ended(&[], start, is_a);
        let notes: Vec<_> = ended
            .iter()
            .map(|one| (one.reason, one.note.as_str()))
            .collect();
        assert_eq!(
            notes,
            [(EventReason::ConditionEnded, "CAInvalid is over: x")]
        );
        assert_eq!(events.take_ended(&[], start, is_a), []);
        // It returns and ends again: that is told once more, and then not before an hour is over.
        assert_eq!(events.take_due(both.clone(), start), both[..1]);
        assert_eq!(events.take_ended(&both[1..], start, is_a), []);
        assert_eq!(events.take_due(both.clone(), start), []);
    }

    /// What is told and what is over are both written, to the API server.
    #[tokio::test]
    async fn the_end_of_a_condition_is_emitted() {
        let (sender, mut written) = mpsc::unbounded_channel();
        let client = Client::new(
            service_fn(move |request: http::Request<Body>| {
                let sender = sender.clone();
                async move {
                    let body = request.into_body().collect_bytes().await?;
                    let event: serde_json::Value = serde_json::from_slice(&body)?;
                    let reason = event["reason"].as_str().unwrap_or_default().to_owned();
                    let _ = sender.send((reason, event["type"].clone()));
                    Ok::<_, BoxError>(http::Response::new(Body::from(body.to_vec())))
                }
            }),
            "default",
        );
        let recorder = Events::new(client, "us");
        let event = PendingEvent {
            about: EventObject::Bundle,
            reason: EventReason::CaInvalid,
            note: "x".to_owned(),
        };
        let mut events = EventDeduper::default();
        for current in [vec![event], Vec::new(), Vec::new()] {
            events
                .emit_events(&recorder, "velero", current, |_| true)
                .await;
        }
        let expected = [("CAInvalid", "Warning"), ("ConditionEnded", "Normal")];
        for (reason, kind) in expected {
            let (told, event_type) = written.try_recv().unwrap();
            assert_eq!((told.as_str(), event_type), (reason, kind.into()));
        }
        assert!(written.try_recv().is_err());
    }
}
