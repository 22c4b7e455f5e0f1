//! The list of Azure's blob storage (`List Blobs`).

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};

use crate::bucket::error::ErrorKind;
use crate::bucket::list::{ListedFile, Page};

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnumerationResults {
    blobs: Blobs,
    #[serde(default)]
    next_marker: Option<String>,
}

#[derive(Deserialize)]
struct Blobs {
    #[serde(default, rename = "Blob")]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    properties: Properties,
}

/// A name, which is percent-encoded if XML cannot carry it.
#[derive(Deserialize)]
struct Name {
    #[serde(default, rename = "@Encoded")]
    is_encoded: bool,
    #[serde(default, rename = "$text")]
    text: String,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    size: u64,
    #[serde(rename = "Last-Modified", deserialize_with = "time")]
    last_modified: Timestamp,
    #[serde(default, rename = "Etag")]
    etag: String,
    /// In accounts with folders of their own (hierarchical namespace).
    #[serde(default, rename = "ResourceType")]
    resource_type: String,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    rfc2822::DateTimeParser::new()
        .parse_timestamp(&text)
        .map_err(serde::de::Error::custom)
}

/// Returns the query of a page of the list of all blobs that begin with `prefix`.
pub(in crate::bucket) fn query<'a>(
    prefix: &'a str,
    files: &'a str,
    token: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    let mut query = vec![("restype", "container"), ("comp", "list")];
    query.extend([("maxresults", files), ("prefix", prefix)]);
    query.extend(token.map(|token| ("marker", token)));
    query
}

/// Reads a page.
pub(in crate::bucket) fn page(body: &[u8]) -> Result<Page, ErrorKind> {
    let malformed = ErrorKind::Malformed;
    let text = std::str::from_utf8(body).map_err(|_| malformed("the list is no text"))?;
    let text = text.trim_start_matches('\u{feff}');
    let page: EnumerationResults =
        quick_xml::de::from_str(text).map_err(|_| malformed("the list cannot be read"))?;
    let is_file = |blob: &Blob| blob.properties.resource_type != "directory";
    let files = page.blobs.blobs.into_iter().filter(is_file);
    let files = files.map(|Blob { name, properties }| {
        Ok(ListedFile {
            key: key(name).ok_or_else(|| malformed("a key in the list is no text"))?,
            size: properties.size,
            last_modified: properties.last_modified,
            etag: properties.etag,
        })
    });
    let token = page.next_marker.filter(|marker| !marker.is_empty());
    Ok(Page {
        files: files.collect::<Result<_, ErrorKind>>()?,
        goes_on: token.is_some(),
        token,
    })
}

fn key(name: Name) -> Option<String> {
    if name.is_encoded {
        let decoded = percent_decode_str(&name.text).decode_utf8().ok()?;
        return Some(decoded.into_owned());
    }
    Some(name.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(blobs: &str, marker: &str) -> String {
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a\" \
             ContainerName=\"c\"><Prefix>p</Prefix><MaxResults>250</MaxResults><Blobs>{blobs}</Blobs>\
             {marker}</EnumerationResults>"
        )
    }

    fn blob(name: &str, more: &str) -> String {
        format!(
            "<Blob>{name}<Properties><Creation-Time>Sat, 28 Nov 2026 19:11:01 GMT</Creation-Time>\
             <Last-Modified>Sat, 28 Nov 2026 19:11:02 GMT</Last-Modified><Etag>0x8DC</Etag>\
             <Content-Length>3</Content-Length><BlobType>BlockBlob</BlobType>{more}</Properties><OrMetadata />\
             </Blob>"
        )
    }

    #[test]
    fn blobs_are_read_and_folders_are_none() {
        let blobs = [
            blob("<Name>p/a&amp;b c</Name>", ""),
            blob("<Name Encoded=\"true\">p/a%EF%BF%BF%0A</Name>", ""),
            blob(
                "<Name>p/sub</Name>",
                "<ResourceType>directory</ResourceType>",
            ),
            blob("<Name>p/f</Name>", "<ResourceType>file</ResourceType>"),
        ];
        let first = page(list(&blobs.concat(), "<NextMarker>m!1</NextMarker>").as_bytes()).unwrap();
        let keys: Vec<_> = first.files.iter().map(|file| file.key.as_str()).collect();
        assert_eq!(keys, ["p/a&b c", "p/a\u{ffff}\n", "p/f"]);
        let file = &first.files[0];
        assert_eq!((file.size, file.etag.as_str()), (3, "0x8DC"));
        assert_eq!(file.last_modified.to_string(), "2026-11-28T19:11:02Z");
        assert_eq!((first.goes_on, first.token.as_deref()), (true, Some("m!1")));
        for last in ["<NextMarker />", "<NextMarker></NextMarker>", ""] {
            let last = page(list("", last).as_bytes()).unwrap();
            assert!(last.files.is_empty() && !last.goes_on && last.token.is_none());
        }
    }

    #[test]
    fn what_is_no_list_is_told_as_such() {
        let size = blob("<Name>p</Name>", "").replace(">3<", ">-3<");
        let time = blob("<Name>p</Name>", "").replace("28 Nov", "31 Nov");
        let text = blob("<Name Encoded=\"true\">%ff</Name>", "");
        for bad in [
            "<html>".to_owned(),
            "{}".to_owned(),
            list(&size, ""),
            list(&time, ""),
            list(&text, ""),
        ] {
            let found = page(bad.as_bytes());
            assert!(matches!(found, Err(ErrorKind::Malformed(_))), "{bad}");
        }
    }
}
