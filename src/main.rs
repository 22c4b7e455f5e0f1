//! The `velero-trust` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    velero_trust::cli::run()
}
