//! Reads the certificates that every bundle holds: public roots and extra CAs, from files and from
//! labelled objects of our own namespace.

pub(super) mod labelled;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use kube::Client;
use tokio::sync::watch;
use tokio::time::interval;

use crate::ca::bundle::mozilla;
use crate::ca::certificate::Certificate;
use crate::ca::common_roots::{CommonRoots, ExtraCas};
use crate::ca::merged_bundle::{Contribution, Owner};
use crate::ca::pem::{self, Fault};
use crate::telemetry::LogOnce;

/// Interval at which the files are read again. A kubelet updates them by swapping a link beside
/// them.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// The set of public roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PublicRoots {
    /// The roots of Mozilla, which are compiled in.
    #[default]
    Mozilla,
    /// No roots.
    None,
    /// The roots in a PEM file.
    File(PathBuf),
}

/// Parses `mozilla`, `none`, or the path of a file.
impl FromStr for PublicRoots {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mozilla" => Ok(Self::Mozilla),
            "none" => Ok(Self::None),
            "" => Err("say `mozilla`, `none` or a file"),
            file => Ok(Self::File(file.into())),
        }
    }
}

/// The sources of the roots and extra CAs that the installation configures.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// The public roots.
    pub public: PublicRoots,
    /// PEM files with extra CAs.
    pub extra: Vec<PathBuf>,
}

/// Why a file with roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file is not a CA bundle.
    #[error("{0} is no CA bundle: {1}")]
    Invalid(PathBuf, String),
}

impl Roots {
    /// Reads the certificates in the files. Fails if any block of a file is broken.
    pub fn read(&self) -> Result<CommonRoots, RootsError> {
        let public: Arc<[Certificate]> = match &self.public {
            PublicRoots::Mozilla => mozilla().into(),
            PublicRoots::None => Arc::default(),
            PublicRoots::File(path) => read_certificates(path)?.into(),
        };
        let mut extra = ExtraCas::default();
        for path in &self.extra {
            let contribution = Contribution {
                certificates: read_certificates(path)?,
                is_complete: true,
            };
            extra.contributions.insert(file_owner(path), contribution);
        }
        Ok(CommonRoots { public, extra })
    }

    /// Keeps `sender` up to date with the files and the labelled objects of `namespace`. Never
    /// returns. `first` is the content of the files at the start. If a file becomes invalid, the
    /// last valid content of all files stays.
    pub async fn follow(
        self,
        first: CommonRoots,
        client: Client,
        namespace: String,
        sender: watch::Sender<Option<Arc<CommonRoots>>>,
    ) {
        let mut maps = labelled::watch(client.clone(), &namespace, labelled::config_map_data);
        let mut secrets = labelled::watch(client, &namespace, labelled::secret_data);
        // The roots wait until both kinds are listed or refused: without the permission to list
        // these objects, the bundle must not wait for them.
        let mut are_maps_settled = false;
        let mut are_secrets_settled = false;
        let mut files = first;
        let mut failures = LogOnce::default();
        let mut poll = interval(POLL_INTERVAL);
        loop {
            tokio::select! {
                _ = maps.changed() => are_maps_settled = true,
                _ = secrets.changed() => are_secrets_settled = true,
                _ = poll.tick() => match self.read() {
                    Ok(read) => {
                        files = read;
                        failures.clear();
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if failures.is_new(&error) {
                            tracing::error!(%error, "roots stay as they were");
                        }
                    }
                },
            }
            if are_maps_settled && are_secrets_settled {
                let mut roots = files.clone();
                for kind in [&maps, &secrets] {
                    match kind.last_known() {
                        None => roots.extra.has_unknown = true,
                        Some(objects) => objects
                            .values()
                            .for_each(|object| roots.extra.extend(object.clone())),
                    }
                }
                sender.send_if_modified(|now| {
                    let is_new = now.as_deref() != Some(&roots);
                    *now = Some(Arc::new(roots));
                    is_new
                });
            }
        }
    }
}

fn file_owner(path: &Path) -> Owner {
    Owner::Extra(format!("file {}", path.display()))
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, RootsError> {
    let bytes = fs::read(path).map_err(|error| RootsError::Unreadable(path.to_owned(), error))?;
    let contents = pem::read(&bytes);
    match contents.faults.first() {
        Some(fault) => Err(RootsError::Invalid(path.to_owned(), describe_fault(fault))),
        None => Ok(contents.certificates),
    }
}

/// Describes a fault, with its line.
fn describe_fault(fault: &Fault) -> String {
    format!("line {}: {}", fault.line, fault.kind)
}

#[cfg(test)]
mod tests;
