//! An open bucket.

mod azure;
mod gcs;
mod s3;
mod signer;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method};
use object_store::client::{HttpRequest, HttpRequestBody, HttpResponse};
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectStore};
use tokio::time::timeout;

use self::signer::Signer;
use self::upload::Upload;
use super::connector::{Reach, StoreClient, Trust, describe};
use super::credentials::{Credentials, CredentialsError};
use super::error::{Action, Error, ErrorKind};
use super::list::{Artifact, Collector, Listing, MAX_PAGE_BYTES, PAGE_FILES, Page};
use super::protocol::Protocol;
use super::reading::Reading;
use super::settings::{BucketSettings, ProviderSettings};
use super::url::BucketUrl;

/// Longest time for a whole list.
const LIST_TIMEOUT: Duration = Duration::from_mins(2);

/// An open bucket. Cheap to clone; the clones share their connections.
#[derive(Clone, Debug)]
pub struct Store {
    settings: Arc<BucketSettings>,
    url: BucketUrl,
    /// Where lists are asked for.
    list_url: BucketUrl,
    client: StoreClient,
    protocol: Protocol,
    signer: Signer,
    upload: Upload,
    objects: Arc<dyn ObjectStore>,
}

impl Store {
    /// Opens a bucket. Sends no request, unless nobody names its region: then the store is asked for
    /// that.
    pub async fn open(
        settings: BucketSettings,
        credentials: Credentials,
        mut reach: Reach,
    ) -> Result<Self, Error> {
        if settings.skips_verification {
            reach.trust = Trust::Everything;
        }
        let settings = Arc::new(settings);
        let opened = match (&settings.provider, &credentials) {
            (ProviderSettings::Aws(aws), Credentials::Aws(credentials)) => {
                s3::open(&settings, aws, credentials, &reach).await
            }
            (ProviderSettings::Azure(azure), Credentials::Azure(credentials)) => {
                azure::open(&settings, azure, credentials, reach)
            }
            (ProviderSettings::Gcp(gcp), Credentials::Gcp(credentials)) => {
                gcs::open(&settings, gcp, credentials, reach)
            }
            _ => Err(CredentialsError::OtherProvider.into()),
        };
        opened.map_err(|kind| kind.during(Action::Open).of(settings.provider()))
    }

    /// Returns the region that requests are signed for; empty where there is none.
    pub fn region(&self) -> &str {
        match &self.protocol {
            Protocol::S3 { region } => region,
            Protocol::Azure | Protocol::Gcs => "",
        }
    }

    /// Returns what the bucket was opened with.
    pub fn settings(&self) -> &BucketSettings {
        &self.settings
    }

    /// Lists the files of `backup`. A backup that does not exist has none.
    pub async fn list(&self, backup: &str) -> Result<Listing, Error> {
        let listing = timeout(LIST_TIMEOUT, self.list_all(backup)).await;
        let listing = listing.unwrap_or(Err(ErrorKind::TooSlow));
        let backup = backup.to_owned();
        listing.map_err(|kind| self.failed(Action::List { backup }, kind))
    }

    async fn list_all(&self, backup: &str) -> Result<Listing, ErrorKind> {
        check_name(backup)?;
        let mut collector = Collector::new(self.settings.key(backup, ""));
        self.list_into(&mut collector).await?;
        collector.finish(self.settings.place())
    }

    /// Collects the keys that the collector is for. What it has before an error stays in it.
    pub(super) async fn list_into(&self, collector: &mut Collector) -> Result<(), ErrorKind> {
        let prefix = collector.prefix().to_owned();
        let mut token = None;
        loop {
            let (headers, page) = self
                .list_page(&prefix, PAGE_FILES, token.as_deref())
                .await?;
            token = collector.add(&headers, page)?;
            if token.is_none() {
                return Ok(());
            }
        }
    }

    /// Requests a page of the list of all keys that begin with `prefix`.
    pub(super) async fn list_page(
        &self,
        prefix: &str,
        files: usize,
        token: Option<&str>,
    ) -> Result<(HeaderMap, Page), ErrorKind> {
        let files = files.to_string();
        let query = self.protocol.list_query(prefix, &files, token);
        let url = self.list_url.with_query(&query);
        let answer = self.send(Method::GET, &url, &[], Bytes::new()).await;
        let answer = answer.map_err(|kind| match (kind, &self.protocol) {
            // Its JSON API answers alike for a bucket and for a file.
            (ErrorKind::NoFile, Protocol::Gcs) => ErrorKind::NoBucket,
            (kind, _) => kind,
        })?;
        let headers = answer.headers().clone();
        let body = self.client.read(answer, MAX_PAGE_BYTES).await?;
        Ok((headers, self.protocol.page(&body)?))
    }

