//! Certificates from two files, read again when they change.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use aws_lc_rs::digest::{self, SHA256};

use super::CertificateSender;
use super::pair::{Pair, PairError, Validated};
use crate::clock::now;
use crate::telemetry::LogOnce;

/// A kubelet keeps the files of a volume in a folder of their own, this link points to it, and
/// each file is a link through it. An update makes a new folder and moves the link.
const KUBELET_LINK: &str = "..data";

/// A certificate and its key in two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why files gave no pair that may be served.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// They were read, and are not good.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// One cannot be read.
    #[error("the file `{path}` cannot be read; check the path and who may read it", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Files {
    /// The pair in these two files.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
        }
    }

    /// Reads the files as they are now and judges them.
    pub fn load(&self) -> Result<Validated, FileError> {
        self.validate(&self.read()?)
    }

    /// Reads the files again every `pause` (10 s is a good one) and publishes what changed, for
    /// ever. A pair that may not be served is told and counted, and the last good one stays;
    /// so is the expiry of the served one, which is still better than none.
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
            // The wall clock is asked anew each time: a timer set for an expiry would stand
            // still while the machine is suspended.
            tokio::time::sleep(pause).await;
        }
    }

    fn read(&self) -> Result<Contents, FileError> {
        let (certificate, key) = self.resolve();
        let certificate = read(&certificate, &self.certificate)?;
        let key = read(&key, &self.key)?;
        Ok(Contents { certificate, key })
    }

    /// The files behind a kubelet's link, looked up once for both, so that an update between the
    /// two reads cannot mix an old certificate with a new key.
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
        Ok(Validated::new(pair, now())?)
    }
}

fn read(path: &Path, given: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::Unreadable {
        path: given.to_owned(),
        source,
    })
}

struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Contents {
    /// What the contents are recognised by; the key itself is not kept.
    fn digest(&self) -> [Vec<u8>; 2] {
        [&self.certificate, &self.key].map(|part| digest::digest(&SHA256, part).as_ref().to_vec())
    }
}

struct Follower {
    files: Files,
    sender: CertificateSender,
    served: Validated,
    /// Of the files whose pair is served; none before the first poll.
    digest: Option<[Vec<u8>; 2]>,
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

/// An error and its causes in one line.
fn error_chain(error: &FileError) -> String {
    match error {
        FileError::Pair(pair) => pair.to_string(),
        FileError::Unreadable { source, .. } => format!("{error}: {source}"),
    }
}
