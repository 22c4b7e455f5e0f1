//! Assertions on the output of kubectl after a review. A failed assertion names what is missing.

use anyhow::{Result, ensure};
use velero_trust_testing::cli::Output;

/// Fails unless the request was denied and the output contains all of `said`.
pub(crate) fn is_refused(output: &Output, said: &[&str]) -> Result<()> {
    ensure!(output.code == Some(1), "it was not refused: {output:?}");
    all(&output.stderr, said)
}

/// Fails unless the request was admitted and the output contains all of `said`.
pub(crate) fn is_admitted(output: &Output, said: &[&str]) -> Result<()> {
    ensure!(output.code == Some(0), "it was refused: {output:?}");
    all(&output.stderr, said)
}

fn all(text: &str, said: &[&str]) -> Result<()> {
    for words in said {
        ensure!(text.contains(words), "no `{words}` in {text}");
    }
    Ok(())
}
