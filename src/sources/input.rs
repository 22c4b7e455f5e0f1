//! Lists and reads the files that a user names.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Maximum size of one file in bytes: far larger than any manifest, and a limit for pipes that
/// never end.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// An error of reading a file or folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {error}", path.display())]
pub struct ReadError {
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
    pub error: io::Error,
}

/// Returns the YAML and JSON files at or below `paths`, sorted and without hidden ones. A path
/// given directly is included whatever its name. A file that several paths lead to through the same
/// folder is included once.
pub fn files(paths: &[PathBuf]) -> Vec<Result<PathBuf, ReadError>> {
    let mut seen = BTreeSet::new();
    let mut files = list_all(paths);
    files.retain(|file| {
        let path = match file {
            Ok(path) | Err(ReadError { path, .. }) => path,
        };
        seen.insert(identity(path))
    });
    files
}

/// Returns an identity shared by all paths that lead to one file in one folder. A link to that file
/// in another folder has another identity: overlays share files that way, and each overlay has its
/// own Secrets next to them.
pub fn identity(path: &Path) -> (PathBuf, PathBuf) {
    let whole = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => whole(folder),
        _ => whole(Path::new(".")),
    };
    (folder, whole(path))
}

fn list_all(paths: &[PathBuf]) -> Vec<Result<PathBuf, ReadError>> {
    paths
        .iter()
        .flat_map(|path| list_at_or_below(path))
        .collect()
}

/// Returns the text of a file.
pub fn read_text(path: &Path) -> Result<String, ReadError> {
    let read = std::fs::File::open(path).and_then(read_limited);
    read.map_err(|error| read_error(path, error))
}

/// Returns all text of a stream, up to the maximum size of a file.
pub fn read_limited(stream: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    let read = stream.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE_BYTES) {
        let message = format!("it has more than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(io::Error::other(message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let begins_with = |mark: &[u8]| error.as_bytes().starts_with(mark);
        io::Error::other(if begins_with(b"\xff\xfe") || begins_with(b"\xfe\xff") {
            "it is UTF-16, as `>` of PowerShell writes it; convert it with `iconv -f utf-16 -t utf-8`"
        } else {
            "it is not UTF-8 text"
        })
    })
}

fn read_error(path: &Path, error: io::Error) -> ReadError {
    let path = path.to_owned();
    ReadError { path, error }
}

fn list_at_or_below(path: &Path) -> Vec<Result<PathBuf, ReadError>> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => match list_folder(path) {
            Ok(entries) => list_all(&entries),
            Err(error) => vec![Err(read_error(path, error))],
        },
        Ok(_) => vec![Ok(path.to_owned())],
        Err(error) => vec![Err(read_error(path, error))],
    }
}

/// Returns the entries of `folder` to read or descend into, sorted.
fn list_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?.path();
        let hidden = entry
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = entry
            .extension()
            .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
        // Links to folders may form a cycle, and special files such as pipes may never end. Links
        // to files are how kubelet lays out volumes.
        let is_link = std::fs::symlink_metadata(&entry)?.is_symlink();
        if !hidden && (yaml && entry.is_file() || entry.is_dir() && !is_link) {
            entries.push(entry);
        }
    }
    entries.sort();
    Ok(entries)
}
