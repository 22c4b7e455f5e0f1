//! Bodies that are small for what they make a server do.

use std::time::Duration;

use futures::future::try_join_all;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use velero_trust::admission::HANDLERS;
use velero_trust_testing::hostile::{self, FILLERS, Filler, Review, SLOTS};

use super::server::{Server, cpu_time};

/// Maximum memory that one review needs in all, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// What a connection and the allocator need beside a review, in bytes.
const OVERHEAD_BYTES: usize = 4 << 20;

/// Maximum CPU time of one review: 120 ms in a release build, of which `make bench` shows the
/// figures, and so much more without optimization.
const MAX_TIME: Duration = Duration::from_millis(120 * 20);

/// Number of good reviews that pass beside the worst ones.
const GOOD_REVIEWS: usize = 10;

/// Time for the good reviews, however busy the machine is.
const GOOD_PATIENCE: Duration = Duration::from_mins(5);

/// Number of random reviews.
const CASES: usize = 40;

/// Sends `review` and checks what it costs.
async fn check(server: &mut Server, review: &Review) {
    let Review { name, path, body } = review;
    let handler = HANDLERS.iter().find(|handler| handler.path == *path);
    let before = cpu_time(server.webhook.id());
    let grown = server.growth(async { Box::pin(server.review(path, body)).await });
    let (answer, grown) = grown.await;
    assert!(
        server.webhook.is_running().unwrap(),
        "{name} killed it: {}",
        server.webhook.tail()
    );
    let took = cpu_time(server.webhook.id()).saturating_sub(before);
    let answer = answer.unwrap_or_else(|| panic!("{name} had no answer"));
    let bytes = body.len();
    let size = answer.body.len();
    assert!(size < 128 << 10, "{name}: an answer of {size} bytes");
    let bound = handler.unwrap().memory(bytes) + OVERHEAD_BYTES;
    assert!(
        grown.by < bound as u64,
        "{name}: {bytes} bytes needed {grown:?}, which is more than {bound}"
    );
    assert!(grown.in_all < MAX_BYTES, "{name}: {grown:?}");
    assert!(took < MAX_TIME, "{name}: {bytes} bytes took {took:?}");
}

fn max_bytes(path: &str) -> usize {
    let handler = HANDLERS.iter().find(|handler| handler.path == path);
    handler.unwrap().max_body_bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_costs_more_than_a_stated_multiple_of_it() {
    let mut server = Server::start().await;
    let mut runner = TestRunner::deterministic();
    // As many small ones as large ones: the room, half of it, a quarter of it.
    let any = (select(&SLOTS[..]), select(&FILLERS[..]), 0..10);
    for _ in 0..CASES {
        let (slot, filler, halvings) = any.new_tree(&mut runner).unwrap().current();
        let bytes = (max_bytes(slot.path()) - 1024) >> halvings;
        let review = hostile::review(slot, filler, bytes).unwrap();
        check(&mut server, &review).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worst_pods_cost_no_more_than_a_stated_multiple() {
    let mut server = Server::start().await;
    for review in hostile::large_pods(max_bytes("/mutate/pods") - 1024).unwrap() {
        check(&mut server, &review).await;
    }
    server.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worst_bundles_cost_no_more_than_a_stated_multiple() {
    let mut server = Server::start().await;
    for review in hostile::bundles(max_bytes("/validate/backupstoragelocations")).unwrap() {
        check(&mut server, &review).await;
    }
    server.assert_well().await;
}

/// The Pod that killed a server of 256 MiB: it asks for the injection and has 85,000 containers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_the_worst_reviews_good_ones_pass() {
    let mut server = Server::start().await;
    let containers = SLOTS
        .iter()
        .find(|slot| slot.pointer().ends_with("/containers"));
    let worst: Vec<_> = [64 << 10, 256 << 10, 2 << 20]
        .map(|bytes| hostile::review(*containers.unwrap(), Filler::List("{}"), bytes).unwrap())
        .into_iter()
        .chain(hostile::large_pods(3 << 20).unwrap().into_iter().take(1))
        .chain(hostile::bundles(4 << 20).unwrap().into_iter().take(1))
        .collect();
    let beside = server.good_reviews();
    let flood = |_| server.flood(worst.clone(), &beside, GOOD_REVIEWS);
    let floods = (0..4).map(flood).collect::<Vec<_>>();
    let floods = tokio::time::timeout(GOOD_PATIENCE, try_join_all(floods));
    let answers = floods.await.expect("good reviews pass").unwrap();
    assert!(answers.iter().all(|answers| *answers > 0), "{answers:?}");
    beside.stop().await;
    server.assert_well().await;
}
