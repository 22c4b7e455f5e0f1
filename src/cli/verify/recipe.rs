//! The commands that verify a backup without velero-trust, for a POSIX shell.

use std::path::Path;

use anyhow::Context as _;

use super::judgement::Expected;
use crate::integrity::envelope::PAYLOAD_TYPE;
use crate::integrity::files;
use crate::integrity::public_key::{Algorithm, PublicKey};

/// Returns commands that verify the files beside the envelope in the file `envelope` with `key` in
/// the file `key_file`. They need openssl, sha256sum and the usual tools of a shell.
///
/// The signature is over the very bytes that the list of files is then taken from, so a reader as
/// simple as `sed` is enough: it reads nothing that was not signed.
///
/// Each command is joined to the next by `&&`: a shell ignores `set -e` in a condition. All paths are
/// absolute: a relative one may lead elsewhere with `CDPATH`. An interactive zsh has no comments.
pub(super) fn recipe(
    directory: &Path,
    envelope: &Path,
    key: &PublicKey,
    key_file: &Path,
    expected: &Expected,
) -> anyhow::Result<String> {
    let directory = absolute(directory)?;
    let envelope = absolute(envelope)?;
    let key_file = absolute(key_file)?;
    let length = PAYLOAD_TYPE.len();
    let verify = match key.algorithm() {
        Algorithm::EcdsaP256 => {
            format!(
                "openssl dgst -sha256 -verify {key_file} -signature \"$t/signature\" \"$t/signed\""
            )
        }
        Algorithm::Ed25519 => format!(
            "openssl pkeyutl -verify -pubin -inkey {key_file} -rawin -in \"$t/signed\" -sigfile \
             \"$t/signature\""
        ),
    };
    let name = is_signed(
        r#"s/.*"backup":{"namespace":"[^"]*","name":"\([^"]*\)".*/\1/"#,
        &expected.name,
    )?;
    let place = expected.recorded_in.as_ref().map(|place| {
        let slash = if place.contains('/') { "" } else { "/" };
        is_signed(
            r#"s/.*"location":{"provider":"[^"]*","bucket":"\([^"]*\)","prefix":"\([^"]*\)".*/\1\/\2/"#,
            &format!("{place}{slash}"),
        )
    });
    let place = place.transpose()?.unwrap_or_default();
    // The name has as many digits as it takes.
    let any_envelope = files::envelope(&"0".repeat(64)).replace('0', "[0-9a-f]");
    Ok(format!(
        r#"(: 'Only if each command succeeds, the last one tells that the files are good.' &&
export LC_ALL=C &&
cd -- {directory} &&
t=$(mktemp -d) &&
: 'What is signed, and the signature.' &&
sed 's/.*"payload":"\([^"]*\)".*/\1/' {envelope} | openssl base64 -d -A > "$t/payload" &&
sed 's/.*"sig":"\([^"]*\)".*/\1/' {envelope} | openssl base64 -d -A > "$t/signature" &&
size=$(wc -c < "$t/payload" | tr -d ' ') &&
{{ printf 'DSSEv1 {length} {PAYLOAD_TYPE} %s ' "$size" && cat "$t/payload"; }} > "$t/signed" &&
{verify} &&
: 'That it is this backup.' &&
{name}{place}: 'The files that are signed, and that there are no others.' &&
grep -o '{{"name":"[^"]*","digest":{{"sha256":"[0-9a-f]\{{64\}}"}}' "$t/payload" |
  sed 's/{{"name":"\(.*\)","digest":{{"sha256":"\(.*\)"}}/\2  .\/\1/' > "$t/sums" &&
sha256sum -c "$t/sums" &&
sed 's/^[0-9a-f]*  //' "$t/sums" | sort > "$t/names" &&
find . ! -name . -prune ! -name '{any_envelope}' | sort | diff "$t/names" - &&
echo "good: the files of $(sed 's/.*"backup":{{\("namespace":"[^"]*","name":"[^"]*"\).*/\1/' "$t/payload")"
)
"#
    ))
}

/// Returns the command that fails if what `sed` finds in the signed bytes is not `expected`.
fn is_signed(sed: &str, expected: &str) -> anyhow::Result<String> {
    let expected = word(expected)?;
    Ok(format!(
        r#"is=$(sed '{sed}' "$t/payload") &&
{{ test "$is" = {expected} || {{ printf 'signed is %s, not %s\n' "$is" {expected} >&2 && false; }}; }} &&
"#
    ))
}

/// Returns the path as one word of a shell, so that it works from another directory.
fn absolute(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let path = std::path::absolute(path).with_context(|| format!("{shown} leads nowhere"))?;
    let text = path.to_str();
    word(text.with_context(|| format!("{shown} is not UTF-8, so it cannot be printed"))?)
}

/// Returns the text as one word of a shell.
fn word(text: &str) -> anyhow::Result<String> {
    let word = shlex::try_quote(text).context("no shell takes a NUL")?;
    Ok(word.into_owned())
}
