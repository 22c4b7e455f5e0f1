//! Reads the objects of a list, and the lines of a watch.

use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Project;
use crate::decision::Key;
use crate::kubernetes::watch::projection::Projected;
use crate::velero::text::{Text, or_empty};

/// An event as the API server sends it.
pub(super) enum WatchEvent<V> {
    Applied(Projected<V>, String),
    Deleted(Projected<V>, String),
    /// Nothing changed until this version.
    Bookmark(String),
    Error(Box<Status>),
}

/// A line of a watch.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// The metadata that every object has.
#[derive(Deserialize)]
struct Identified<'a> {
    #[serde(borrow)]
    metadata: Identity<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Identity<'a> {
    #[serde(borrow)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    resource_version: Option<Text<'a>>,
}

/// Reads a line of a watch.
pub(super) fn read_line<V>(
    line: &[u8],
    project: &Project<V>,
) -> Result<WatchEvent<V>, serde_json::Error> {
    let Line { kind, object } = serde_json::from_slice(line)?;
    let text = object.get();
    Ok(match &*kind {
        "ERROR" => WatchEvent::Error(serde_json::from_str(text)?),
        "BOOKMARK" => WatchEvent::Bookmark(identity(text)?.1),
        "DELETED" => {
            let (key, version) = identity(text)?;
            WatchEvent::Deleted((key, None), version)
        }
        _ => {
            let (object, version) = read_object(text.as_bytes(), project)?;
            WatchEvent::Applied(object, version)
        }
    })
}

/// Projects the text of an object. Also returns its version.
pub(super) fn read_object<V>(
    text: &[u8],
    project: &Project<V>,
) -> Result<(Projected<V>, String), serde_json::Error> {
    let text = std::str::from_utf8(text).map_err(serde::de::Error::custom)?;
    let (key, version) = identity(text)?;
    Ok(((key, project(text)), version))
}

/// Returns the key and the version of an object.
fn identity(text: &str) -> Result<(Key, String), serde_json::Error> {
    let Identified { metadata } = serde_json::from_str(text)?;
    let key = Key::new(
        or_empty(metadata.namespace.as_ref()),
        or_empty(metadata.name.as_ref()),
    );
    Ok((key, or_empty(metadata.resource_version.as_ref()).to_owned()))
}
