//! `make cluster`: a real cluster with Velero, MinIO and velero-trust on this machine, until
//! Ctrl-C. With `--once` it runs the proposed commands itself and exits.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that talks to a person"
)]

use anyhow::{Context as _, Result, ensure};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::tour::{Step, Tour, steps};

const USAGE: &str = "usage: cluster [--once] [path of velero-trust]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let (once, binary) = arguments()?;
    let started = Instant::now();
    println!(
        "starting a real API server, controllers, MinIO, Velero and velero-trust on loopback …"
    );
    let cluster = Cluster::start()?;
    let tour = Tour::start(&cluster, &binary)?;
    println!("ready after {:.1} s\n", started.elapsed().as_secs_f64());
    if once {
        return try_all(&tour);
    }
    println!("In another terminal:\n\n{}\n", indented(&tour.exports()?));
    println!("Five things to try:\n");
    for (number, step) in (1..).zip(steps()) {
        println!("{number}. {}", title(&step));
        println!("{}\n", indented(&step.command));
    }
    println!("Pods are made by the real controllers and stay Pending: no kubelet runs.");
    println!("Ctrl-C ends everything and removes its files.");
    cluster.block_on(tokio::signal::ctrl_c())?;
    println!("\nending all servers");
    Ok(())
}

/// Returns whether to run everything once, and the path of velero-trust: an argument, or next to
/// this program.
fn arguments() -> Result<(bool, PathBuf)> {
    let mut once = false;
    let mut binary = std::env::current_exe()?.with_file_name("velero-trust");
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--once") => once = true,
            Some(flag) if flag.starts_with('-') => anyhow::bail!(USAGE),
            _ => binary = argument.into(),
        }
    }
    ensure!(
        binary.is_file(),
        "{} is missing: build it with `cargo build`, or name another; {USAGE}",
        binary.display()
    );
    let binary = binary.canonicalize().context(USAGE)?;
    Ok((once, binary))
}

fn try_all(tour: &Tour) -> Result<()> {
    for step in steps() {
        println!("{}", title(&step));
        println!("{}", indented(&step.command));
        let output = tour.run(&step)?;
        println!("{}", indented(output.stdout.trim()));
        println!("{}\n", indented(output.stderr.trim()));
    }
    println!("all {} answers are as they should be", steps().len());
    Ok(())
}

fn title(step: &Step) -> String {
    format!("{} (says `{}`):", step.title, step.says)
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("   {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
