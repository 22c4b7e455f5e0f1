//! An open bucket.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Method};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody, HttpResponse};
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectStore as _, PutOptions, TagSet};
use tokio::time::timeout;

use super::connector::{Peer, Reach, StoreClient, Trust, describe};
use super::credentials::identity::no_retries;
use super::credentials::{Credentials, CustomerKey};
use super::error::{Action, Error, ErrorKind};
use super::list::{Artifact, Collector, Listing, MAX_PAGE_BYTES, PAGE_FILES};
use super::reading::Reading;
use super::settings::{BucketSettings, Checksum, Encryption};
use super::url::BucketUrl;

/// The region of a bucket that no one names.
const USUAL_REGION: &str = "us-east-1";

/// Longest time for a whole list.
const LIST_TIMEOUT: Duration = Duration::from_mins(2);

/// An open bucket. Cheap to clone; the clones share their connections.
#[derive(Clone, Debug)]
pub struct Store {
    settings: Arc<BucketSettings>,
    url: BucketUrl,
    region: String,
    client: StoreClient,
    credentials: AwsCredentialProvider,
    s3: AmazonS3,
}

impl Store {
    /// Opens a bucket. Sends no request, unless nobody names its region: then the store is asked for
    /// that.
    pub async fn open(
        settings: BucketSettings,
        credentials: Credentials,
        mut reach: Reach,
    ) -> Result<Self, Error> {
        let open = |kind: ErrorKind| kind.during(Action::Open);
        if settings.skips_verification {
            reach.trust = Trust::Everything;
        }
        // For AWS itself the plugin asks for the bucket's region, whatever the profile says.
        let of_profile = || credentials.region.clone().filter(|_| !settings.is_at_aws());
        let named = settings.region.clone().or_else(of_profile);
        let in_region =
            |region: &str| Self::in_region(&settings, &credentials, reach.clone(), region);
        if let Some(region) = named {
            return in_region(&region).map_err(open);
        }
        let store = in_region(USUAL_REGION).map_err(open)?;
        match store.list_page(&settings.folder(), 1, None).await {
            Err(ErrorKind::WrongRegion {
                expected: Some(region),
                ..
            }) => in_region(&region).map_err(open),
            // A store looks at the region before the rights.
            Ok(_) | Err(ErrorKind::AccessDenied { .. }) => Ok(store),
            Err(kind) => Err(open(kind)),
        }
    }

    fn in_region(
        settings: &BucketSettings,
        credentials: &Credentials,
        reach: Reach,
        region: &str,
    ) -> Result<Self, ErrorKind> {
        let url = settings.url(region)?;
        let peer = Peer::Store {
            region: region.to_owned(),
        };
        let client = StoreClient::new(&settings.namespace, reach, peer)?;
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(region)
            // The URL is the bucket's own, wherever the bucket is in it.
            .with_endpoint(url.as_str())
            .with_virtual_hosted_style_request(true)
            .with_allow_http(!url.is_https)
            .with_credentials(Arc::clone(&credentials.provider))
            .with_disable_bulk_delete(true)
            .with_retry(no_retries())
            .with_http_connector(client.clone());
        let builder = encrypting(
            builder,
            &settings.encryption,
            credentials.customer_key.as_ref(),
        );
        let builder = match settings.checksum {
            None => builder,
            Some(Checksum::Sha256) => {
                builder.with_checksum_algorithm(object_store::aws::Checksum::SHA256)
            }
            Some(Checksum::Crc64Nvme) => {
                builder.with_checksum_algorithm(object_store::aws::Checksum::CRC64NVME)
            }
        };
        Ok(Self {
            s3: builder.build().map_err(|error| describe(&error))?,
            settings: Arc::new(settings.clone()),
            url,
            region: region.to_owned(),
            client,
            credentials: Arc::clone(&credentials.provider),
        })
    }

