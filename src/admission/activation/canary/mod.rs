//! The canary: a request that the API server sends to velero-trust, and that changes nothing whatever
//! becomes of it. Only when velero-trust's own refusal comes back do other webhooks become active.

mod cause;

pub use cause::Outcome;

use std::fmt;

use super::super::answer::Answer;
use super::super::handler::Handler;
use super::super::request::{Operation, Request};
use super::super::reviewed_object::{Mode, Unreadable};
use crate::names;

/// Refuses every request.
pub static HANDLER: Handler = Handler {
    path: "/validate/canary",
    group: "",
    resource: "configmaps",
    subresources: &[""],
    kind: "ConfigMap",
    plural: "canary ConfigMaps",
    unjudged: "pass",
    operations: &[Operation::Create, Operation::Update],
    mode: Mode::Validate,
    max_body_bytes: 64 << 10,
    memory_per_byte: 4,
    read: |_| Err(Unreadable("it is answered unread".to_owned())),
};

/// The value of the label that tells what a configuration reviews.
pub const LABEL: &str = "canary";

/// The name of the webhook, by which the API server calls it in its messages.
pub const WEBHOOK: &str = "canary.velero-trust.io";

/// What the refusal begins with. Something else that answers at the Service does not say it.
const REFUSAL: &str = "velero-trust answers";

/// How often in a row velero-trust has to be heard: one Service has several replicas behind it.
const WANTED_IN_A_ROW: u8 = 3;

/// Returns the refusal of a `request`.
pub fn answer(request: &Request<'_>) -> Answer {
    let message = format!(
        "{REFUSAL}: the API server reaches it; nobody else can have a ConfigMap {}",
        names::CANARY
    );
    Answer::refuse(request, message)
}

/// What came back from one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What happened.
    pub outcome: Outcome,
    /// What the API server said; empty if it was content.
    pub said: String,
}

/// Writes what happened.
impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Answered => f.write_str("it answered"),
            Outcome::NotAsked => f.write_str("the canary passed without a call"),
            _ => write!(f, "the API server said: {}", self.said),
        }
    }
}

impl Heard {
    /// Reads what came back for a dry run: nothing, or the error of the API server.
    pub fn read(error: Option<&str>) -> Self {
        let Some(said) = error else {
            return Self {
                outcome: Outcome::NotAsked,
                said: String::new(),
            };
        };
        let denial = format!("admission webhook \"{WEBHOOK}\" denied the request: {REFUSAL}");
        let outcome = if said.contains(&denial) {
            Outcome::Answered
        } else {
            Outcome::of_error(said)
        };
        Self {
            outcome,
            said: said.to_owned(),
        }
    }
}

/// What was heard so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Canary {
    in_a_row: u8,
    last: Option<Heard>,
}

impl Canary {
    /// Notes what came back.
    pub fn note(&mut self, heard: Heard) {
        self.in_a_row = match heard.outcome {
            Outcome::Answered => self.in_a_row.saturating_add(1),
            _ => 0,
        };
        self.last = Some(heard);
    }

    /// Whether velero-trust answered often enough in a row, to the last.
    pub const fn is_answered(&self) -> bool {
        self.in_a_row >= WANTED_IN_A_ROW
    }

    /// Returns what came back last.
    pub const fn last(&self) -> Option<&Heard> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Envelope;
    use serde_json::{Value, json};

    fn refusal() -> String {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "1", "name": names::CANARY, "namespace": "guards", "operation": "CREATE",
                "resource": {"group": "", "version": "v1", "resource": "configmaps"},
                "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
                "object": {},
            },
        });
        let body = review.to_string();
        let envelope = Envelope::decode(body.as_bytes()).unwrap();
        let answer = answer(&envelope.request().unwrap());
        assert_eq!(answer.http, 200);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["response"]["uid"], "1");
        assert_eq!(answer["response"]["allowed"], false);
        let message = answer["response"]["status"]["message"].as_str().unwrap();
        message.to_owned()
    }

    /// As the API server passes it on.
    fn denied_by(webhook: &str, message: &str) -> Heard {
        let text = format!("admission webhook \"{webhook}\" denied the request: {message}");
        Heard::read(Some(&text))
    }

    #[test]
    fn only_the_own_refusal_is_an_answer() {
        assert_eq!(denied_by(WEBHOOK, &refusal()).outcome, Outcome::Answered);
        assert_eq!(denied_by(WEBHOOK, "no").outcome, Outcome::OtherServer);
        let policy = denied_by("validate.kyverno.svc-fail", &refusal());
        assert_eq!(policy.outcome, Outcome::OtherAdmission);
        assert_eq!(Heard::read(None).outcome, Outcome::NotAsked);
    }

    #[test]
    fn it_has_to_answer_three_times_in_a_row() {
        let heard = |outcome| Heard {
            outcome,
            said: String::new(),
        };
        let mut canary = Canary::default();
        let mut answered = |outcome| {
            canary.note(heard(outcome));
            canary.is_answered()
        };
        assert!(!answered(Outcome::Answered) && !answered(Outcome::Answered));
        assert!(!answered(Outcome::TimedOut), "it starts over");
        assert!(!answered(Outcome::Answered) && !answered(Outcome::Answered));
        assert!(answered(Outcome::Answered) && answered(Outcome::Answered));
        assert!(!answered(Outcome::NotAsked));
    }
}
