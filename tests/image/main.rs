//! The `velero-trust` binary once more. `tests/real/image.rs` links it statically, as that of the image is:
//! what an example is linked from was compiled for the tests, and what a binary is linked from was not.

use std::process::ExitCode;

fn main() -> ExitCode {
    velero_trust::cli::run()
}
