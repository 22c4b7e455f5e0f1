//! The list of S3 (`ListObjectsV2`).

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use crate::bucket::error::ErrorKind;
use crate::bucket::list::{ListedFile, Page};
use crate::bucket::url::decode;

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

/// Returns the query of a page of the list of all keys that begin with `prefix`.
pub(in crate::bucket) fn query<'a>(
    prefix: &'a str,
    files: &'a str,
    token: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    // Keys may contain characters that XML cannot.
    let mut query = vec![("list-type", "2"), ("encoding-type", "url")];
    query.extend([("max-keys", files), ("prefix", prefix)]);
    query.extend(token.map(|token| ("continuation-token", token)));
    query
}

/// Reads a page.
pub(in crate::bucket) fn page(body: &[u8]) -> Result<Page, ErrorKind> {
    let malformed = ErrorKind::Malformed;
    let text = std::str::from_utf8(body).map_err(|_| malformed("the list is no text"))?;
    let page: ListBucketResult =
        quick_xml::de::from_str(text).map_err(|_| malformed("the list cannot be read"))?;
    let is_encoded = page.encoding_type.as_deref() == Some("url");
    let key = |key: String| {
        if is_encoded {
            decode(&key).ok_or_else(|| malformed("a key in the list is no text"))
        } else {
            Ok(key)
        }
    };
    let files = page.contents.into_iter().map(|contents| {
        Ok(ListedFile {
            key: key(contents.key)?,
            size: contents.size,
            last_modified: contents.last_modified,
            etag: contents.e_tag,
        })
    });
    Ok(Page {
        files: files.collect::<Result<_, ErrorKind>>()?,
        goes_on: page.is_truncated,
        token: page.next_continuation_token,
    })
}
