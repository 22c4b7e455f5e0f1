//! The output formats of commands that print lines.

use clap::ValueEnum;

/// A format for people or for scripts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OutputFormat {
    /// Lines for people, of at most 120 columns on a terminal
    Text,
    /// Whole lines, however wide
    Wide,
    /// One JSON object, for scripts
    Json,
}
