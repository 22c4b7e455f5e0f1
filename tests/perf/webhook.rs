//! The cost of admission, compared with a TLS echo server in the same run. Machines are noisy, so
//! the ratios matter more than the absolute figures.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::{Connection, Trust};
use super::figures::median;
use super::server::Server;
use super::usage::Usage;
use super::{echo, reviews};

/// Number of requests of one measurement. At 20 µs each, the kernel's 10 ms ticks are 1 % of it.
const REQUESTS: u32 = 50_000;

/// Number of repetitions; the result is their median.
const ROUNDS: usize = 5;

/// Measures `binary` with the certificates and the objects in `folder`.
pub(super) fn measure(binary: &Path, folder: &Path) -> Result<()> {
    let trust = Trust::new(&std::fs::read_to_string(folder.join("ca.crt"))?)?;

    let started = Instant::now();
    let webhook = Server::start(webhook(binary, folder))?;
    let mut first = trust.connect(&webhook.address)?;
    first.post(reviews::LOCATIONS, reviews::location().as_bytes())?;
    let ready = started.elapsed();
    let idle = Usage::of(webhook.id())?;

    let echo = Server::start(echo::command(folder)?)?;
    println!("median of {ROUNDS} rounds; CPU of the server's process per request\n");
    println!("{:<34} {:>9} {:>9} {:>7}", "", "webhook", "echo", "ratio");
    let location = reviews::location();
    let inline = reviews::location_without_ca();
    let many = reviews::location_with_many();
    let pod = reviews::pod()?;
    let large = reviews::large();
    let rows = [
        (
            "BSL review, CA in a Secret",
            reviews::LOCATIONS,
            &location,
            REQUESTS,
        ),
        (
            "BSL review, 11 CAs",
            reviews::LOCATIONS,
            &many,
            REQUESTS / 5,
        ),
        ("BSL review, no CA", reviews::LOCATIONS, &inline, REQUESTS),
        ("Pod patch", reviews::PODS, &pod, REQUESTS),
        ("review of 3 MB", reviews::LOCATIONS, &large, 200),
    ];
    for (title, path, body, requests) in rows {
        let title = format!("{title} ({} B)", body.len());
        let ours = || keep_alive(&trust, &webhook, path, body.as_bytes(), requests);
        let theirs = || keep_alive(&trust, &echo, path, body.as_bytes(), requests);
        row(&title, ours, theirs)?;
    }
    let ours = || handshakes(&trust, &webhook, location.as_bytes());
    let theirs = || handshakes(&trust, &echo, location.as_bytes());
    row("handshake and BSL review", ours, theirs)?;

    let after = Usage::of(webhook.id())?;
    println!(
        "\nready after start      {:>7.1} ms",
        ready.as_secs_f64() * 1e3
    );
    println!(
        "memory, idle           {:>7.1} MiB",
        idle.resident as f64 / 1024.0
    );
    println!(
        "memory, peak           {:>7.1} MiB",
        after.peak as f64 / 1024.0
    );
    let size = std::fs::metadata(binary)?.len();
    println!("size of the binary     {:>7.1} MB", size as f64 / 1e6);
    Ok(())
}

/// Prints a row: the medians of both servers, and the median of the ratios of each pair.
fn row(
    title: &str,
    ours: impl Fn() -> Result<Duration>,
    theirs: impl Fn() -> Result<Duration>,
) -> Result<()> {
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (ours, theirs) = (ours()?.as_secs_f64() * 1e6, theirs()?.as_secs_f64() * 1e6);
        a.push(ours);
        b.push(theirs);
        ratios.push(ours / theirs);
    }
    let (a, b, ratio) = (median(a), median(b), median(ratios));
    println!("{title:<34} {a:>6.1} µs {b:>6.1} µs {ratio:>7.2}");
    Ok(())
}

/// Returns the CPU time of the server per request on one connection.
fn keep_alive(
    trust: &Trust,
    server: &Server,
    path: &str,
    body: &[u8],
    requests: u32,
) -> Result<Duration> {
    let mut connection = trust.connect(&server.address)?;
    connection.post(path, body)?;
    let before = Usage::of(server.id())?;
    for _ in 0..requests {
        // The server asks to close a connection after some time.
        if connection.post(path, body)?.is_last {
            connection = trust.connect(&server.address)?;
        }
    }
    Ok(Usage::of(server.id())?.cpu.saturating_sub(before.cpu) / requests)
}

/// Returns the CPU time of the server per connection with one request.
fn handshakes(trust: &Trust, server: &Server, body: &[u8]) -> Result<Duration> {
    let requests = 2_000;
    let before = Usage::of(server.id())?;
    for _ in 0..requests {
        let mut connection: Connection = trust.connect(&server.address)?;
        connection.post(reviews::LOCATIONS, body)?;
    }
    Ok(Usage::of(server.id())?.cpu.saturating_sub(before.cpu) / requests)
}

pub(super) fn webhook(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(folder).args([
        "serve",
        "--listen=127.0.0.1:0",
        "--ops-listen=127.0.0.1:0",
        "--tls-cert=tls.crt",
        "--tls-key=tls.key",
        "--objects=objects",
        "--log=error",
    ]);
    command
}
