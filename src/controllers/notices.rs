//! Events that are written once, and again every hour for as long as their reason lasts: the API
//! server forgets Events after one.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

use crate::kubernetes::events::Events;

/// After so long an Event is written again.
const AGAIN: Duration = Duration::from_mins(55);

/// Most Events that are written at a time.
const AT_ONCE: usize = 20;

/// Something worth an Event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Notice {
    /// The object's kind, name and uid.
    pub(super) about: (String, String, String),
    /// In PascalCase.
    pub(super) reason: &'static str,
    /// For a person.
    pub(super) note: String,
}

/// What was noticed in one namespace, and when it was last said.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeMap<Notice, Instant>);

impl Notices {
    /// Those of `now` that have to be said, at most [`AT_ONCE`]; the others wait for the next time.
    /// What is over is not forgotten at once: it may be back in a moment, again and again.
    fn due(&mut self, now: Vec<Notice>, at: Instant) -> Vec<Notice> {
        self.0
            .retain(|_, last| at.saturating_duration_since(*last) < AGAIN);
        let mut due = Vec::new();
        for notice in now {
            if due.len() < AT_ONCE && !self.0.contains_key(&notice) {
                self.0.insert(notice.clone(), at);
                due.push(notice);
            }
        }
        due
    }

    /// Writes an Event for each of `now` that was not written lately.
    pub(super) async fn say(&mut self, events: &Events, namespace: &str, now: Vec<Notice>) {
        for notice in self.due(now, Instant::now()) {
            let (kind, name, uid) = notice.about;
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
            events.warning(&about, notice.reason, &notice.note).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_a_thing_once_and_again_after_an_hour() {
        let notice = |note: &str| Notice {
            about: ("ConfigMap".to_owned(), "a".to_owned(), String::new()),
            reason: "Reason",
            note: note.to_owned(),
        };
        let start = Instant::now();
        let mut notices = Notices::default();
        let both = vec![notice("a"), notice("b"), notice("a")];
        assert_eq!(notices.due(both.clone(), start).len(), 2);
        assert_eq!(notices.due(both, start).len(), 0);
        // What comes and goes is said once.
        assert_eq!(notices.due(vec![notice("a")], start).len(), 0);
        let now = notices.due(vec![notice("a"), notice("b"), notice("c")], start);
        assert_eq!(now, [notice("c")]);
        let later = start + AGAIN;
        assert_eq!(notices.due(vec![notice("a")], later).len(), 1);
        assert_eq!(notices.due(vec![notice("a")], later).len(), 0);
        let many = (0..50).map(|number| notice(&number.to_string()));
        let many: Vec<_> = many.collect();
        assert_eq!(notices.due(many.clone(), later).len(), AT_ONCE);
        assert_eq!(notices.due(many, later)[0], notice("20"));
    }
}
