//! The list of a backup's files.
//!
//! It is read here and not by `object_store`, whose list fails as a whole when one key has a control
//! character, tells nothing of the store's clock, and has no bound.

mod collector;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

pub(super) use collector::{Collector, MAX_PAGE_BYTES, PAGE_FILES};

use crate::digest::{Hasher, Sha256};
use crate::integrity::files::{self, Role};

/// Most files of a backup. Velero writes fewer than twenty.
pub const MAX_FILES: usize = 10_000;

/// Most bytes of the names and ETags of a backup's files. Velero's have about a hundred each.
pub const MAX_NAME_BYTES: usize = 2 << 20;

/// A file of a backup, as the store lists it. Whoever can write the bucket may be able to set all of
/// it: it shows that something changed, never that nothing did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Artifact {
    /// The name in the backup's folder, as bytes of the key; not printable as it is.
    pub name: String,
    /// The size in bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub last_modified: Timestamp,
    /// The store's mark of its content, as the store writes it; may be empty.
    pub etag: String,
}

/// The files of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The files, by name. Markers of folders are none.
    pub artifacts: Vec<Artifact>,
    /// Where they are: the digest of the store and the bucket that the BSL names.
    pub place: Sha256,
    /// The time of the store's clock when it answered with the first page; `None` if it did not say.
    pub store_time: Option<Timestamp>,
}

impl Listing {
    /// Whether it has a file of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the file of this name.
    pub fn get(&self, name: &str) -> Option<&Artifact> {
        let at = self
            .artifacts
            .binary_search_by(|artifact| artifact.name.as_str().cmp(name));
        self.artifacts.get(at.ok()?)
    }

    /// Returns a digest of where the files are, and of the files of `backup` but the envelopes, which
    /// velero-trust puts and takes away: of a line for each, by name, with its name, size, ETag and time in
    /// milliseconds as a JSON array.
    /// Another digest shows that something changed; whoever can write the bucket may be able to keep it.
    pub fn digest(&self, backup: &str) -> Sha256 {
        let mut hasher = Hasher::default();
        hasher.update(format!("{}\n", self.place).as_bytes());
        let is_envelope = |file: &&Artifact| files::role(backup, &file.name) == Role::Envelope;
        for file in self.artifacts.iter().filter(|file| !is_envelope(file)) {
            let modified = file.last_modified.as_millisecond();
            let line = json!([file.name, file.size, file.etag, modified]);
            hasher.update(format!("{line}\n").as_bytes());
        }
        hasher.finish()
    }
}

/// A page of a list, as a protocol has it.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// What it lists.
    pub(super) files: Vec<ListedFile>,
    /// Whether there are more.
    pub(super) goes_on: bool,
    /// What the next page is asked for with.
    pub(super) token: Option<String>,
}

/// A file in a page.
#[derive(Debug)]
pub(super) struct ListedFile {
    /// The whole key.
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) last_modified: Timestamp,
    pub(super) etag: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn listing(files: &[(&str, u64, &str, i64)]) -> Listing {
        let artifact = |&(name, size, etag, modified): &(&str, u64, &str, i64)| Artifact {
            name: name.to_owned(),
            size,
            last_modified: Timestamp::from_millisecond(modified).unwrap(),
            etag: etag.to_owned(),
        };
        let mut artifacts: Vec<_> = files.iter().map(artifact).collect();
        artifacts.sort();
        Listing {
            artifacts,
            place: Sha256::of(b"here"),
            store_time: None,
        }
    }

    #[test]
    fn a_digest_is_of_all_that_is_listed_in_the_order_of_names() {
        let digest = |files: &[(&str, u64, &str, i64)]| listing(files).digest("b");
        let (file, tarball) = (("a", 1, "\"e\"", 1_001), ("b.tar.gz", 2, "f", 1_000));
        let both = digest(&[file, tarball]);
        let lines = "[\"a\",1,\"\\\"e\\\"\",1001]\n[\"b.tar.gz\",2,\"f\",1000]\n";
        let here = Sha256::of(b"here");
        assert_eq!(both, Sha256::of(format!("{here}\n{lines}").as_bytes()));
        let mut elsewhere = listing(&[file, tarball]);
        elsewhere.place = Sha256::of(b"elsewhere");
        assert_ne!(both, elsewhere.digest("b"));
        assert_eq!(both, digest(&[tarball, file]));
        for (what, other) in [
            ("name", ("A", 1, "\"e\"", 1_001)),
            ("size", ("a", 2, "\"e\"", 1_001)),
            ("etag", ("a", 1, "e", 1_001)),
            ("time", ("a", 1, "\"e\"", 1_002)),
        ] {
            assert_ne!(both, digest(&[other, tarball]), "{what}");
        }
        assert_ne!(both, digest(&[tarball]), "removed");
        assert_ne!(both, digest(&[file, tarball, ("c", 0, "", 0)]), "added");
        let mut later = listing(&[file, tarball]);
        later.store_time = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(both, later.digest("b"), "it is not about the files");
    }

    #[test]
    fn envelopes_are_not_in_a_digest_and_what_looks_like_one_is() {
        let digest = |files: &[(&str, u64, &str, i64)]| listing(files).digest("b");
        let tarball = ("b.tar.gz", 2, "f", 1_000);
        let envelope = ("velero-trust.0123456789abcdef.dsse.json", 9, "", 0);
        assert_eq!(digest(&[tarball]), digest(&[tarball, envelope]));
        let other = ("velero-trust.dsse.json", 9, "", 0);
        assert_ne!(digest(&[tarball]), digest(&[tarball, other]));
    }

    /// No file can be named so that it looks like the line of another one.
    #[test]
    fn a_digest_is_unambiguous_whatever_the_names_are() {
        let odd = [
            "a\",1,\"\",0]\n[\"b",
            "a\n",
            "a\\n",
            "a\u{0}",
            "a\u{202e}",
            "a\r\n[",
        ];
        let digests = odd.map(|name| listing(&[(name, 1, "", 0)]).digest("b"));
        let two = listing(&[("a", 1, "", 0), ("b", 1, "", 0)]).digest("b");
        let digests: BTreeSet<_> = digests.into_iter().chain([two]).collect();
        assert_eq!(digests.len(), odd.len() + 1);
    }
}
