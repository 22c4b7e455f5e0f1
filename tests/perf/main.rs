//! `make bench` measures the cost and the reaction times of velero-trust. `cargo bench --bench perf
//! -- merge` measures only one part; the parts are `webhook`, `hostile`, `merge`, `controllers`,
//! `recorder`, `records`, `imports` and `restores`, the last five on the real servers of `make rig`. `recorder` needs
//! 12 GB of disk, `restores` 6 GB.
//!
//! CPU time is that of the server's process, as the kernel accounts it, so the client does not
//! count. No benchmark fails because of a figure but `hostile` and `records`: their bounds are promised.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark reports to the person who started it, and may stop on a surprise"
)]

mod client;
mod controllers;
mod echo;
mod figures;
mod hostile;
mod merge;
mod recorder;
mod restores;
mod reviews;
mod server;
mod usage;
mod webhook;

use std::path::Path;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use velero_trust_testing::pki::Authority;

/// The parts that can be measured alone.
const PARTS: [&str; 8] = [
    "webhook",
    "hostile",
    "merge",
    "controllers",
    "recorder",
    "records",
    "imports",
    "restores",
];

fn main() -> Result<()> {
    if let Ok(folder) = std::env::var(echo::FOLDER) {
        return echo::serve(Path::new(&folder));
    }
    // cargo adds `--bench`.
    let arguments = std::env::args().skip(1);
    let wanted: Vec<_> = arguments.filter(|one| one != "--bench").collect();
    let unknown = wanted.iter().find(|one| !PARTS.contains(&one.as_str()));
    ensure!(unknown.is_none(), "the parts are {}", PARTS.join(", "));
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|one| one == part);

    let binary = Path::new(env!("CARGO_BIN_EXE_velero-trust"));
    let folder = folder()?;
    if wants("webhook") {
        webhook::measure(binary, folder.path())?;
    }
    if wants("hostile") {
        hostile::measure(binary, folder.path())?;
    }
    if wants("merge") {
        merge::measure()?;
    }
    if wants("controllers") {
        controllers::measure(binary, folder.path())?;
    }
    if wants("recorder") {
        recorder::measure(binary)?;
    }
    if wants("records") {
        recorder::measure_records(binary)?;
    }
    if wants("imports") {
        recorder::measure_imports(binary)?;
    }
    if wants("restores") {
        restores::measure(binary)?;
    }
    Ok(())
}

/// Creates a folder with certificates and objects.
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
