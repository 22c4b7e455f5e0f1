//! Uploads of files.

use bytes::Bytes;
use http::Method;
use object_store::{PutOptions, TagSet};

use super::Store;
use crate::bucket::connector::describe;
use crate::bucket::error::{Action, Error, ErrorKind};
use crate::bucket::url::BucketUrl;

/// The MD5 of something else than what is sent, in base64.
const WRONG_MD5: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// How files are uploaded.
#[derive(Clone, Debug)]
pub(super) enum Upload {
    /// To the URL of the file, with these headers.
    Put(&'static [(&'static str, &'static str)]),
    /// By the JSON API of Google Cloud Storage.
    Media {
        /// Where it takes files.
        url: BucketUrl,
        /// The key of the key management service that they are encrypted with.
        kms_key: Option<String>,
    },
}

impl Store {
    /// Writes a file of `backup`, or replaces it, with the encryption, tags and checksum of the BSL.
    pub async fn put(&self, backup: &str, file: &str, content: Vec<u8>) -> Result<(), Error> {
        let put = match &self.upload {
            Upload::Put(_) => self.put_object(backup, file, content).await,
            Upload::Media { url, kms_key } => {
                let key = kms_key.as_deref();
                let more: Vec<_> = key.map(|key| ("kmsKeyName", key)).into_iter().collect();
                self.post_media(url, backup, file, &more, content.into())
                    .await
            }
        };
        put.map_err(|kind| {
            let (backup, file) = (backup.to_owned(), file.to_owned());
            self.failed(Action::Put { backup, file }, kind)
        })
    }

    async fn put_object(
        &self,
        backup: &str,
        file: &str,
        content: Vec<u8>,
    ) -> Result<(), ErrorKind> {
        let path = self.path(backup, file)?;
        let mut tags = TagSet::default();
        for (name, value) in self.settings.tags() {
            tags.push(name, value);
        }
        let options = PutOptions {
            tags,
            ..PutOptions::default()
        };
        let put = self.objects.put_opts(&path, content.into(), options).await;
        put.map(drop).map_err(|error| describe(&error))
    }

    async fn post_media(
        &self,
        url: &BucketUrl,
        backup: &str,
        file: &str,
        more: &[(&str, &str)],
        content: Bytes,
    ) -> Result<(), ErrorKind> {
        self.path(backup, file)?;
        let key = self.settings.key(backup, file);
        let mut query = vec![("uploadType", "media"), ("name", key.as_str())];
        query.extend(more);
        let headers = [("content-type", "application/octet-stream")];
        let url = url.with_query(&query);
        let post = self.send(Method::POST, &url, &headers, content).await;
        post.map(drop).map_err(|kind| match kind {
            // It answers alike for a bucket and for a file.
            ErrorKind::NoFile => ErrorKind::NoBucket,
            kind => kind,
        })
    }

    /// Tries whether a file may be written, without writing one. It is an upload that a store refuses after
    /// it looked at the rights: with a wrong checksum, or on a condition that does not hold.
    pub(in crate::bucket) async fn try_put(
        &self,
        backup: &str,
        file: &str,
    ) -> Result<(), ErrorKind> {
        let content = Bytes::from_static(b"velero-trust doctor");
        let put = match &self.upload {
            Upload::Put(headers) => {
                let mut all = vec![("content-md5", WRONG_MD5)];
                all.extend_from_slice(headers);
                let url = self.file_url(backup, file);
                self.send(Method::PUT, &url, &all, content).await.map(drop)
            }
            Upload::Media { url, .. } => {
                let condition = [("ifGenerationMatch", "1")];
                self.post_media(url, backup, file, &condition, content)
                    .await
            }
        };
        match put {
            // A store that does not look at it has stored the file.
            Ok(()) => {
                let _ = self.delete(backup, file).await;
                Ok(())
            }
            Err(ErrorKind::Answer { code, .. })
                if ["BadDigest", "InvalidDigest", "Md5Mismatch"].contains(&code.as_str()) =>
            {
                Ok(())
            }
            Err(ErrorKind::Changed) if matches!(self.upload, Upload::Media { .. }) => Ok(()),
            Err(kind) => Err(kind),
        }
    }
}
