//! Buckets as folders beside the YAML files of an objects folder, laid out as Velero lays out a bucket:
//! `buckets/BUCKET/[PREFIX/]backups/BACKUP/FILE`.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::decision::{Covered, File, Location, Reading};
use crate::digest::{Hasher, Sha256};
use crate::integrity::envelope::MAX_BYTES;
use crate::integrity::files::{self, Role};
use crate::integrity::verification;
use crate::velero::naming::is_name;

/// The folder of all buckets.
pub(super) const FOLDER: &str = "buckets";

/// Size in bytes of the pieces in which a file is read.
const PIECE_BYTES: usize = 64 << 10;

/// The folders of buckets, each beside YAML files.
#[derive(Clone, Debug, Default)]
pub(super) struct BucketFolders(Vec<PathBuf>);

impl BucketFolders {
    /// Adds the buckets in `folder`.
    pub(super) fn add(&mut self, folder: PathBuf) {
        self.0.push(folder);
    }

    /// Reads all files of `backup` in `location`; `None` if there is no such bucket. A backup that is not
    /// there has none. In place of the ETag and the time, the listing has the digest of each file, so that
    /// it changes whenever the bytes do.
    pub(super) fn read(&self, location: &Location, backup: &str) -> io::Result<Option<Reading>> {
        let mut buckets = self.0.iter().map(|folder| folder.join(&location.bucket));
        let Some(bucket) = buckets.find(|bucket| bucket.is_dir()) else {
            return Ok(None);
        };
        let mut paths = Vec::new();
        // A name may come from a Restore, and is a part of a path.
        if is_name(backup) {
            let folder = bucket.join(&location.prefix).join("backups").join(backup);
            list(&folder, "", &mut paths)?;
        }
        paths.sort();
        let (mut files, mut envelopes) = (Vec::new(), Vec::new());
        for (name, path) in paths {
            if files::role(backup, &name) == Role::Envelope {
                envelopes.push(beginning(&path)?);
            } else {
                files.push(hash(name, &path)?);
            }
        }
        let signed = envelopes.iter();
        let signed =
            signed.filter_map(|envelope| verification::agreeing(envelope, backup, &files, &[]));
        let mut lists: Vec<_> = signed.collect();
        lists.sort_by_key(|list| list.sha256);
        lists.dedup_by_key(|list| list.sha256);
        Ok(Some(Reading {
            covers: Covered::All,
            location: location.clone(),
            listing: Some(listing(&files)),
            files,
            unread: Vec::new(),
            lists,
        }))
    }
}

/// Adds the files at or below `folder`, if there is such a folder, with their names in it. Links to folders
/// are not followed: they may form a cycle.
fn list(folder: &Path, prefix: &str, paths: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = format!("{prefix}{}", name.to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{name}/"), paths)?;
        } else if entry.path().is_file() {
            paths.push((name, entry.path()));
        }
    }
    Ok(())
}

/// Reads as much as an envelope may have, and a byte more.
fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn hash(name: String, path: &Path) -> io::Result<File> {
    let mut file = fs::File::open(path)?;
    let (mut hasher, mut size) = (Hasher::default(), 0);
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
            break;
        };
        hasher.update(piece);
        size += piece.len() as u64;
    }
    Ok(File {
        name,
        size,
        sha256: hasher.finish(),
    })
}

fn listing(files: &[File]) -> Sha256 {
    let mut hasher = Hasher::default();
    for file in files {
        let line = json!([file.name, file.size, file.sha256]);
        hasher.update(format!("{line}\n").as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(prefix: &str) -> Location {
        Location {
            provider: "aws".into(),
            bucket: "b".into(),
            prefix: prefix.into(),
        }
    }

    /// Buckets with this file, and the folder in which they are.
    fn with(path: &str, content: &str) -> (tempfile::TempDir, BucketFolders) {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), path, content);
        let mut folders = BucketFolders::default();
        folders.add(folder.path().to_owned());
        (folder, folders)
    }

    fn put(folder: &Path, path: &str, content: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn all_files_of_a_backup_are_read() {
        let (folder, folders) = with("b/p/q/backups/n/n.tar.gz", "abc");
        put(folder.path(), "b/p/q/backups/n/sub/x.json", "{}");
        put(folder.path(), "b/p/q/backups/other/y", "");
        put(
            folder.path(),
            "b/p/q/backups/n/velero-trust.0123456789abcdef.dsse.json",
            "{}",
        );
        std::os::unix::fs::symlink(".", folder.path().join("b/p/q/backups/n/self")).unwrap();
        let read = |backup: &str| folders.read(&location("p/q"), backup).unwrap().unwrap();
        let reading = read("n");
        let file = |name: &str, content: &[u8]| File {
            name: name.into(),
            size: content.len() as u64,
            sha256: Sha256::of(content),
        };
        let files = [file("n.tar.gz", b"abc"), file("sub/x.json", b"{}")];
        assert_eq!(
            (&reading.files[..], &reading.lists[..]),
            (&files[..], &[][..])
        );
        assert_eq!(
            (reading.covers, reading.location),
            (Covered::All, location("p/q"))
        );
        let lines =
            files.map(|file| format!("[\"{}\",{},\"{}\"]\n", file.name, file.size, file.sha256));
        assert_eq!(reading.listing, Some(Sha256::of(lines.concat().as_bytes())));
        put(folder.path(), "b/p/q/backups/n/n.tar.gz", "abd");
        assert_ne!(
            read("n").listing,
            reading.listing,
            "as many bytes, and others"
        );
        let none = read("absent");
        assert_eq!(
            (none.files, none.listing),
            (Vec::new(), Some(Sha256::of(b"")))
        );
        assert_eq!(read("../n").files, []);
    }

    #[test]
    fn a_bucket_that_is_not_there_is_told_from_an_empty_one() {
        let (_folder, folders) = with("b/x", "");
        assert!(folders.read(&location(""), "n").unwrap().is_some());
        let other = Location {
            bucket: "other".into(),
            ..location("")
        };
        assert_eq!(folders.read(&other, "n").unwrap(), None);
    }
}
