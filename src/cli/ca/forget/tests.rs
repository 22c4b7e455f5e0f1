use http::Method;
use kube::client::Body;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tower::{BoxError, service_fn};

use super::*;
use crate::ca::merged_bundle::{Contribution, Contributions, Moment, Owner};

/// A cluster whose only memory somebody deletes when it is written.
fn deleted_meanwhile(text: String) -> Client {
    let is_there = Arc::new(AtomicBool::new(true));
    Client::new(
        service_fn(move |request: http::Request<Body>| {
            if request.method() == Method::PATCH {
                is_there.store(false, Ordering::Relaxed);
            }
            let answer = if is_there.load(Ordering::Relaxed) {
                json!({"metadata": {"resourceVersion": "1"}, "data": {"memory.json": text}})
            } else {
                let code = if request.method() == Method::GET {
                    404
                } else {
                    409
                };
                json!({"kind": "Status", "status": "Failure", "code": code, "message": "gone", "reason": if code == 404 { "NotFound" } else { "Conflict" }})
            };
            let code = answer["code"].as_u64().unwrap_or(200);
            let code = u16::try_from(code).unwrap();
            let body = Body::from(answer.to_string().into_bytes());
            async move { Ok::<_, BoxError>(http::Response::builder().status(code).body(body)?) }
        }),
        "default",
    )
}

/// A memory that retains `certificate`.
fn retaining(certificate: &Certificate) -> Memory {
    let mut memory = Memory::default();
    for certificates in [vec![certificate.clone()], Vec::new()] {
        let contribution = Contribution {
            certificates,
            is_complete: true,
        };
        let owner = Owner::Location("default".to_owned());
        let now = Moment { wall: 5, steady: 5 };
        memory.learn(&Contributions::from([(owner, contribution)]), now, 86_400);
    }
    memory
}

#[tokio::test]
async fn a_memory_that_is_deleted_meanwhile_is_not_one_without_the_ca() {
    let certificate = &mozilla()[0];
    let client = deleted_meanwhile(retaining(certificate).to_text());
    let mut store = MemoryStore::new(client, "velero-trust", "velero");
    let mut entry = Entry {
        namespace: "velero",
        memory: load(&mut store).await.unwrap(),
    };
    let found = entry.forget(&mut store, certificate, false).await;
    let why = format!("{:#}", found.expect_err("the leader writes it again"));
    assert!(why.contains("velero") && why.contains("try again"), "{why}");
}

#[tokio::test]
async fn the_longest_wait_ends_when_the_bundle_is_published() {
    let command = Forget::augment_args(clap::Command::new("forget"));
    let wait = format!("--wait={}", u64::MAX);
    let given = command.get_matches_from(["forget", "0123456789ab", &wait]);
    let forget = <Forget as clap::FromArgMatches>::from_arg_matches(&given).unwrap();
    let client = deleted_meanwhile(String::new());
    let fingerprint = Certificate::parse(
        velero_trust_testing::pki::Authority::new("a")
            .unwrap()
            .der(),
    )
    .unwrap()
    .fingerprint();
    let namespaces = ["velero".to_owned()];
    let waited = forget.wait_for_bundles(&client, &namespaces, fingerprint);
    waited.await.unwrap();
}
