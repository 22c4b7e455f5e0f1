//! `make bench`: what the webhook costs, beside a TLS echo server in the same run. Machines are
//! noisy: the ratios count, the absolute figures are for the curious.
//!
//! CPU time is that of the server's process, by the kernel's own account, so that the client does
//! not count. Nothing here fails for being slow.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark reports to the person who started it, and may stop on a surprise"
)]

mod client;
mod echo;
mod reviews;
mod usage;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use velero_trust_testing::pki::Authority;

use client::{Connection, Trust};
use usage::Usage;

/// Requests of one measurement; at 20 µs each the kernel's 10 ms ticks are 1 % of it.
const REQUESTS: u32 = 50_000;

/// Repetitions, of which the median counts.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    if let Ok(folder) = std::env::var(echo::FOLDER) {
        return echo::serve(Path::new(&folder));
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_velero-trust"));
    let folder = folder()?;
    let trust = Trust::new(&std::fs::read_to_string(folder.path().join("ca.crt"))?)?;

    let started = Instant::now();
    let webhook = Server::start(webhook(binary, folder.path()))?;
    let mut first = trust.connect(&webhook.address)?;
    first.post(reviews::LOCATIONS, reviews::location().as_bytes())?;
    let ready = started.elapsed();
    let idle = Usage::of(webhook.id())?;

    let echo = Server::start(echo::command(folder.path())?)?;
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

/// Prints a row: the medians of both, and of the ratios pair by pair.
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU time of the server per request on one connection.
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
        // The server may ask to end the connection, as it does after a while.
        if connection.post(path, body)?.is_last {
            connection = trust.connect(&server.address)?;
        }
    }
    Ok(Usage::of(server.id())?.cpu.saturating_sub(before.cpu) / requests)
}

/// CPU time of the server per connection with one request on it.
fn handshakes(trust: &Trust, server: &Server, body: &[u8]) -> Result<Duration> {
    let requests = 2_000;
    let before = Usage::of(server.id())?;
    for _ in 0..requests {
        let mut connection: Connection = trust.connect(&server.address)?;
        connection.post(reviews::LOCATIONS, body)?;
    }
    Ok(Usage::of(server.id())?.cpu.saturating_sub(before.cpu) / requests)
}

/// A folder with certificates and objects.
fn folder() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new("perf")?;
    let pair = authority.server("perf")?;
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
    write("ca.crt", &authority.pem())?;
    write("tls.crt", &pair.certificate_pem)?;
    write("tls.key", &pair.key_pem)?;
    std::fs::create_dir(folder.path().join("objects"))?;
    let mut many = authority.pem();
    for number in 0..10 {
        many.push_str(&Authority::new(&format!("perf {number}"))?.pem());
    }
    let objects = reviews::objects(&authority.pem(), &many);
    write("objects/objects.json", &objects)?;
    Ok(folder)
}

fn webhook(binary: &Path, folder: &Path) -> Command {
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

/// A server under measurement; ends with the benchmark.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(mut command: Command) -> Result<Self> {
        use std::io::BufRead as _;

        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a server")?;
        let out = child.stdout.take().context("no output")?;
        let line = std::io::BufReader::new(out)
            .lines()
            .next()
            .context("it said nothing")??;
        let address = line.rsplit("//").next().unwrap_or_default().to_owned();
        Ok(Self { child, address })
    }

    fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
