//! Trials on the real servers. Run them with `cargo test --test real`, and with a part of a trial's
//! name to run only that trial.
//!
//! The trials share one cluster, which the first trial that needs it starts. Each trial uses its
//! own namespaces. Trials that change the whole cluster or stop servers start their own API server.

#![expect(
    clippy::print_stderr,
    reason = "a test program reports to the person who started it"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "what a JSON value does not have is null, and a test may panic"
)]

mod activation;
mod after;
mod azure;
mod balanced;
mod baseline;
mod bucket;
mod bundle;
mod certificates;
mod client_ca;
mod clusters;
mod commands;
mod conditions;
mod consumers;
mod coverage;
mod doctor;
mod extra_cas;
mod fresh;
mod gcs;
mod hardship;
mod harness;
mod holder;
mod image;
mod installed;
mod kube_system;
mod leaders;
mod load;
mod locations;
mod lookups;
mod pages;
#[cfg(test)]
mod pem;
mod pods;
mod policies;
mod probe;
mod processes;
#[cfg(test)]
mod proxies;
mod records;
mod removal;
mod restarts;
mod restored;
mod restores;
mod rights;
mod rotation;
mod schema;
mod servers;
mod shared;
mod story;
mod trouble;
mod upgrade;
mod words;

use libtest_mimic::{Arguments, Trial};
use shared::Shared;
use std::process::ExitCode;
use std::time::Instant;
use velero_trust_testing::rig;

/// Few threads, because each trial may run several servers on a small machine. More than it has cores: trials
/// wait for most of their time.
const THREADS: usize = 3;

/// Needs no servers, only the judge program, which is built with them.
fn pem() -> Trial {
    Trial::test("pem::our_verdict_on_mutated_bundles_is_gos", || {
        pem::agrees_with_go(&rig::binary("pem-judge")?, 1);
        Ok(())
    })
}

/// Needs no servers either.
fn proxies() -> Trial {
    Trial::test("proxies::what_is_sent_through_one_is_what_go_sends", || {
        proxies::agree_with_go(&rig::binary("proxy-judge")?)?;
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
        // The longest trials come first, so that all threads have work until the end.
        story::trials(),
        clusters::trials(),
        pages::trials(),
        rotation::trials(),
        consumers::trials(&shared),
        activation::trials(),
        after::trials(&shared),
        hardship::trials(),
        baseline::trials(),
        balanced::trials(),
        bucket::trials(&shared),
        azure::trials(),
        gcs::trials(),
        bundle::trials(&shared),
        certificates::trials(),
        leaders::trials(),
        removal::trials(),
        restarts::trials(),
        conditions::trials(),
        client_ca::trials(&shared),
        commands::trials(&shared),
        coverage::trials(),
        doctor::trials(),
        extra_cas::trials(),
        fresh::trials(),
        harness::trials(&shared),
        image::trials(),
        installed::trials(),
        kube_system::trials(),
        locations::trials(&shared),
        lookups::trials(),
        vec![pem(), proxies()],
        pods::trials(&shared),
        policies::trials(),
        probe::trials(),
        records::trials(),
        restored::trials(&shared),
        restores::trials(&shared),
        rights::trials(),
        schema::trials(),
        trouble::trials(),
        upgrade::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(shared);
    if !arguments.list {
        eprintln!("real servers: {:.1} s", started.elapsed().as_secs_f64());
    }
    conclusion.exit_code()
}
