//! `velero-trust keys show`: one key, with its fingerprint for a sheet of paper.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use kube::ResourceExt as _;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::select::select;
use super::view::View;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::output_format::OutputFormat;
use crate::cli::snapshot::{self, signing_key};
use crate::cli::stdout::Stdout;
use crate::cli::{cluster, exit, install_crypto_provider, json, runtime};
use crate::digest::Sha256;

/// Show a key, with its fingerprint for a sheet of paper
///
/// The fingerprint is the SHA-256 of the public key. Who has it on paper can tell in another cluster, years
/// later, whether a key is this one: `keys trust --from-backup NAME --fingerprint …`. On a terminal it is also a
/// QR code.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// TrustedKey, or the first digits of its key id [default: the key that signs in this cluster]
    #[arg(value_name = "KEY")]
    key: Option<String>,

    /// Whether to print the fingerprint as a QR code
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value = "auto",
        env = "VELERO_TRUST_KEYS_QR"
    )]
    qr: When,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Output format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_KEYS_OUTPUT"
    )]
    output: OutputFormat,
}

/// When a QR code is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// If standard output is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Show {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let view = runtime()?.block_on(self.read())?;
        let mut out = Stdout::fail_when_closed();
        match self.output {
            OutputFormat::Json => json::write(&view, &mut out)?,
            OutputFormat::Text | OutputFormat::Wide => {
                let mut text = view.text();
                let is_wanted = match self.qr {
                    When::Auto => std::io::stdout().is_terminal(),
                    When::Always => true,
                    When::Never => false,
                };
                if is_wanted {
                    let _ = write!(text, "\n{}\n", qr(view.key_id)?);
                }
                out.write_all(text.as_bytes())?;
            }
        }
        Ok(exit::CLEAN)
    }

    async fn read(&self) -> anyhow::Result<View> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let keys = snapshot::read_trusted_keys(&client).await;
        let keys = keys.map_err(|error| error.explain("TrustedKeys"))?;
        let signing = signing_key(&keys);
        let key = match (&self.key, signing) {
            (None, Some(signing)) => signing,
            (wanted, _) => select(&keys, wanted.as_deref()).map_err(|why| anyhow!(why))?,
        };
        let signs = signing.is_some_and(|signing| signing.name_any() == key.name_any());
        View::of(key, signs)
    }
}

/// Returns the key id as a QR code for a dark terminal. Any reader gives it back as text.
fn qr(id: Sha256) -> anyhow::Result<String> {
    let code = QrCode::with_error_correction_level(id.to_string(), EcLevel::M)?;
    let mut image = code.render::<Dense1x2>();
    let text = image
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_is_of_characters_that_every_output_keeps() {
        let code = qr(Sha256::of(b"a key")).unwrap();
        let lines: Vec<_> = code.lines().collect();
        let columns = lines[0].chars().count();
        // 37 modules and 4 of quiet zone on each side; two modules are one above the other.
        assert_eq!((columns, lines.len()), (45, 23));
        assert_eq!(crate::velero::printable::printable_lines(&code), code);
    }
}
