//! The result of `velero-trust verify` as text and JSON.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;

use super::judgement::OtherEnvelope;
use crate::cli::json;
use crate::cli::output_format::OutputFormat;
use crate::cli::stdout::Stdout;
use crate::cli::table::Table;
use crate::integrity::manifest::File;
use crate::integrity::statement::Level;
use crate::integrity::verification::Verified;
use crate::velero::printable::printable_lines;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    good: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<Signed<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    other_envelopes: &'a [OtherEnvelope],
}

/// What is signed, apart from the files.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signed<'a> {
    key: String,
    /// The TrustedKey that vouches, or the file with the key.
    trusted_key: &'a str,
    cluster: &'a str,
    backup: &'a crate::velero::backup_fields::BackupFields,
    location: &'a crate::integrity::statement::Location,
    recorded: &'a Level,
    tarball: Option<String>,
    files: usize,
    bytes: u64,
}

/// Prints why the files are not good, or cannot be judged.
pub(super) fn failure(
    output: OutputFormat,
    reason: &str,
    others: &[OtherEnvelope],
) -> anyhow::Result<()> {
    let mut out = Stdout::fail_when_closed();
    match output {
        OutputFormat::Text | OutputFormat::Wide => {
            let text = format!("{reason}\n{}", also(others));
            out.write_all(printable_lines(&text).as_bytes())?;
        }
        OutputFormat::Json => json::write(
            &Json {
                good: false,
                reason: Some(reason),
                signed: None,
                differences: Vec::new(),
                other_envelopes: others,
            },
            &mut out,
        )?,
    }
    Ok(())
}

/// Prints what is signed, and how `files` differ.
pub(super) fn verified(
    output: OutputFormat,
    (verified, trusted): (&Verified, &str),
    files: &[File],
    others: &[OtherEnvelope],
) -> anyhow::Result<()> {
    let mut out = Stdout::fail_when_closed();
    match output {
        OutputFormat::Text | OutputFormat::Wide => {
            out.write_all(printable_lines(&text(verified, trusted, files, others)).as_bytes())?;
        }
        OutputFormat::Json => {
            let statement = &verified.statement;
            let differences = verified.differences.iter().map(ToString::to_string);
            json::write(
                &Json {
                    good: verified.differences.is_empty(),
                    reason: None,
                    signed: Some(Signed {
                        key: verified.key.to_string(),
                        trusted_key: trusted,
                        cluster: &statement.cluster,
                        backup: &statement.backup,
                        location: &statement.location,
                        recorded: &statement.level,
                        tarball: statement.tarball().map(|digest| format!("sha256:{digest}")),
                        files: statement.manifest.files().len(),
                        bytes: statement.manifest.bytes(),
                    }),
                    differences: differences.collect(),
                    other_envelopes: others,
                },
                &mut out,
            )?;
        }
    }
    Ok(())
}

/// Returns a line for each envelope that the result does not rest on.
fn also(others: &[OtherEnvelope]) -> String {
    let lines = others
        .iter()
        .map(|other| format!("also:     {}: {}\n", other.envelope, other.says));
    lines.collect()
}

fn text(verified: &Verified, trusted: &str, files: &[File], others: &[OtherEnvelope]) -> String {
    let statement = &verified.statement;
    let backup = &statement.backup;
    let location = &statement.location;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "backup:   {}/{} ({})",
        backup.namespace, backup.name, backup.phase
    );
    if let Some(completed) = &backup.completed {
        let _ = writeln!(text, "complete: {completed}");
    }
    let bucket = format!("{}/{}", location.bucket, location.prefix);
    let _ = writeln!(
        text,
        "bucket:   {} ({})",
        bucket.trim_end_matches('/'),
        location.provider
    );
    let _ = writeln!(text, "cluster:  {}", statement.cluster);
    let _ = writeln!(text, "key:      {}", verified.key);
    let _ = writeln!(
        text,
        "vouched:  by {trusted}, at level {}",
        statement.level.name()
    );
    let _ = writeln!(text, "recorded: {}", statement.level);
    text.push_str(&also(others));
    text.push('\n');
    if verified.differences.is_empty() {
        let mut table = Table::new(&["FILE", "BYTES", "SHA-256"]);
        let mut sorted: Vec<&File> = files.iter().collect();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        for file in sorted {
            table.row([
                file.name.clone(),
                file.size.to_string(),
                file.sha256.to_string(),
            ]);
        }
        text.push_str(&table.text());
        let _ = writeln!(
            text,
            "\ngood: these {} files are those that were signed",
            files.len()
        );
        return text;
    }
    for difference in &verified.differences {
        let _ = writeln!(text, "  {difference}");
    }
    text.push_str("\nnot good: these are not the files that were signed\n");
    text
}
