//! The list of a backup's files.
//!
//! It is read here and not by `object_store`, whose list fails as a whole when one key has a control
//! character, tells nothing of the store's clock, and has no bound.

use std::collections::BTreeSet;

use http::HeaderMap;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::error::ErrorKind;
use super::url::decode;
use crate::digest::{Hasher, Sha256};
use crate::integrity::files::{self, Role};
use crate::kubernetes::server_clock::date;

/// Most files of a backup. Velero writes fewer than twenty.
pub const MAX_FILES: usize = 10_000;

/// Most bytes of the names and ETags of a backup's files. Velero's have about a hundred each.
pub const MAX_NAME_BYTES: usize = 2 << 20;

/// Files in a page. A key has up to 1,024 bytes, and three times that where it is encoded.
pub(super) const PAGE_FILES: usize = 250;

/// Most bytes of a page.
pub(super) const MAX_PAGE_BYTES: usize = 2 << 20;

/// Most pages. A store may return fewer files in a page than were asked for.
pub(super) const MAX_PAGES: usize = 100;

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

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    encoding_type: Option<String>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<Contents>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    last_modified: Timestamp,
    #[serde(default, rename = "ETag")]
    e_tag: String,
}

/// Collects the pages of a list.
pub(super) struct Collector {
    prefix: String,
    artifacts: Vec<Artifact>,
    text_bytes: usize,
    pages: usize,
    tokens: BTreeSet<String>,
    store_time: Option<Timestamp>,
}

impl Collector {
    /// Collects the keys that begin with `prefix`.
    pub(super) fn new(prefix: String) -> Self {
        Self {
            prefix,
            artifacts: Vec::new(),
            text_bytes: 0,
            pages: 0,
            tokens: BTreeSet::new(),
            store_time: None,
        }
    }

    /// Returns what the keys begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the number of folders, and the bytes of all files in them.
    pub(super) fn folders(&self) -> (usize, u64) {
        let in_folders = self
            .artifacts
            .iter()
            .filter_map(|file| Some((file.name.split_once('/')?.0, file.size)));
        let (names, sizes): (BTreeSet<_>, Vec<_>) = in_folders.unzip();
        (names.len(), sizes.into_iter().fold(0, u64::saturating_add))
    }

