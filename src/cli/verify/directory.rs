//! The files of a backup in a directory.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::Context as _;

use super::{Found, FoundEnvelope};
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

/// Reads and hashes all files in the directory `path`. An envelope is not hashed; those named
/// `envelopes` are read.
pub(super) fn read(path: &Path, envelopes: &[String]) -> anyhow::Result<Found> {
    let shown_path = path.display();
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {shown_path}"))?;
    let mut found = Found::default();
    for (count, entry) in entries.enumerate() {
        let entry = entry.with_context(|| format!("cannot read {shown_path}"))?;
        anyhow::ensure!(
            count < MAX_ENTRIES,
            "{shown_path} has more than {MAX_ENTRIES} entries, and a backup has at most {MAX_FILES}"
        );
        let name = entry.file_name();
        let name = name.to_string_lossy().into_owned();
        let path = entry.path();
        let failed = || format!("cannot read {}", shown(&name));
        if files::envelope_key(&name).is_none() {
            let file = hash(&path, name.clone()).with_context(failed)?;
            found.files.push(file);
        } else if envelopes.contains(&name) {
            let bytes = read_envelope(&path).with_context(failed);
            found.envelopes.push(FoundEnvelope { name, bytes });
        } else {
            found.others.push(name);
        }
    }
    Ok(found)
}

/// Reads an envelope. Of one that is too long, no more is read than tells that.
pub(super) fn read_envelope(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = envelope::MAX_BYTES as u64 + 1;
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn hash(path: &Path, name: String) -> io::Result<File> {
    let mut file = fs::File::open(path)?;
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
