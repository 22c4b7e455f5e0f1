//! The files of a backup in a directory.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::Context as _;

use super::{Found, FoundEnvelope, choose_envelopes};
use crate::digest::Hasher;
use crate::integrity::envelope;
use crate::integrity::files;
use crate::integrity::manifest::{File, MAX_FILES, shown};

/// Maximum number of entries of a directory that are looked at. Each is hashed, and none beyond
/// [`MAX_FILES`] can be a file that was signed.
const MAX_ENTRIES: usize = 1000;

/// Returns the name of the directory as it is given; where that is `.` or `..`, its own.
pub(super) fn name(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let mut name = path.file_name().map(ToOwned::to_owned);
    if name.is_none() {
        let own = fs::canonicalize(path).with_context(|| format!("cannot read {shown}"))?;
        name = own.file_name().map(ToOwned::to_owned);
    }
    let name = name.map(|name| name.to_string_lossy().into_owned());
    name.with_context(|| format!("{shown} has no name to compare; name its backup with `--name`"))
}

/// Reads and hashes all files in the directory `path`. Envelopes are read and not hashed, those that are `expected`
/// first.
pub(super) fn read(path: &Path, expected: &[String]) -> anyhow::Result<Found> {
    let shown_path = path.display();
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {shown_path}"))?;
    let mut found = Found::default();
    let mut envelopes = Vec::new();
    for (count, entry) in entries.enumerate() {
        let entry = entry.with_context(|| format!("cannot read {shown_path}"))?;
        anyhow::ensure!(
            count < MAX_ENTRIES,
            "{shown_path} has more than {MAX_ENTRIES} entries, and a backup has at most {MAX_FILES}"
        );
        let name = entry.file_name();
        let name = name.to_string_lossy().into_owned();
        if files::envelope_key(&name).is_none() {
            let file = hash(&entry.path(), name.clone());
            found.files.push(file.with_context(|| cannot_read(&name))?);
        } else {
            envelopes.push(name);
        }
    }
    for name in choose_envelopes(envelopes, expected) {
        let bytes = open(&path.join(&name)).and_then(read_envelope);
        let bytes = bytes.with_context(|| cannot_read(&name));
        found.envelopes.push(FoundEnvelope {
            is_expected: expected.contains(&name),
            name,
            bytes,
        });
    }
    Ok(found)
}

fn cannot_read(name: &str) -> String {
    format!("cannot read {}", shown(name))
}

/// Opens a file. Another thing, such as a pipe, may have no end.
fn open(path: &Path) -> io::Result<fs::File> {
    if fs::metadata(path)?.is_file() {
        fs::File::open(path)
    } else {
        Err(io::Error::other(
            "it is no file, and a backup has only files",
        ))
    }
}

/// Reads an envelope. Of one that is too long, no more is read than tells that.
pub(super) fn read_envelope(file: fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = envelope::MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn hash(path: &Path, name: String) -> io::Result<File> {
    let mut file = open(path)?;
    let mut hasher = Hasher::default();
    let mut piece = vec![0; 128 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => {
                size += read as u64;
                hasher.update(piece.get(..read).unwrap_or_default());
            }
        }
    }
    let sha256 = hasher.finish();
    Ok(File { name, size, sha256 })
}
