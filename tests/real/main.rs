//! Everything on the real servers. `cargo test --test real`, with a part of a trial's name to run
//! only that.
//!
//! The trials share one cluster, started by the first that needs it; each works in namespaces of
//! its own. What changes the whole cluster, or stops servers, starts an API server of its own.

#![expect(
    clippy::print_stderr,
    reason = "a test program reports to the person who started it"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "what a JSON value does not have is null, and a test may panic"
)]

mod after;
mod bundle;
mod client_ca;
mod consumers;
mod coverage;
mod doctor;
mod fresh;
mod hardship;
mod harness;
mod holder;
mod installed;
mod locations;
#[cfg(test)]
mod pem;
mod pods;
mod probe;
mod processes;
mod restored;
mod restores;
mod rotation;
mod servers;
mod shared;
mod story;
mod trouble;
mod words;

use libtest_mimic::{Arguments, Trial};
use shared::Shared;
use std::process::ExitCode;
use std::time::Instant;
use velero_trust_testing::rig;

/// The machine is small and the servers are many.
const THREADS: usize = 2;

/// Needs no servers, only the judge, which is built with them.
fn pem() -> Trial {
    Trial::test("pem::our_verdict_on_mutated_bundles_is_gos", || {
        pem::agrees_with_go(&rig::binary("pem-judge")?, 1);
        Ok(())
    })
}

fn main() -> ExitCode {
    if std::env::var_os(holder::ASKED).is_some() {
        return holder::hold();
    }
    let started = Instant::now();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);

    let shared = Shared::default();
    let trials = [
        // The longest first, so that the last minute has work for both threads.
        story::trials(),
        rotation::trials(),
        consumers::trials(&shared),
        after::trials(&shared),
        hardship::trials(),
        bundle::trials(&shared),
        client_ca::trials(&shared),
        coverage::trials(),
        doctor::trials(),
        fresh::trials(),
        harness::trials(&shared),
        installed::trials(),
        locations::trials(&shared),
        vec![pem()],
        pods::trials(&shared),
        probe::trials(),
        restored::trials(&shared),
        restores::trials(&shared),
        trouble::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(shared);
    if !arguments.list {
        eprintln!("real servers: {:.1} s", started.elapsed().as_secs_f64());
    }
    conclusion.exit_code()
}
