//! The output formats of commands that print lines.

use clap::ValueEnum;

/// A format for people or for scripts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OutputFormat {
    /// Lines for people
    Text,
    /// One JSON object, for scripts
    Json,
}
