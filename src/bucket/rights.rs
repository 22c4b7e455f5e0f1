//! What the credentials may do in a bucket, for `velero-trust doctor`.

use bytes::Bytes;
use http::Method;

use super::error::{Action, Error, ErrorKind};
use super::list::Collector;
use super::store::Store;

/// A folder in which Velero has no backup.
const NO_BACKUP: &str = "velero-trust-doctor";

/// A file of velero-trust in it, whose name a bucket policy for velero-trust's files allows.
const NO_FILE: &str = "velero-trust.0000000000000000.dsse.json";

/// The MD5 of something else than what is sent, in base64.
const WRONG_MD5: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// What the credentials may do: `Ok` for what they may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// List the files of backups.
    pub list: Result<(), Error>,
    /// Read them.
    pub get: Result<(), Error>,
    /// Write velero-trust's own.
    pub put: Result<(), Error>,
}

impl Store {
    /// Tries what the credentials may do. Nothing is stored: the upload carries a wrong checksum, which
    /// a store looks at after the rights.
    pub async fn rights(&self) -> Rights {
        let during = |action: Action| move |kind: ErrorKind| kind.during(action);
        let (backup, file) = (NO_BACKUP.to_owned(), NO_FILE.to_owned());
        let put = Action::Put {
            backup: backup.clone(),
            file: file.clone(),
        };
        let get = Action::Read {
            backup: backup.clone(),
            file,
        };
        Rights {
            list: self
                .try_list()
                .await
                .map_err(during(Action::List { backup })),
            get: self.try_get().await.map_err(during(get)),
            put: self.try_put().await.map_err(during(put)),
        }
    }

    async fn try_list(&self) -> Result<(), ErrorKind> {
        let prefix = self.settings().key(NO_BACKUP, "");
        let (headers, page) = self.list_page(&prefix, 1, None).await?;
        Collector::new(prefix).add(&headers, page).map(drop)
    }

    /// A store that lets nobody read also does not tell whether the file exists.
    async fn try_get(&self) -> Result<(), ErrorKind> {
        match self.get(NO_BACKUP, NO_FILE).await {
            Ok(_) | Err(ErrorKind::NoFile) => Ok(()),
            Err(kind) => Err(kind),
        }
    }

    async fn try_put(&self) -> Result<(), ErrorKind> {
        let url = self.file_url(NO_BACKUP, NO_FILE);
        let headers = [("content-md5", WRONG_MD5)];
        let body = Bytes::from_static(b"velero-trust doctor");
        match self.send(Method::PUT, &url, &headers, body).await {
            // A store that does not look at the checksum has stored it.
            Ok(_) => {
                let _ = self.delete(NO_BACKUP, NO_FILE).await;
                Ok(())
            }
            Err(ErrorKind::Answer { code, .. })
                if ["BadDigest", "InvalidDigest"].contains(&code.as_str()) =>
            {
                Ok(())
            }
            Err(kind) => Err(kind),
        }
    }
}
