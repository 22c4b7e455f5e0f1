//! Evaluates the locations of a namespace, with their Secrets, and the CA bundles in themselves,
//! read live.
//!
//! A few locations are evaluated at a time, and what was read for them is dropped before the next:
//! only certificates and findings are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, timeout_at};

use super::evaluation_share::EvaluationShare;
use crate::ca::evaluation::{EvaluatedLocation, Evaluation, MAX_PASSES, Omission};
use crate::ca::evaluation_budget::Budget;
use crate::controllers::locations::Locations;
use crate::decision::{Context, Facts};
use crate::kubernetes::error;
use crate::kubernetes::location::{self, LocationEntry};
use crate::sources::{LookupOptions, Source};
use crate::velero::bsl::Bsl;

/// Longest time in which locations and Secrets of a namespace are read.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);

/// Locations that are evaluated at a time until the size of their Secrets is known.
const FIRST_BATCH: usize = 4;

/// Most locations that are evaluated at a time.
const MAX_BATCH: usize = 16;

/// Bytes that locations that are evaluated at a time, and their Secrets, should not exceed by much.
/// If the Secrets of the last ones did, fewer are evaluated at a time.
const BATCH_BYTES: usize = 4 << 20;

/// Most bytes of Secrets that are kept for the next locations, which often name the same.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Evaluates the `locations` of `namespace`, within its `share` of the memory.
pub(super) async fn evaluate_locations(
    client: &Client,
    (namespace, share): (&str, &EvaluationShare),
    locations: &Locations,
    source: &dyn Source,
    context: Context<'_>,
) -> BTreeMap<String, EvaluatedLocation> {
    let options = LookupOptions {
        deadline: Instant::now() + LOOKUP_TIMEOUT,
        dry_run: false,
        caller: None,
    };
    let mut budget = Budget::default();
    let mut facts = Facts::default();
    let mut evaluated = BTreeMap::new();
    let mut rest = &by_age(locations)[..];
    let mut size = FIRST_BATCH;
    while !rest.is_empty() {
        let omit = |(name, entry): &(&String, &LocationEntry), omission| {
            let omitted = EvaluatedLocation::omitted(namespace, &entry.bsl, omission);
            ((*name).clone(), omitted)
        };
        if budget.is_read_up() {
            evaluated.extend(rest.iter().map(|one| omit(one, Omission::OverBudget)));
            break;
        }
        let mut live = Vec::new();
        let mut live_bytes = 0;
        let mut taken = 0;
        for one in rest.iter().take(size) {
            let (name, entry) = *one;
            match read(client, namespace, name, entry, options.deadline).await {
                Ok(Some((bsl, bytes))) => {
                    live_bytes += bytes;
                    live.push((name, bsl));
                }
                // It was deleted, which the watch will tell.
                Ok(None) => {}
                Err(reason) => evaluated.extend([omit(one, Omission::Unread(reason))]),
            }
            taken += 1;
            if live_bytes > BATCH_BYTES {
                break;
            }
        }
        rest = rest.get(taken..).unwrap_or_default();
        budget.add_read(live_bytes);
        let before = facts.secret_bytes();
        let all = live.iter().map(|(name, bsl)| (*name, bsl));
        let mut evaluation = Evaluation::new(namespace, all, context.now);
        for pass in 1..=MAX_PASSES {
            let needs: Vec<_> = evaluation.pass(&facts).into_iter().collect();
            if needs.is_empty() || pass == MAX_PASSES {
                break;
            }
            facts.extend(source.resolve(&needs, options).await);
        }
        let read = facts.secret_bytes().saturating_sub(before);
        budget.add_read(read);
        size = next_batch(taken, read);
        // The oldest first, whatever their names are.
        let mut results = evaluation.apply_policy(context.policy);
        for (name, _) in &live {
            if let Some((name, location)) = results.remove_entry(*name) {
                evaluated.insert(name, budget.admit(location, |bytes| share.admit(bytes)));
            }
        }
        if facts.secret_bytes() > MAX_KEPT_BYTES {
            facts = Facts::default();
        }
    }
    evaluated
}

