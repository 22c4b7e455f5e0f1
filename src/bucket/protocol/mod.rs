//! The protocols of stores: how a list is asked for, and what an answer means.

pub(super) mod s3;

use http::{HeaderMap, StatusCode};

use super::error::ErrorKind;
use super::list::Page;

pub(super) use s3::answer::MAX_ERROR_BYTES;

/// The protocol of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// S3.
    S3 {
        /// The region that requests are signed for.
        region: String,
    },
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
        }
    }

    /// Reads a page of a list.
    pub(super) fn page(&self, body: &[u8]) -> Result<Page, ErrorKind> {
        match self {
            Self::S3 { .. } => s3::list::page(body),
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
        }
    }
}
