//! `make demo`: the webhook over TLS, with a folder of objects in place of a cluster, and real
//! AdmissionReviews sent to it. Ends with exit code 0 only if every answer is the expected one.

#![expect(
    clippy::print_stdout,
    reason = "the demo speaks to the person who started it"
)]

mod answer;
mod objects;
mod steps;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use velero_trust_testing::https;
use velero_trust_testing::webhook::Webhook;

use answer::Answer;
use steps::Step;

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let binary = std::env::current_exe()?
        .ancestors()
        .nth(2)
        .map(|folder| folder.join("velero-trust"))
        .filter(|binary| binary.exists())
        .context("the binary is not built; `make demo` builds it")?;

    println!("$ velero-trust certs");
    let certs = Command::new(&binary)
        .args(["certs", "--dir", "certs-dev"])
        .current_dir(root)
        .output()?;
    ensure!(
        certs.status.success(),
        "{}",
        String::from_utf8_lossy(&certs.stderr)
    );
    for line in String::from_utf8(certs.stdout)?.lines() {
        println!("{}", line.chars().take(80).collect::<String>());
    }

    let folder = objects::folder(&root.join("tests/demo/objects"))?;
    println!("\n$ velero-trust serve --objects DIR   # Secrets and Backups as YAML files");
    let certs = root.join("certs-dev");
    let path = |name: &str| certs.join(name).display().to_string();
    let (cert, key) = (path("tls.crt"), path("tls.key"));
    let objects = folder.path().display().to_string();
    let webhook = Webhook::start(
        &binary,
        &[
            "serve",
            "--listen=127.0.0.1:0",
            "--ops-listen=127.0.0.1:0",
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
            "--objects",
            &objects,
        ],
        &[],
    )?;
    println!("listening on {}", webhook.url);

    let ca = std::fs::read_to_string(certs.join("ca.crt"))?;
    let steps = steps::all(root)?;
    let mut failed = 0;
    for (number, step) in (1..).zip(&steps) {
        let answer = send(&webhook, &ca, step)?;
        println!("\n{number:>2}. {}", step.title);
        for line in answer.told() {
            println!("    {line}");
        }
        match step.expected.check(&answer) {
            Ok(()) => println!("    ✔ {}", step.expected),
            Err(why) => {
                failed += 1;
                println!("    ✘ expected: {}; {why}", step.expected);
            }
        }
    }
    let passed = steps.len() - failed;
    println!("\n{passed} of {} answers as expected", steps.len());
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn send(webhook: &Webhook, ca: &str, step: &Step) -> Result<Answer> {
    let url = format!("{}{}?timeout=5s", webhook.url, step.path);
    let headers = [("Content-Type", "application/json")];
    let response = https::send("POST", &url, ca, &headers, &step.body)?;
    Answer::read(response.status, &response.body)
}