/// Returns the locations, the oldest first. Of two that were created in the same second, the names
/// decide.
fn by_age(locations: &Locations) -> Vec<(&String, &LocationEntry)> {
    let all = locations.iter().map(|(name, entry)| (name, &**entry));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(name, entry)| (entry.created.unwrap_or(i64::MAX), *name));
    all
}

/// Returns how many locations are evaluated next, after the Secrets of this many had `bytes`.
fn next_batch(locations: usize, bytes: usize) -> usize {
    let each = bytes / locations.max(1);
    let next = BATCH_BYTES.checked_div(each).unwrap_or(MAX_BATCH);
    next.clamp(1, MAX_BATCH)
}

/// Returns the whole location, and how many bytes were read for it. An entry from which nothing is
/// left out is the whole location.
async fn read(
    client: &Client,
    namespace: &str,
    name: &str,
    entry: &LocationEntry,
    deadline: Instant,
) -> Result<Option<(Bsl<'static>, usize)>, String> {
    if entry.left_out.is_none() {
        return Ok(Some((entry.bsl.clone(), 0)));
    }
    match timeout_at(deadline, location::find(client, namespace, name)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(error::lookup_error(&error).message),
        Err(_) => Err("the API server did not answer in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::{BoxError, service_fn};

    use super::*;
    use crate::ca::bundle::{merge, mozilla};
    use crate::controllers::EvaluationQuota;
    use crate::decision::{Lookup, Policy};

    /// A source of Secrets that nobody names.
    struct NoSecrets;

    impl Source for NoSecrets {
        fn resolve<'a>(&'a self, _: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
            async { Facts::default() }.boxed()
        }
    }

    /// Evaluates locations with the same inline CA, which an API server that answers with `answer`
    /// is asked for.
    async fn evaluate(
        names: &[&str],
        answer: fn(&str) -> (u16, Value),
    ) -> BTreeMap<String, EvaluatedLocation> {
        evaluate_within(&EvaluationQuota::default().share("velero"), names, answer).await
    }

    /// As [`evaluate`], with this share of the memory.
    async fn evaluate_within(
        share: &EvaluationShare,
        names: &[&str],
        answer: fn(&str) -> (u16, Value),
    ) -> BTreeMap<String, EvaluatedLocation> {
        let service = service_fn(move |request: http::Request<Body>| async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let (code, answer) = answer(&query);
            let mut response = http::Response::new(Body::from(answer.to_string().into_bytes()));
            *response.status_mut() = http::StatusCode::from_u16(code)?;
            Ok::<_, BoxError>(response)
        });
        let client = Client::new(service, "default");
        let entry = |name: &str| {
            let text = location(name).to_string();
            (name.to_owned(), Arc::new(LocationEntry::from_json(&text)))
        };
        let locations: Locations = Arc::new(names.iter().map(|name| entry(name)).collect());
        let context = Context {
            policy: &Policy::default(),
            now: mozilla()[0].not_before,
        };
        let velero = ("velero", share);
        evaluate_locations(&client, velero, &locations, &NoSecrets, context).await
    }

    fn location(name: &str) -> Value {
        let pem = merge(&mozilla()[..1]).text;
        json!({"metadata": {"name": name, "uid": "u"}, "spec": {"config": {"caCert": pem}}})
    }

    #[tokio::test]
    async fn a_ca_in_a_location_is_read_again_and_only_its_certificates_are_kept() {
        let evaluated = evaluate(&["a", "b", "gone", "lost"], |query| {
            let name = query.rsplit("metadata.name%3D").next().unwrap_or_default();
            match name {
                "gone" => (200, json!({"items": []})),
                "lost" => (500, json!({"kind": "Status", "code": 500, "message": "m"})),
                name => (200, json!({"items": [location(name)]})),
            }
        })
        .await;
        let names: Vec<_> = evaluated.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b", "lost"]);
        for name in ["a", "b"] {
            assert_eq!(evaluated[name].ca.certificates, mozilla()[..1]);
            assert_eq!(
                (&*evaluated[name].uid, &evaluated[name].omission),
                ("u", &None)
            );
        }
        let reason = "the API server answered 500: m".to_owned();
        assert_eq!(evaluated["lost"].omission, Some(Omission::Unread(reason)));
        assert!(evaluated["lost"].is_unknown());
    }

    #[tokio::test]
    async fn what_is_beyond_the_budget_is_not_even_read() {
        let names: Vec<_> = (0..60).map(|number| format!("l{number:02}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let evaluated = evaluate(&names, |query| {
            let name = query.rsplit("metadata.name%3D").next().unwrap_or_default();
            // Forty are beyond 32 MiB.
            assert!(name < "l40", "{name} is read");
            let mut location = location(name);
            location["spec"]["unknown"] = "x".repeat(1 << 20).into();
            (200, json!({"items": [location]}))
        })
        .await;
        assert_eq!(evaluated.len(), 60);
        assert_eq!(evaluated["l00"].omission, None);
        assert_eq!(evaluated["l59"].omission, Some(Omission::OverBudget));
    }

    #[tokio::test]
    async fn what_has_no_room_beside_other_namespaces_is_left_out() {
        let quota = EvaluationQuota::default();
        let greedy: Vec<_> = (0..30)
            .map(|number| quota.share(&number.to_string()))
            .collect();
        for bytes in (0..24).map(|bit| 1 << bit).rev() {
            for one in &greedy {
                one.admit(bytes);
            }
        }
        let with_roots = |query: &str| {
            let name = query.rsplit("metadata.name%3D").next().unwrap_or_default();
            let mut location = location(name);
            // More than is guaranteed.
            let pem = merge(mozilla()).text;
            location["spec"]["config"]["caCert"] = pem.into();
            (200, json!({"items": [location]}))
        };
        let names: Vec<_> = (0..20).map(|number| format!("l{number:02}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let share = quota.share("velero");
        let kept = |evaluated: &BTreeMap<String, EvaluatedLocation>| {
            let kept = evaluated.values().filter(|one| one.omission.is_none());
            kept.count()
        };
        let evaluated = evaluate_within(&share, &names, with_roots).await;
        let few = kept(&evaluated);
        assert!(few > 0 && few < 20, "{few}");
        assert_eq!(evaluated["l19"].omission, Some(Omission::OverBudget));
        drop(greedy);
        let evaluated = evaluate_within(&share, &names, with_roots).await;
        assert_eq!(kept(&evaluated), 20);
    }

    #[test]
    fn the_larger_the_secrets_are_the_fewer_are_read_at_a_time() {
        assert_eq!(next_batch(16, 0), MAX_BATCH);
        assert_eq!(next_batch(16, 16 * 2048), MAX_BATCH);
        assert_eq!(next_batch(16, 16 << 20), 4);
        assert_eq!(next_batch(4, 4 << 20), 4);
        assert_eq!(next_batch(1, 5 << 20), 1);
    }

    #[test]
    fn the_oldest_location_is_first() {
        let entry = |created: &str| {
            let text = format!(r#"{{"metadata":{{"creationTimestamp":"{created}"}}}}"#);
            Arc::new(LocationEntry::from_json(&text))
        };
        let locations: Locations = Arc::new(
            [
                ("a", "2026-01-03T00:00:00Z"),
                ("b", "2026-01-01T00:00:00Z"),
                ("c", "2026-01-02T00:00:00Z"),
                ("d", "2026-01-01T00:00:00Z"),
                ("e", "never"),
            ]
            .map(|(name, created)| (name.to_owned(), entry(created)))
            .into(),
        );
        let names: Vec<_> = by_age(&locations)
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["b", "d", "c", "a", "e"]);
    }
}
