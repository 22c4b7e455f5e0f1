//! A serving certificate from two files, and the CAs of clients from a third one, which are read
//! again when they change.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use aws_lc_rs::digest::{self, SHA256};

use super::CertificateSender;
use super::clients::ClientAuthorities;
use super::pair::{Pair, PairError, Validated};
use crate::clock::now;
use crate::telemetry::LogOnce;

/// The symlink through which a kubelet updates the files of a volume. It points to a folder with
/// the current files, and each file is a symlink through it. An update creates a new folder and
/// swaps the link.
const KUBELET_LINK: &str = "..data";

/// The files of a certificate and its private key, and of the CAs of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// Why the files yield no pair that may be served.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The files were read, but the pair is not usable.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// A file cannot be read.
    #[error("the file `{path}` cannot be read; check the path and who may read it", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Files {
    /// Creates a pair of files. Nothing is read yet.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: None,
        }
    }

    /// Lets only clients connect that have a certificate of a CA in this file.
    #[must_use]
    pub fn with_client_ca(self, client_ca: Option<PathBuf>) -> Self {
        Self { client_ca, ..self }
    }

    /// Reads the files and validates the pair.
    pub fn load(&self) -> Result<Validated, FileError> {
        self.validate(&self.read()?)
    }

    /// Reads the files every `pause` (10 s is reasonable) and publishes each change; never returns.
    /// A pair that may not be served is logged and counted, and the last good one stays. An expired
    /// certificate is logged too, and still served, which is better than none.
    pub async fn follow(self, first: Validated, sender: CertificateSender, pause: Duration) {
        let mut follower = Follower {
            files: self,
            sender,
            served: first,
            digest: None,
            failure: LogOnce::default(),
        };
        loop {
            follower.poll().await;
            // The wall clock is read on every poll: a timer set for the expiry would stand still
            // while the machine is suspended.
            tokio::time::sleep(pause).await;
        }
    }

    fn read(&self) -> Result<Contents, FileError> {
        let (certificate, key) = self.resolve();
        let certificate = read(&certificate, &self.certificate)?;
        let key = read(&key, &self.key)?;
        let client_ca = self.client_ca.as_ref();
        let client_ca = client_ca.map(|path| read(path, path)).transpose()?;
        Ok(Contents {
            certificate,
            key,
            client_ca,
        })
    }

    /// Resolves a kubelet's link once for both files, so that an update between the two reads
    /// cannot mix an old certificate with a new key.
    fn resolve(&self) -> (PathBuf, PathBuf) {
        let given = || (self.certificate.clone(), self.key.clone());
        let folder = self.certificate.parent();
        if folder != self.key.parent() {
            return given();
        }
        let generation = folder.and_then(|folder| fs::canonicalize(folder.join(KUBELET_LINK)).ok());
        let names = self.certificate.file_name().zip(self.key.file_name());
        match generation.zip(names) {
            Some((generation, (certificate, key))) => {
                let found = (generation.join(certificate), generation.join(key));
                if found.0.exists() && found.1.exists() {
                    found
                } else {
                    given()
                }
            }
            None => given(),
        }
    }

    fn validate(&self, contents: &Contents) -> Result<Validated, FileError> {
        let pair = Pair {
            certificate_name: &self.certificate.display().to_string(),
            certificate: &contents.certificate,
            key_name: &self.key.display().to_string(),
            key: &contents.key,
        };
        let clients = self.client_ca.as_ref().zip(contents.client_ca.as_ref());
        let clients = clients
            .map(|(path, pem)| ClientAuthorities::parse(&path.display().to_string(), pem))
            .transpose()?;
        Ok(Validated::new(pair, clients.as_ref(), now())?)
    }
}

pub(super) fn read(path: &Path, given: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::Unreadable {
        path: given.to_owned(),
        source,
    })
}

struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    /// Returns what identifies the contents without keeping the key itself.
    fn digest(&self) -> [Vec<u8>; 3] {
        let client_ca = self.client_ca.as_deref().unwrap_or_default();
        [&self.certificate, &self.key, client_ca]
            .map(|part| digest::digest(&SHA256, part).as_ref().to_vec())
    }
}

struct Follower {
    files: Files,
    sender: CertificateSender,
    served: Validated,
    /// Digest of the files whose pair is served; none before the first poll.
    digest: Option<[Vec<u8>; 3]>,
    failure: LogOnce,
}

impl Follower {
    async fn poll(&mut self) {
        let files = self.files.clone();
        let served = self.digest.clone();
        let read = move || -> Result<_, FileError> {
            let contents = files.read()?;
            let digest = contents.digest();
            if served.as_ref() == Some(&digest) {
                return Ok(None);
            }
            Ok(Some((files.validate(&contents)?, digest)))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(Some((next, digest)))) => {
                self.sender.publish(&next);
                self.served = next;
                self.digest = Some(digest);
                self.failure.clear();
                let certificate = self.files.certificate.display();
                tracing::info!(%certificate, "the serving certificate was loaded");
            }
            Ok(Ok(None)) if self.served.not_after() < now() => {
                self.log_failure("the serving certificate has expired; it is still served");
            }
            Ok(Ok(None)) => self.failure.clear(),
            Ok(Err(error)) => {
                self.sender.failed();
                self.log_failure(&error_chain(&error));
            }
            Err(panic) => {
                self.sender.failed();
                self.log_failure(&panic.to_string());
            }
        }
    }

    fn log_failure(&mut self, error: &str) {
        if self.failure.is_new(error) {
            tracing::error!(error, "no new serving certificate; the last good one stays");
        }
    }
}

/// Returns an error and its causes in one line.
pub(super) fn error_chain(error: &FileError) -> String {
    match error {
        FileError::Pair(pair) => pair.to_string(),
        FileError::Unreadable { source, .. } => format!("{error}: {source}"),
    }
}
