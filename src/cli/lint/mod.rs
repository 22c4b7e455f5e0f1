//! `velero-trust lint`: checks manifests of BackupStorageLocations.

use std::path::PathBuf;

use clap::Args;

use super::policy::PolicyOptions;
use super::stdout::Stdout;
use super::{IN_EXCLUDED_NAMESPACE, color, eprint_line, exit, parse, runtime};
use crate::clock;
use crate::decision::RestoresMode;
use crate::sources::manifests::{Manifests, Remark};

mod hint;
mod linter;
mod outcome;
mod output;

use outcome::Outcome;
use output::Format;

const AFTER_HELP: &str = "\
Examples:
  # Check all manifests and Helm values under the current folder
  velero-trust lint .

  # Check what another program prints
  kustomize build DIR | velero-trust lint -
  helm template NAME CHART | velero-trust lint -

Exit codes:
  0  No finding denies
  1  At least one finding denies
  2  Invalid usage, or some input cannot be read";

/// Check manifests of BackupStorageLocations before they reach a cluster
///
/// Every BackupStorageLocation is checked as the webhook would check it on creation, together with
/// the Secrets in the input. It can be a manifest, or an element of
/// `configuration.backupStorageLocation` in the values of Velero's Helm chart. Documents of other
/// kinds are skipped. No cluster is contacted.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Lint {
    /// Files or folders with YAML or JSON manifests; `-` reads standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Output format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value_t = Format::Text,
        env = "VELERO_TRUST_LINT_OUTPUT"
    )]
    output: Format,

    /// Print how to fix each finding: manifests and commands, with the names filled in
    #[arg(long, env = "VELERO_TRUST_LINT_FIX_HINT")]
    fix_hint: bool,

    /// Namespace of objects that do not set one [default: that of what stands beside them]
    #[arg(long, short, value_parser = parse::namespace, env = "VELERO_TRUST_LINT_NAMESPACE")]
    namespace: Option<String>,

    #[command(flatten)]
    policy: PolicyOptions,
}

impl Lint {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let policy = self.policy.policy(RestoresMode::Off)?;
        let namespace = self.namespace.as_deref();
        let manifests = Manifests::read(&self.paths, std::io::stdin().lock(), namespace);
        let linter = linter::Linter {
            manifests: &manifests,
            policy: &policy,
            now: clock::now(),
            hints: self.fix_hint,
        };
        let mut outcome = Outcome {
            locations: manifests.locations.len(),
            errors: manifests.errors.clone(),
            notes: manifests.notes.clone(),
            skipped: manifests.left_out,
            templates: manifests.templates,
            ..Outcome::default()
        };
        let locations = manifests.locations.iter();
        let excluded = locations.filter(|location| policy.excludes(&location.key.namespace));
        outcome.notes.extend(excluded.map(|location| Remark {
            file: location.file.clone(),
            line: None,
            message: format!("{}; {}", IN_EXCLUDED_NAMESPACE.0, IN_EXCLUDED_NAMESPACE.1),
        }));
        let runtime = runtime()?;
        for location in &manifests.locations {
            runtime.block_on(linter.check(location, &mut outcome));
        }
        let mut out = Stdout::fail_when_closed();
        match self.output {
            Format::Text | Format::Wide => {
                let mut text = Vec::new();
                self.output.write(&outcome, &mut text)?;
                let text = String::from_utf8_lossy(&text);
                if matches!(self.output, Format::Wide) {
                    out.write_lines(&text, color::lint)?;
                } else {
                    out.write_wrapped(&text, color::lint)?;
                }
            }
            output => output.write(&outcome, &mut out)?,
        }
        for error in &outcome.errors {
            print_read_error(error);
        }
        if outcome.locations == 0 {
            print_nothing_checked(manifests.files);
        }
        Ok(if !outcome.errors.is_empty() {
            exit::ERROR
        } else if outcome.denials() > 0 {
            exit::FINDINGS
        } else {
            exit::CLEAN
        })
    }
}

/// Prints what cannot be read to standard error, regardless of the output format.
fn print_read_error(error: &Remark) {
    eprint_line(&format!(
        "velero-trust: {}",
        output::format_remark("", error)
    ));
}

/// Prints that nothing was checked. Empty output could be mistaken for a success.
fn print_nothing_checked(files: usize) {
    eprint_line(&format!(
        "velero-trust: nothing was checked: no BackupStorageLocation in the files that were read \
         ({files})"
    ));
}
