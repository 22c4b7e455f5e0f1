//! The CPU time of what is made to cost much, against the bounds that docs/limits.md promises.
//! Unlike other figures these are promises: the benchmark fails if one is broken.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use velero_trust::admission::HANDLERS;
use velero_trust::ca::pem;
use velero_trust_testing::hostile;

use super::client::Trust;
use super::figures;
use super::reviews::LOCATIONS;
use super::server::Server;
use super::usage::Usage;
use super::webhook::webhook;

/// Longest CPU time of one review, in ms.
const MAX_REVIEW_MS: f64 = 120.0;

/// Longest CPU time for one bundle of 1 MiB, in ms.
const MAX_BUNDLE_MS: f64 = 20.0;

/// Number of rounds. With the kernel's ticks of 10 ms, the figures are exact to 1 ms.
const ROUNDS: u32 = 10;

/// Measures `binary` with the certificates and the objects in `folder`.
pub(super) fn measure(binary: &Path, folder: &Path) -> Result<()> {
    let bundles = measure_bundles()?;
    let reviews = measure_reviews(binary, folder)?;
    ensure!(bundles <= MAX_BUNDLE_MS, "a bundle took {bundles} ms");
    ensure!(reviews <= MAX_REVIEW_MS, "a review took {reviews} ms");
    Ok(())
}

/// Returns the longest time for one bundle.
fn measure_bundles() -> Result<f64> {
    figures::head("CPU for a bundle of 1 MiB, read once");
    let mut longest = 0.0;
    for (name, text) in hostile::bundle_texts(1 << 20)? {
        let read = || {
            black_box(pem::read(text.as_bytes()));
            Ok(())
        };
        let took = average(std::process::id(), read)?;
        figures::row(name, took, "ms", Some(MAX_BUNDLE_MS));
        longest = f64::max(longest, took);
    }
    Ok(longest)
}

/// Returns the longest time for one review.
fn measure_reviews(binary: &Path, folder: &Path) -> Result<f64> {
    let secrets = hostile::bundle_secrets()?.to_string();
    std::fs::write(folder.join("objects/bundles.json"), secrets)?;
    let trust = Trust::new(&std::fs::read_to_string(folder.join("ca.crt"))?)?;
    let server = Server::start(webhook(binary, folder))?;
    let mut handlers = HANDLERS.iter();
    let handler = handlers.find(|handler| handler.path == LOCATIONS);
    let mut reviews = hostile::bundles(handler.context("no handler")?.max_body_bytes)?;
    reviews.extend(hostile::bundle_references()?);

    figures::head("CPU for a review of a BSL");
    let mut longest = 0.0;
    for review in reviews {
        // Large bodies close the connection early or late; each has its own.
        let post = || {
            let mut connection = trust.connect(&server.address)?;
            connection.post(review.path, review.body.as_bytes())?;
            Ok(())
        };
        let took = average(server.id(), post)?;
        figures::row(&review.name, took, "ms", Some(MAX_REVIEW_MS));
        longest = f64::max(longest, took);
    }
    Ok(longest)
}

/// Returns the average CPU time of the process `id` for one `call`, in ms.
fn average(id: u32, call: impl Fn() -> Result<()>) -> Result<f64> {
    call()?;
    let before = Usage::of(id)?;
    for _ in 0..ROUNDS {
        call()?;
    }
    let took: Duration = Usage::of(id)?.cpu.saturating_sub(before.cpu) / ROUNDS;
    Ok(took.as_secs_f64() * 1e3)
}
