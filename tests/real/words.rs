//! What kubectl says when the webhook has answered, as assertions that name what is missing.

use anyhow::{Result, ensure};
use velero_trust_testing::cli::Output;

/// It was refused, and each of these words was shown to the person.
pub(crate) fn is_refused(output: &Output, said: &[&str]) -> Result<()> {
    ensure!(output.code == Some(1), "it was not refused: {output:?}");
    all(&output.stderr, said)
}

/// It was let through, and each of these words was shown to the person.
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
