//! The protocols of stores: how a list is asked for, and what an answer means.

mod azure;
mod gcs;
pub(super) mod s3;

use http::{HeaderMap, StatusCode};

use super::error::ErrorKind;
use super::list::Page;

use crate::velero::text::single_line;

/// Most bytes of the body of an answer that is no success.
pub(super) const MAX_ERROR_BYTES: usize = 64 << 10;

/// Most characters of an error code that are kept.
const MAX_CODE_CHARS: usize = 60;

/// The protocol of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// S3.
    S3 {
        /// The region that requests are signed for.
        region: String,
    },
    /// The REST protocol of Azure's blob storage.
    Azure,
    /// The two APIs of Google Cloud Storage.
    Gcs,
}

impl Protocol {
    /// Returns the query of a page of the list of all keys that begin with `prefix`.
    pub(super) fn list_query<'a>(
        &self,
        prefix: &'a str,
        files: &'a str,
        token: Option<&'a str>,
    ) -> Vec<(&'static str, &'a str)> {
        match self {
            Self::S3 { .. } => s3::list::query(prefix, files, token),
            Self::Azure => azure::list::query(prefix, files, token),
            Self::Gcs => gcs::list::query(prefix, files, token),
        }
    }

    /// Reads a page of a list.
    pub(super) fn page(&self, body: &[u8]) -> Result<Page, ErrorKind> {
        match self {
            Self::S3 { .. } => s3::list::page(body),
            Self::Azure => azure::list::page(body),
            Self::Gcs => gcs::list::page(body),
        }
    }

    /// Returns what an answer means that is no success.
    pub(super) fn meaning(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> ErrorKind {
        match self {
            Self::S3 { region } => s3::answer::meaning(status, headers, body, region),
            Self::Azure => azure::answer::meaning(status, headers, body),
            Self::Gcs => gcs::answer::meaning(status, headers, body),
        }
    }
}

/// Returns an error code of a store in a form that can be shown.
fn error_code(code: &str) -> String {
    single_line(code.trim(), MAX_CODE_CHARS).into_owned()
}

/// Returns what an answer means whose code says nothing, by its status.
fn unknown(status: StatusCode, code: String) -> ErrorKind {
    match status.as_u16() {
        status @ 300..=399 => ErrorKind::Redirect { status },
        401 | 403 => ErrorKind::AccessDenied {
            code: if code.is_empty() {
                status.as_u16().to_string()
            } else {
                code
            },
        },
        // Without a body, such as behind a proxy.
        404 if code.is_empty() => ErrorKind::NoFile,
        412 => ErrorKind::Changed,
        status @ (408 | 429 | 500..=599) => ErrorKind::Server { status, code },
        status => ErrorKind::Answer { status, code },
    }
}
