//! The output of `velero-trust status` for the demo's objects, and checks of it.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

pub(super) const BEFORE: &str =
    "What Velero trusts, its Pods as they were before velero-trust: the merged CA bundle";
pub(super) const AFTER: &str = "The same with the patches of 6 and 7 applied to the Pods";

/// One view: the text for people.
pub(super) struct View {
    pub(super) lines: Vec<String>,
    /// The same as JSON.
    json: Value,
    code: Option<i32>,
}

impl View {
    /// Runs `velero-trust status` on the objects in `folder`, with `more` options for the text.
    pub(super) fn take(binary: &Path, folder: &Path, more: &[&str]) -> Result<Self> {
        let (text, code) = status(binary, folder, more)?;
        let (json, _) = status(binary, folder, &["--output=json"])?;
        let command = format!("$ velero-trust status --objects DIR {}", more.join(" "));
        let lines = [command.trim_end(), ""].into_iter().chain(text.lines());
        Ok(Self {
            lines: lines.map(str::to_owned).collect(),
            json: serde_json::from_str(&json).context("the status is not JSON")?,
            code,
        })
    }

    /// Returns a value of the only namespace.
    fn of(&self, pointer: &str) -> &Value {
        let pointer = format!("/namespaces/0{pointer}");
        self.json.pointer(&pointer).unwrap_or(&Value::Null)
    }

    /// Checks that the bundle contains the CA of the location, and that either all Pods carry the
    /// bundle or none does.
    pub(super) fn check(&self, is_carried: bool) -> Result<(), String> {
        let got = json!({
            "code": self.code,
            "location": self.of("/locations/0/report/certificates/0/subject"),
            "origins": origins(self.of("/bundle/origins")),
            "pods": [self.of("/pods/current"), self.of("/pods/wanted")],
        });
        let expected = json!({
            "code": i32::from(!is_carried),
            "location": "CN=Demo CA",
            "origins": ["locations=1", "public"],
            "pods": if is_carried { [2, 2] } else { [0, 2] },
        });
        if got == expected {
            Ok(())
        } else {
            Err(format!("got {got}"))
        }
    }

    /// Checks that the bundle is the same as in `other`.
    pub(super) fn check_same(&self, other: &Self) -> Result<(), String> {
        let (this, other) = (self.of("/bundle/hash"), other.of("/bundle/hash"));
        if this.is_string() && this == other {
            Ok(())
        } else {
            Err(format!("got the bundle {this} after {other}"))
        }
    }
}

/// Returns the origins without the number of public roots, which changes with Mozilla's list.
fn origins(text: &Value) -> Vec<&str> {
    let origins = text.as_str().unwrap_or_default().split(' ');
    let origins = origins.map(|origin| match origin.split_once('=') {
        Some(("public", _)) => "public",
        _ => origin,
    });
    origins.collect()
}

fn status(binary: &Path, folder: &Path, more: &[&str]) -> Result<(String, Option<i32>)> {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(binary)
        .env_clear()
        .args(["status", "--objects"])
        .arg(folder)
        .args(more)
        .output()?;
    let stderr = String::from_utf8_lossy(&stderr);
    ensure!(
        status.code().is_some_and(|code| code < 2),
        "status: {stderr}"
    );
    Ok((String::from_utf8(stdout)?, status.code()))
}
