//! The list of Google Cloud Storage (`objects.list` of the JSON API).

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use crate::bucket::error::ErrorKind;
use crate::bucket::list::{ListedFile, Page};

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Objects {
    #[serde(default)]
    items: Vec<Object>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    name: String,
    size: String,
    /// When this generation was written. A change of its metadata changes `updated` only.
    time_created: Timestamp,
    /// Tells this content from any other that the name has or had.
    generation: String,
}

/// Returns the query of a page of the list of all files that begin with `prefix`.
pub(in crate::bucket) fn query<'a>(
    prefix: &'a str,
    files: &'a str,
    token: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    let fields = "items(name,size,timeCreated,generation),nextPageToken";
    let mut query = vec![
        ("maxResults", files),
        ("prefix", prefix),
        ("fields", fields),
    ];
    query.extend(token.map(|token| ("pageToken", token)));
    query
}

/// Reads a page.
pub(in crate::bucket) fn page(body: &[u8]) -> Result<Page, ErrorKind> {
    let unreadable = || ErrorKind::Malformed("the list cannot be read");
    let page: Objects = serde_json::from_slice(body).map_err(|_| unreadable())?;
    let files = page.items.into_iter().map(|object| {
        Ok(ListedFile {
            key: object.name,
            size: object.size.parse().map_err(|_| unreadable())?,
            last_modified: object.time_created,
            etag: object.generation,
        })
    });
    let token = page.next_page_token.filter(|token| !token.is_empty());
    Ok(Page {
        files: files.collect::<Result<_, ErrorKind>>()?,
        goes_on: token.is_some(),
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_files_and_tells_whether_it_is_the_last() {
        let text = r#"{"kind": "storage#objects", "nextPageToken": "t=", "items": [{"name": "p/a\u0001",
            "size": "7", "generation": "17", "timeCreated": "2026-11-28T19:11:01.123Z", "updated": "x"}]}"#;
        let first = page(text.as_bytes()).unwrap();
        let [file] = &first.files[..] else {
            panic!("{first:?}")
        };
        assert_eq!(
            (file.key.as_str(), file.size, file.etag.as_str()),
            ("p/a\u{1}", 7, "17")
        );
        assert_eq!(file.last_modified.to_string(), "2026-11-28T19:11:01.123Z");
        assert_eq!((first.goes_on, first.token.as_deref()), (true, Some("t=")));
        let last = page(br#"{"kind": "storage#objects"}"#).unwrap();
        assert!(last.files.is_empty() && !last.goes_on);
        for bad in [
            "<html>",
            r#"{"items": [{"name": "a"}]}"#,
            &text.replace("\"7\"", "\"-7\""),
        ] {
            let found = page(bad.as_bytes());
            assert!(matches!(found, Err(ErrorKind::Malformed(_))), "{bad}");
        }
    }
}