    /// Signs a request and sends it.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<HttpResponse, ErrorKind> {
        let length = body.len();
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = method;
        if length > 0 {
            // Azure's signature covers it.
            request.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        let invalid = |_| ErrorKind::Malformed("its URL cannot be requested");
        *request.uri_mut() = url.parse().map_err(invalid)?;
        for (name, value) in headers {
            let invalid = |_| ErrorKind::Malformed("a header cannot be sent");
            request
                .headers_mut()
                .insert(*name, value.parse().map_err(invalid)?);
        }
        self.signer.sign(&mut request).await?;
        self.client.send(request).await
    }

    pub(super) fn failed(&self, action: Action, kind: ErrorKind) -> Error {
        kind.during(action).of(self.settings.provider())
    }

    /// Returns the URL of a file of `backup`.
    pub(super) fn file_url(&self, backup: &str, file: &str) -> String {
        self.url.of_key(&self.settings.key(backup, file))
    }

    /// Begins to read a file of `backup` that was listed.
    pub async fn read(&self, backup: &str, artifact: &Artifact) -> Result<Reading, Error> {
        let action = Action::Read {
            backup: backup.to_owned(),
            file: artifact.name.clone(),
        };
        let result = match self.get(backup, &artifact.name).await {
            Ok(result) => result,
            Err(kind) => return Err(self.failed(action, kind)),
        };
        if result.meta.size != artifact.size {
            let kind = ErrorKind::Size {
                listed: artifact.size,
                sent: result.meta.size,
            };
            return Err(self.failed(action, kind));
        }
        Ok(Reading::new(
            result.into_stream().boxed(),
            action,
            self.settings.provider(),
            artifact.size,
        ))
    }

    /// Reads a file of `backup` as a whole; `None` if there is none, or if it has more than `max` bytes.
    pub async fn read_small(
        &self,
        backup: &str,
        file: &str,
        max: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let action = Action::Read {
            backup: backup.to_owned(),
            file: file.to_owned(),
        };
        let result = match self.get(backup, file).await {
            Ok(result) if result.meta.size <= max => result,
            Ok(_) | Err(ErrorKind::NoFile) => return Ok(None),
            Err(kind) => return Err(self.failed(action, kind)),
        };
        let size = result.meta.size;
        let provider = self.settings.provider();
        let reading = Reading::new(result.into_stream().boxed(), action, provider, size);
        reading.bytes(size).await.map(Some)
    }

    /// Whether `backup` has `file` at this moment.
    pub async fn exists(&self, backup: &str, file: &str) -> Result<bool, Error> {
        // A HEAD has no body, so that it does not tell an absent file from an absent bucket.
        match self.get(backup, file).await {
            Ok(_) => Ok(true),
            Err(ErrorKind::NoFile) => Ok(false),
            Err(kind) => {
                let (backup, file) = (backup.to_owned(), file.to_owned());
                Err(self.failed(Action::Read { backup, file }, kind))
            }
        }
    }

    /// Requests a file. What is not read of it is not transferred.
    pub(super) async fn get(&self, backup: &str, file: &str) -> Result<GetResult, ErrorKind> {
        let path = self.path(backup, file)?;
        let result = self.objects.get_opts(&path, GetOptions::default()).await;
        result.map_err(
            |error| match (describe(&error), self.settings.customer_key()) {
                (ErrorKind::AccessDenied { code }, Some(_)) => {
                    ErrorKind::AccessOrCustomerKey { code }
                }
                (kind, _) => kind,
            },
        )
    }

    /// Deletes a file of `backup`, if there is one.
    pub async fn delete(&self, backup: &str, file: &str) -> Result<(), Error> {
        let deleted = match self.path(backup, file) {
            Ok(_) => {
                let url = self.file_url(backup, file);
                self.send(Method::DELETE, &url, &[], Bytes::new()).await
            }
            Err(kind) => Err(kind),
        };
        match deleted {
            Ok(_) | Err(ErrorKind::NoFile) => Ok(()),
            Err(kind) => {
                let (backup, file) = (backup.to_owned(), file.to_owned());
                Err(self.failed(Action::Delete { backup, file }, kind))
            }
        }
    }

    /// Returns the path of a file. Fails for keys that `object_store` cannot request; Velero has none.
    fn path(&self, backup: &str, file: &str) -> Result<Path, ErrorKind> {
        check_name(backup)?;
        let path = Path::parse(self.settings.key(backup, file));
        // A slash at the end would be lost.
        let path = path
            .ok()
            .filter(|_| !file.ends_with('/') && !file.is_empty());
        path.ok_or_else(|| ErrorKind::OddName {
            file: file.to_owned(),
        })
    }
}

/// Checks that a backup's name is one folder.
fn check_name(backup: &str) -> Result<(), ErrorKind> {
    if backup.is_empty() || backup.contains('/') || [".", ".."].contains(&backup) {
        let file = backup.to_owned();
        return Err(ErrorKind::OddName { file });
    }
    Ok(())
}