    /// Adds a page. Returns the token of the next one; `None` after the last.
    pub(super) fn add(
        &mut self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Option<String>, ErrorKind> {
        let malformed = ErrorKind::Malformed;
        if self.pages == 0 {
            self.store_time = date(headers);
        }
        self.pages += 1;
        let page = std::str::from_utf8(body);
        let page = page.map_err(|_| malformed("the list is no text"))?;
        let page: ListBucketResult =
            quick_xml::de::from_str(page).map_err(|_| malformed("the list cannot be read"))?;
        if page.contents.len() > 2 * PAGE_FILES.max(1_000) {
            return Err(malformed(
                "a page of the list has more files than a page may have",
            ));
        }
        let is_encoded = page.encoding_type.as_deref() == Some("url");
        for contents in page.contents {
            self.add_file(contents, is_encoded)?;
        }
        let token = page
            .next_continuation_token
            .filter(|token| !token.is_empty());
        match (page.is_truncated, token) {
            (false, _) => Ok(None),
            (true, None) => Err(malformed("the list goes on, and does not say where")),
            (true, Some(_)) if self.pages >= MAX_PAGES => Err(ErrorKind::TooMany),
            (true, Some(token)) if self.tokens.insert(token.clone()) => Ok(Some(token)),
            (true, Some(_)) => Err(malformed("the list goes on where it was already")),
        }
    }

    fn add_file(&mut self, contents: Contents, is_encoded: bool) -> Result<(), ErrorKind> {
        let key = if is_encoded {
            decode(&contents.key).ok_or(ErrorKind::Malformed("a key in the list is no text"))?
        } else {
            contents.key
        };
        let name = key
            .strip_prefix(self.prefix.as_str())
            .ok_or(ErrorKind::Malformed(
                "the list has a key that was not asked for",
            ))?;
        // Consoles mark folders with empty objects.
        if contents.size == 0 && (name.is_empty() || name.ends_with('/')) {
            return Ok(());
        }
        self.text_bytes += name.len() + contents.e_tag.len();
        if self.artifacts.len() == MAX_FILES || self.text_bytes > MAX_NAME_BYTES {
            return Err(ErrorKind::TooMany);
        }
        self.artifacts.push(Artifact {
            name: name.to_owned(),
            size: contents.size,
            last_modified: contents.last_modified,
            etag: contents.e_tag,
        });
        Ok(())
    }

    /// Returns the whole list of what is in `place`.
    pub(super) fn finish(mut self, place: Sha256) -> Result<Listing, ErrorKind> {
        self.artifacts.sort();
        let mut pairs = self.artifacts.iter().zip(self.artifacts.iter().skip(1));
        if pairs.any(|(one, next)| one.name == next.name) {
            return Err(ErrorKind::Malformed("the list has a file twice"));
        }
        Ok(Listing {
            artifacts: self.artifacts,
            place,
            store_time: self.store_time,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use http::header::DATE;

    use super::*;

    fn page(more: &str, files: &[(&str, u64)]) -> String {
        let mut text = format!("<?xml version=\"1.0\"?><ListBucketResult>{more}");
        for (key, size) in files {
            let _ = write!(
                text,
                "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>&quot;e&quot;</ETag>\
                 <LastModified>2026-11-28T19:11:01.123Z</LastModified>\
                 <Owner><ID>i</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
            );
        }
        text + "</ListBucketResult>"
    }

    fn collect(pages: &[String]) -> Result<Listing, ErrorKind> {
        let mut collector = Collector::new("p/backups/b/".to_owned());
        let date = http::HeaderValue::from_static("Sat, 28 Nov 2026 19:11:02 GMT");
        let headers = HeaderMap::from_iter([(DATE, date)]);
        for page in pages {
            if collector.add(&headers, page.as_bytes())?.is_none() {
                break;
            }
        }
        collector.finish(Sha256::of(b"here"))
    }

    const GOES_ON: &str =
        "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";

    #[test]
    fn pages_become_one_sorted_list_with_the_stores_time() {
        let first = page(GOES_ON, &[("p/backups/b/b", 2), ("p/backups/b/a&amp;", 1)]);
        let second = page("<IsTruncated>false</IsTruncated>", &[("p/backups/b/A", 3)]);
        let listing = collect(&[first, second]).unwrap();
        let names: Vec<_> = listing
            .artifacts
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["A", "a&", "b"]);
        let time = listing.store_time.unwrap();
        assert_eq!(time.to_string(), "2026-11-28T19:11:02Z");
        let file = listing.get("b").unwrap();
        assert_eq!((file.size, file.etag.as_str()), (2, "\"e\""));
        assert_eq!(file.last_modified.to_string(), "2026-11-28T19:11:01.123Z");
        assert!(!listing.contains("c"));
    }

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

    #[test]
    fn folders_are_counted_with_their_bytes() {
        let mut collector = Collector::new("p/backups/".to_owned());
        let files = [
            ("p/backups/stray", 100),
            ("p/backups/a/a.tar.gz", 5),
            ("p/backups/a/sub/x", 2),
            ("p/backups/b/", 0),
            ("p/backups/b/b.tar.gz", u64::MAX),
        ];
        collector
            .add(&HeaderMap::new(), page("", &files).as_bytes())
            .unwrap();
        assert_eq!(collector.folders(), (2, u64::MAX));
    }

    #[test]
    fn markers_are_no_files_and_odd_keys_are_listed() {
        let files = [
            ("p/backups/b/", 0),
            ("p/backups/b/sub/", 0),
            ("p/backups/b/a%09b+c%2B%0A%E2%80%AE", 1),
            ("p/backups/b/x/", 5),
        ];
        let encoded = page("<EncodingType>url</EncodingType>", &files);
        let listing = collect(&[encoded]).unwrap();
        let names: Vec<_> = listing
            .artifacts
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["a\tb c+\n\u{202e}", "x/"]);
        // A store that does not encode does not say that it does.
        let plain = page("", &[("p/backups/b/a%09+", 1)]);
        assert_eq!(collect(&[plain]).unwrap().artifacts[0].name, "a%09+");
    }

    #[test]
    fn a_list_that_is_none_is_told_as_such() {
        let malformed = |pages: &[String], said: &str| {
            let Err(ErrorKind::Malformed(what)) = collect(pages) else {
                panic!("{said}");
            };
            assert!(what.contains(said), "{what}");
        };
        malformed(&["<html>".to_owned()], "cannot be read");
        malformed(&["{}".to_owned()], "cannot be read");
        malformed(&[page("", &[("p/backups/bb/a", 1)])], "not asked for");
        malformed(
            &[page("", &[("p/backups/b/a", 1), ("p/backups/b/a", 1)])],
            "twice",
        );
        malformed(&[page("<IsTruncated>true</IsTruncated>", &[])], "where");
        let endless = page(GOES_ON, &[]);
        malformed(&[endless.clone(), endless], "where it was");
        let bad = page("", &[("p/backups/b/a", 1)]).replace("2026-11-28T", "x");
        malformed(&[bad], "cannot be read");
        malformed(
            &[page("<EncodingType>url</EncodingType>", &[("%ff", 1)])],
            "no text",
        );
    }

    #[test]
    fn the_number_of_files_and_the_length_of_their_names_are_bounded() {
        let pages = |count: usize, length: usize| {
            let pages = (0..count.div_ceil(PAGE_FILES)).map(|number| {
                let first = number * PAGE_FILES;
                let keys = (first..count.min(first + PAGE_FILES))
                    .map(|file| format!("p/backups/b/{file:0length$}"));
                let keys: Vec<_> = keys.collect();
                let files: Vec<_> = keys.iter().map(|key| (key.as_str(), 1)).collect();
                let token = GOES_ON.replace(">t<", &format!(">{number}<"));
                page(
                    if first + PAGE_FILES < count {
                        &token
                    } else {
                        ""
                    },
                    &files,
                )
            });
            collect(&pages.collect::<Vec<_>>())
        };
        assert_eq!(pages(MAX_FILES, 10).unwrap().artifacts.len(), MAX_FILES);
        assert_eq!(pages(MAX_FILES + 1, 10), Err(ErrorKind::TooMany));
        assert_eq!(pages(3_000, 800), Err(ErrorKind::TooMany));
        let etag = "e".repeat(MAX_NAME_BYTES / 2);
        let long = page("", &[("p/backups/b/a", 1), ("p/backups/b/b", 1)]);
        let long = long.replace("&quot;e&quot;", &etag);
        assert_eq!(collect(&[long]), Err(ErrorKind::TooMany));
        let empty: Vec<_> = (0..MAX_PAGES)
            .map(|number| page(&GOES_ON.replace(">t<", &format!(">{number}<")), &[]))
            .collect();
        assert_eq!(collect(&empty), Err(ErrorKind::TooMany));
    }
}
