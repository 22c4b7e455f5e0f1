//! What the credentials may do in a bucket, for `velero-trust doctor`.

use super::error::{Action, Error, ErrorKind};
use super::list::Collector;
use super::store::Store;

/// A folder in which Velero has no backup.
const NO_BACKUP: &str = "velero-trust-doctor";

/// A file of velero-trust in it, whose name a bucket policy for velero-trust's files allows.
const NO_FILE: &str = "velero-trust.0000000000000000.dsse.json";

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
    /// Tries what the credentials may do. Nothing is stored.
    pub async fn rights(&self) -> Rights {
        let during = |action: Action| move |kind: ErrorKind| self.failed(action, kind);
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
            put: self.try_put(NO_BACKUP, NO_FILE).await.map_err(during(put)),
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
}
