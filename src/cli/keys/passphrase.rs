//! The passphrase of a private key: from a terminal, or the first line of a file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::cli::trusted_key_file::text;

/// Fewest characters of a new passphrase.
const MIN_CHARS: usize = 8;

/// Most bytes of one, as of openssl.
const MAX_BYTES: usize = 1024;

/// Where the passphrase comes from.
#[derive(Args, Debug)]
pub(super) struct PassphraseArgs {
    /// File whose first line is the passphrase of the private key [default: it is asked for on the terminal]
    #[arg(long, value_name = "FILE", env = "VELERO_TRUST_KEYS_PASSPHRASE_FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// Returns the passphrase for a key that is written to `file`.
    pub(super) fn choose(&self, file: &Path) -> anyhow::Result<String> {
        let passphrase = if let Some(path) = &self.passphrase_file {
            first_line(path)?
        } else {
            let shown = file.display();
            let passphrase = ask(&format!("Passphrase for {shown}: "))?;
            let again = ask("The same again: ")?;
            ensure!(passphrase == again, "these are two passphrases");
            passphrase
        };
        check(&passphrase)?;
        ensure!(
            passphrase.chars().count() >= MIN_CHARS,
            "the passphrase has fewer than {MIN_CHARS} characters, and who has the file can try many"
        );
        Ok(passphrase)
    }

    /// Returns the passphrase of the key in `file`.
    pub(super) fn read(&self, file: &Path) -> anyhow::Result<String> {
        let passphrase = match &self.passphrase_file {
            Some(path) => first_line(path)?,
            None => ask(&format!("Passphrase of {}: ", file.display()))?,
        };
        check(&passphrase)?;
        Ok(passphrase)
    }
}

fn check(passphrase: &str) -> anyhow::Result<()> {
    ensure!(!passphrase.is_empty(), "the passphrase is empty");
    ensure!(
        passphrase.len() <= MAX_BYTES,
        "the passphrase has more than {MAX_BYTES} bytes, and openssl reads no more"
    );
    Ok(())
}

/// Returns the first line, as `-passin file:` of openssl does.
fn first_line(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let text = text(path).with_context(|| format!("cannot read {shown}"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    match rpassword::prompt_password(prompt) {
        Ok(passphrase) => Ok(passphrase),
        Err(error) => bail!(
            "there is no terminal to ask for the passphrase ({error}); name a file that has it with \
             --passphrase-file"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn of(text: &str) -> anyhow::Result<String> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("passphrase");
        fs::write(&file, text)?;
        let args = PassphraseArgs {
            passphrase_file: Some(file),
        };
        args.choose(Path::new("key.pem"))
    }

    #[test]
    fn the_first_line_of_a_file_is_the_passphrase() {
        assert_eq!(of("correct horse \nmore\n").unwrap(), "correct horse ");
        assert_eq!(of("correct horse\r\n").unwrap(), "correct horse");
        for (text, why) in [
            ("", "is empty"),
            ("\ncorrect horse", "is empty"),
            ("horse\n", "fewer than 8"),
            (&"x".repeat(1025), "more than 1024"),
        ] {
            let told = of(text).unwrap_err().to_string();
            assert!(told.contains(why), "{told}");
        }
    }
}
