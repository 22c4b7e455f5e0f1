//! A bucket that is read by URLs that somebody else signed: no request has credentials of velero-trust.

mod url;

use std::sync::Arc;

use futures::StreamExt as _;
use http::header::{CONTENT_LENGTH, LAST_MODIFIED};
use http_body_util::BodyExt as _;
use k8s_openapi::jiff::Timestamp;
use object_store::client::{HttpRequest, HttpRequestBody, HttpResponse};

pub use url::PresignedUrlError;

use super::connector::{Peer, Reach, StoreClient, Trust};
use super::error::{Action, Error, ErrorKind};
use super::protocol::Protocol;
use super::reading::Reading;
use super::settings::{BucketSettings, Provider};
use crate::kubernetes::server_clock;

/// A bucket that is read by URLs that somebody else signed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PresignedBucket {
    settings: Arc<BucketSettings>,
    client: StoreClient,
}

/// A file that is being read by such a URL.
pub struct PresignedFile {
    /// Its bytes.
    pub reading: Reading,
    /// Their number.
    pub size: u64,
    /// When it was written, as the store says.
    pub modified: Option<Timestamp>,
    /// The time of the store, when it answered.
    pub store_time: Option<Timestamp>,
}

impl PresignedBucket {
    /// Makes one for what a BSL says. Sends no request.
    pub(super) fn open(settings: BucketSettings, mut reach: Reach) -> Result<Self, ErrorKind> {
        if settings.skips_verification {
            reach.trust = Trust::Everything;
        }
        let protocol = match settings.provider() {
            Provider::Aws => Protocol::S3 {
                region: String::new(),
            },
            Provider::Azure => Protocol::Azure,
            Provider::Gcp => Protocol::Gcs,
        };
        let client = StoreClient::new(&settings.namespace, reach, Peer::Store(protocol))?;
        Ok(Self {
            settings: Arc::new(settings),
            client,
        })
    }

    /// Returns what it was made for.
    pub fn settings(&self) -> &BucketSettings {
        &self.settings
    }

    /// Begins to read `file` of `backup` by `url`. Whoever made the URL cannot lead elsewhere: it has to be that of
    /// this very file at the store of the BSL. Nothing of it is part of an error.
    pub async fn read(&self, backup: &str, file: &str, url: &str) -> Result<PresignedFile, Error> {
        let action = Action::Read {
            backup: backup.to_owned(),
            file: file.to_owned(),
        };
        let provider = self.settings.provider();
        let failed = |kind: ErrorKind| kind.during(action.clone()).of(provider);
        let answer = self.request(backup, file, url).await.map_err(failed)?;
        let headers = answer.headers();
        let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
        let length = length.and_then(|length| length.parse().ok());
        let unknown = ErrorKind::Malformed("it does not tell its length");
        let size: u64 = length.ok_or_else(|| failed(unknown))?;
        let modified = server_clock::time(headers, &LAST_MODIFIED);
        let store_time = server_clock::date(headers);
        let stream = answer.into_body().into_data_stream();
        let stream = stream.map(|piece| {
            piece.map_err(|error| object_store::Error::Generic {
                store: "presigned",
                source: error.into(),
            })
        });
        Ok(PresignedFile {
            reading: Reading::new(stream.boxed(), action, provider, size),
            size,
            modified,
            store_time,
        })
    }

    async fn request(
        &self,
        backup: &str,
        file: &str,
        url: &str,
    ) -> Result<HttpResponse, ErrorKind> {
        let uri = url::check(&self.settings, backup, file, url)?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = uri;
        self.client.send(request).await
    }
}
