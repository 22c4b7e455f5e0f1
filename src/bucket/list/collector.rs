//! Collects the pages of a list.

use std::collections::BTreeSet;

use http::HeaderMap;
use k8s_openapi::jiff::Timestamp;

use super::{Artifact, ListedFile, Listing, MAX_FILES, MAX_NAME_BYTES, Page};
use crate::bucket::error::ErrorKind;
use crate::digest::Sha256;
use crate::kubernetes::server_clock::date;

/// Files in a page. A key has up to 1,024 bytes, and three times that where it is encoded.
pub(in crate::bucket) const PAGE_FILES: usize = 250;

/// Most bytes of a page.
pub(in crate::bucket) const MAX_PAGE_BYTES: usize = 2 << 20;

/// Most pages. A store may return fewer files in a page than were asked for.
const MAX_PAGES: usize = 100;

/// Collects the pages of a list.
pub(in crate::bucket) struct Collector {
    prefix: String,
    artifacts: Vec<Artifact>,
    text_bytes: usize,
    pages: usize,
    tokens: BTreeSet<String>,
    store_time: Option<Timestamp>,
}

impl Collector {
    /// Collects the keys that begin with `prefix`.
    pub(in crate::bucket) fn new(prefix: String) -> Self {
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
    pub(in crate::bucket) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the number of folders, and the bytes of all files in them.
    pub(in crate::bucket) fn folders(&self) -> (usize, u64) {
        let in_folders = self
            .artifacts
            .iter()
            .filter_map(|file| Some((file.name.split_once('/')?.0, file.size)));
        let (names, sizes): (BTreeSet<_>, Vec<_>) = in_folders.unzip();
        (names.len(), sizes.into_iter().fold(0, u64::saturating_add))
    }

    /// Adds a page. Returns the token of the next one; `None` after the last.
    pub(in crate::bucket) fn add(
        &mut self,
        headers: &HeaderMap,
        page: Page,
    ) -> Result<Option<String>, ErrorKind> {
        let malformed = ErrorKind::Malformed;
        if self.pages == 0 {
            self.store_time = date(headers);
        }
        self.pages += 1;
        if page.files.len() > 2 * PAGE_FILES.max(1_000) {
            return Err(malformed(
                "a page of the list has more files than a page may have",
            ));
        }
        for file in page.files {
            self.add_file(file)?;
        }
        let token = page.token.filter(|token| !token.is_empty());
        match (page.goes_on, token) {
            (false, _) => Ok(None),
            (true, None) => Err(malformed("the list goes on, and does not say where")),
            (true, Some(_)) if self.pages >= MAX_PAGES => Err(ErrorKind::TooMany),
            (true, Some(token)) if self.tokens.insert(token.clone()) => Ok(Some(token)),
            (true, Some(_)) => Err(malformed("the list goes on where it was already")),
        }
    }

    fn add_file(&mut self, file: ListedFile) -> Result<(), ErrorKind> {
        let name = file
            .key
            .strip_prefix(self.prefix.as_str())
            .ok_or(ErrorKind::Malformed(
                "the list has a key that was not asked for",
            ))?;
        // Consoles mark folders with empty objects.
        if file.size == 0 && (name.is_empty() || name.ends_with('/')) {
            return Ok(());
        }
        self.text_bytes += name.len() + file.etag.len();
        if self.artifacts.len() == MAX_FILES || self.text_bytes > MAX_NAME_BYTES {
            return Err(ErrorKind::TooMany);
        }
        self.artifacts.push(Artifact {
            name: name.to_owned(),
            size: file.size,
            last_modified: file.last_modified,
            etag: file.etag,
        });
        Ok(())
    }

    /// Returns the whole list of what is in `place`.
    pub(in crate::bucket) fn finish(mut self, place: Sha256) -> Result<Listing, ErrorKind> {
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
    use crate::bucket::protocol::s3;

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
            if collector
                .add(&headers, s3::list::page(page.as_bytes())?)?
                .is_none()
            {
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
        let listed = s3::list::page(page("", &files).as_bytes()).unwrap();
        collector.add(&HeaderMap::new(), listed).unwrap();
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
