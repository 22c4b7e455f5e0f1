//! Reading a review never panics, whatever its bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use velero_trust::admission::{Envelope, HANDLERS, Opened};
use velero_trust::decision::{Context, Facts, Policy};

use super::arbitrary::pod;
use super::facts;

/// Reads bytes as every handler does, up to a first decision.
fn review(body: &[u8]) {
    let Ok(envelope) = Envelope::decode(body) else {
        return;
    };
    let Ok(request) = envelope.request() else {
        return;
    };
    let policy = Policy::default();
    let context = Context {
        policy: &policy,
        now: 0,
    };
    for handler in HANDLERS {
        if let Opened::ReviewedObject(subject) = handler.open(&request) {
            let _ = subject.decide(&Facts::default(), context);
            let _ = subject.decide(&facts(), context);
        }
    }
}

fn a_review(group: &str, resource: &str, object: &Value) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": group, "version": "v1", "kind": "X"},
        "resource": {"group": group, "version": "v1", "resource": resource},
        "name": "x", "namespace": "velero", "operation": "CREATE", "dryRun": false,
        "userInfo": {"username": "admin"}, "object": object, "oldObject": null,
    }})
    .to_string()
}

fn reviews() -> BoxedStrategy<String> {
    let bsl = json!({"metadata": {"annotations": {"velero-trust.io/ca-secret": "a/b"}},
        "spec": {"provider": "aws", "config": {"region": "x"},
                 "objectStorage": {"bucket": "b", "caCert": "LS0tLS0="}}});
    let restore = json!({"metadata": {"name": "r"}, "spec": {"backupName": "b"}});
    prop_oneof![
        pod().prop_map(|pod| a_review("", "pods", &pod)),
        Just(a_review("velero.io", "backupstoragelocations", &bsl)),
        Just(a_review("velero.io", "restores", &restore)),
    ]
    .boxed()
}

/// Generates one way to corrupt a text.
fn spoil() -> BoxedStrategy<Spoil> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Spoil::Byte(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Spoil::Cut(from, to)),
        (
            any::<Index>(),
            select(vec!["null", "{}", "[]", "\"\\u0000\"", "1e999", "true"])
        )
            .prop_map(|(at, value)| Spoil::Value(at, value)),
    ]
    .boxed()
}

#[derive(Clone, Debug)]
enum Spoil {
    /// Replaces a byte.
    Byte(Index, u8),
    /// Removes a range.
    Cut(Index, Index),
    /// Replaces the value after a colon, which often leaves valid JSON.
    Value(Index, &'static str),
}

impl Spoil {
    fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        match self {
            Self::Byte(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Self::Cut(from, to) => {
                let (from, to) = (from.index(body.len()), to.index(body.len()));
                body.drain(from.min(to)..from.max(to));
            }
            Self::Value(at, value) => {
                let colons: Vec<_> = (0..body.len()).filter(|at| body[*at] == b':').collect();
                let Some(colon) = colons.get(at.index(colons.len().max(1))) else {
                    return;
                };
                let start = colon + 1;
                let end = body[start..]
                    .iter()
                    .position(|byte| b",}]".contains(byte))
                    .map_or(body.len(), |length| start + length);
                body.splice(start..end, value.bytes());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_any_bytes_never_panics(body in vec(any::<u8>(), 0..512)) {
        review(&body);
    }

    #[test]
    fn reading_a_spoilt_review_never_panics(text in reviews(), spoils in vec(spoil(), 0..4)) {
        let mut body = text.into_bytes();
        for spoil in spoils {
            spoil.apply(&mut body);
        }
        review(&body);
    }
}
