//! The commands that verify a backup without velero-trust, for a POSIX shell.

use std::path::Path;

use crate::integrity::envelope::PAYLOAD_TYPE;
use crate::integrity::public_key::{Algorithm, PublicKey};

/// Returns commands that verify the files beside the envelope in the file `envelope` with `key` in
/// the file `key_file`. They need openssl, sha256sum and the usual tools of a shell.
///
/// The signature is over the very bytes that the list of files is then taken from, so a reader as
/// simple as `sed` is enough: it reads nothing that was not signed.
pub(super) fn recipe(
    directory: &Path,
    envelope: &Path,
    key: &PublicKey,
    key_file: &Path,
) -> String {
    let directory = quoted(directory);
    let envelope = absolute(envelope);
    let key_file = absolute(key_file);
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
    format!(
        r#"(# Stops at the first line that fails.
set -e
cd {directory}
t=$(mktemp -d)
# What is signed, and the signature.
sed 's/.*"payload":"\([^"]*\)".*/\1/' {envelope} | openssl base64 -d -A > "$t/payload"
sed 's/.*"sig":"\([^"]*\)".*/\1/' {envelope} | openssl base64 -d -A > "$t/signature"
size=$(wc -c < "$t/payload" | tr -d ' ')
{{ printf 'DSSEv1 {length} {PAYLOAD_TYPE} %s ' "$size"; cat "$t/payload"; }} > "$t/signed"
{verify}
# The files that are signed, and that there are no others.
grep -o '{{"name":"[^"]*","digest":{{"sha256":"[0-9a-f]*"}}' "$t/payload" |
  sed 's/{{"name":"\(.*\)","digest":{{"sha256":"\(.*\)"}}/\2  \1/' > "$t/sums"
sha256sum -c "$t/sums"
sed 's/^[0-9a-f]*  //' "$t/sums" | LC_ALL=C sort > "$t/names"
ls -A | grep -v '^velero-trust\.[0-9a-f]*\.dsse\.json$' | LC_ALL=C sort | diff "$t/names" -
echo "good: the files of $(sed 's/.*"backup":{{\("namespace":"[^"]*","name":"[^"]*"\).*/\1/' "$t/payload")"
)
"#
    )
}

/// Returns the path as one word of a shell, so that it works from another directory.
fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    quoted(&absolute)
}

/// Returns the path as one word of a shell. No path contains NUL, which is the only failure.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    shlex::try_quote(&text).unwrap_or_default().into_owned()
}