    /// Returns the region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.region
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
        listing.map_err(|kind| kind.during(Action::List { backup }))
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
            let (headers, body) = self
                .list_page(&prefix, PAGE_FILES, token.as_deref())
                .await?;
            token = collector.add(&headers, &body)?;
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
    ) -> Result<(HeaderMap, Bytes), ErrorKind> {
        let files = files.to_string();
        // Keys may contain characters that XML cannot.
        let mut query = vec![("list-type", "2"), ("encoding-type", "url")];
        query.extend([("max-keys", files.as_str()), ("prefix", prefix)]);
        query.extend(token.map(|token| ("continuation-token", token)));
        let url = self.url.with_query(&query);
        let answer = self.send(Method::GET, &url, &[], Bytes::new()).await?;
        let headers = answer.headers().clone();
        let body = self.client.read(answer, MAX_PAGE_BYTES).await?;
        Ok((headers, body))
    }

    /// Signs a request and sends it.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<HttpResponse, ErrorKind> {
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = method;
        let invalid = |_| ErrorKind::Malformed("its URL cannot be requested");
        *request.uri_mut() = url.parse().map_err(invalid)?;
        for (name, value) in headers {
            let invalid = |_| ErrorKind::Malformed("a header cannot be sent");
            request
                .headers_mut()
                .insert(*name, value.parse().map_err(invalid)?);
        }
        let keys = self.credentials.get_credential().await;
        let keys = keys.map_err(|error| describe(&error))?;
        AwsAuthorizer::new(&keys, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| describe(&error))?;
        self.client.send(request).await
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
            Err(kind) => return Err(kind.during(action)),
        };
        if result.meta.size != artifact.size {
            let kind = ErrorKind::Size {
                listed: artifact.size,
                sent: result.meta.size,
            };
            return Err(kind.during(action));
        }
        Ok(Reading::new(
            result.into_stream().boxed(),
            action,
            artifact.size,
        ))
    }

    /// Whether `backup` has `file` at this moment.
    pub async fn exists(&self, backup: &str, file: &str) -> Result<bool, Error> {
        // A HEAD has no body, so that it does not tell an absent file from an absent bucket.
        match self.get(backup, file).await {
            Ok(_) => Ok(true),
            Err(ErrorKind::NoFile) => Ok(false),
            Err(kind) => Err(kind.during(Action::Read {
                backup: backup.to_owned(),
                file: file.to_owned(),
            })),
        }
    }

    /// Requests a file. What is not read of it is not transferred.
    pub(super) async fn get(&self, backup: &str, file: &str) -> Result<GetResult, ErrorKind> {
        let path = self.path(backup, file)?;
        let result = self.s3.get_opts(&path, GetOptions::default()).await;
        result.map_err(
            |error| match (describe(&error), &self.settings.encryption) {
                (ErrorKind::AccessDenied { code }, Encryption::CustomerKey(_)) => {
                    ErrorKind::AccessOrCustomerKey { code }
                }
                (kind, _) => kind,
            },
        )
    }

    /// Writes a file of `backup`, or replaces it, with the encryption, tags and checksum of the BSL.
    pub async fn put(&self, backup: &str, file: &str, content: Vec<u8>) -> Result<(), Error> {
        let put = async {
            let path = self.path(backup, file)?;
            let mut tags = TagSet::default();
            for (name, value) in &self.settings.tags {
                tags.push(name, value);
            }
            let options = PutOptions {
                tags,
                ..PutOptions::default()
            };
            let put = self.s3.put_opts(&path, content.into(), options).await;
            put.map(drop).map_err(|error| describe(&error))
        };
        put.await.map_err(|kind: ErrorKind| {
            kind.during(Action::Put {
                backup: backup.to_owned(),
                file: file.to_owned(),
            })
        })
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
            Err(kind) => Err(kind.during(Action::Delete {
                backup: backup.to_owned(),
                file: file.to_owned(),
            })),
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

fn encrypting(
    builder: AmazonS3Builder,
    encryption: &Encryption,
    customer_key: Option<&CustomerKey>,
) -> AmazonS3Builder {
    match encryption {
        Encryption::Bucket => builder,
        // The variant of this key is not public.
        Encryption::Algorithm(name) => match "aws_server_side_encryption".parse() {
            Ok(key) => builder.with_config(key, *name),
            Err(_) => builder,
        },
        Encryption::Kms { key_id } => builder.with_sse_kms_encryption(key_id),
        Encryption::CustomerKey(_) => match customer_key {
            Some(CustomerKey(key)) => builder.with_ssec_encryption(STANDARD.encode(key)),
            None => builder,
        },
    }
}
