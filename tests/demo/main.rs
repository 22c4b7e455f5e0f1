//! `make demo`: the webhook over TLS, with a folder of objects in place of a cluster. It receives
//! real AdmissionReviews. Then the demo shows the CA bundle, and what Velero's Pods trust before
//! and after. Exits with 0 only if every answer is the expected one.

#![expect(clippy::print_stdout, reason = "the demo prints its results")]

mod answer;
mod objects;
mod steps;
mod views;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use velero_trust_testing::https;
use velero_trust_testing::serve::Serve;
use velero_trust_testing::webhook::Webhook;

use answer::Answer;
use steps::{Step, StoredObject};
use views::View;

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
    let serve = Serve::new(&binary, &certs);
    let webhook = serve.path("--objects", folder.path()).start()?;
    println!("listening on {}", webhook.url);

    let ca = std::fs::read_to_string(certs.join("ca.crt"))?;
    let steps = steps::all(root)?;
    let mut tally = Tally::default();
    // The stored objects, each before and after its admission.
    let mut stored = Vec::new();
    for step in &steps {
        if !step.bucket.is_empty() {
            objects::fill_bucket(folder.path(), step.bucket)?;
        }
        let answer = send(&webhook, &ca, step)?;
        let checked = step.expected.check(&answer);
        tally.add(
            step.title,
            &answer.lines(),
            &step.expected.to_string(),
            checked,
        );
        if let Some(kept) = &step.kept {
            stored.push((kept, answer.applied(&kept.object)?));
        }
    }
    show_status(&binary, folder.path(), &stored, &mut tally)?;

    let Tally { shown, failed } = tally;
    println!("\n{} of {shown} answers as expected", shown - failed);
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Shows the bundle, and the Pods: as created without velero-trust, and as admitted by it.
fn show_status(
    binary: &Path,
    folder: &Path,
    stored: &[(&StoredObject, Value)],
    tally: &mut Tally,
) -> Result<()> {
    objects::without_bundle(folder)?;
    for (kept, _) in stored {
        objects::store(folder, kept.file, &kept.object)?;
    }
    let before = View::take(binary, folder, &["--certificates"])?;
    let expected = "1 CA beside the public roots, 0 of 2 Pods with it";
    tally.add(views::BEFORE, &before.lines, expected, before.check(false));

    for (kept, admitted) in stored {
        objects::store(folder, kept.file, admitted)?;
    }
    let after = View::take(binary, folder, &[])?;
    let expected = "the same bundle, 2 of 2 Pods with it, nothing to do";
    let checked = after.check(true).and_then(|()| after.check_same(&before));
    tally.add(views::AFTER, &after.lines, expected, checked);
    Ok(())
}

/// Number of answers shown, and number of unexpected ones.
#[derive(Default)]
struct Tally {
    shown: usize,
    failed: usize,
}

impl Tally {
    fn add(&mut self, title: &str, lines: &[String], expected: &str, checked: Result<(), String>) {
        self.shown += 1;
        println!("\n{:>2}. {title}", self.shown);
        for line in lines {
            println!("    {line}");
        }
        match checked {
            Ok(()) => println!("    ✔ {expected}"),
            Err(error) => {
                self.failed += 1;
                println!("    ✘ expected: {expected}; {error}");
            }
        }
    }
}

fn send(webhook: &Webhook, ca: &str, step: &Step) -> Result<Answer> {
    let url = format!("{}{}?timeout=5s", webhook.url, step.path);
    let headers = [("Content-Type", "application/json")];
    let response = https::send("POST", &url, ca, &headers, &step.body)?;
    Answer::read(response.status, &response.body)
}
