//! What every bundle holds: public roots and extra CAs, from files and from labelled objects of our
//! own namespace.

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
use crate::ca::common_roots::CommonRoots;
use crate::ca::merged_bundle::{Contribution, Contributions, Owner};
use crate::ca::pem::{self, Fault};

/// How often the files are read again: a kubelet swaps a link beside them.
const POLL: Duration = Duration::from_secs(10);

/// Which roots are public.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PublicRoots {
    /// Those of Mozilla, compiled in.
    #[default]
    Mozilla,
    /// None.
    None,
    /// Those of a PEM file.
    File(PathBuf),
}

/// `mozilla`, `none`, or a file.
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

/// Where the roots and extra CAs that were given at installation are.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// The public roots.
    pub public: PublicRoots,
    /// PEM files with extra CAs.
    pub extra: Vec<PathBuf>,
}

/// A file of roots that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BadRoots {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It is no CA bundle.
    #[error("{0} is no CA bundle: {1}")]
    Bad(PathBuf, String),
}

impl Roots {
    /// What the files hold; an error when one of them is not whole.
    pub fn read(&self) -> Result<CommonRoots, BadRoots> {
        let public: Arc<[Certificate]> = match &self.public {
            PublicRoots::Mozilla => mozilla().into(),
            PublicRoots::None => Arc::default(),
            PublicRoots::File(path) => read(path)?.into(),
        };
        let mut extra = Contributions::new();
        for path in &self.extra {
            let contribution = Contribution {
                certificates: read(path)?,
                whole: true,
            };
            extra.insert(owner(path), contribution);
        }
        Ok(CommonRoots { public, extra })
    }

    /// Keeps `sender` at what the files and the labelled objects of `namespace` hold; never
    /// returns. `first` is what the files held at the start. A file that breaks stays as it was.
    pub async fn follow(
        self,
        first: CommonRoots,
        client: Client,
        namespace: String,
        sender: watch::Sender<Option<Arc<CommonRoots>>>,
    ) {
        let (maps, mut seen_maps) = watch::channel(None);
        let (secrets, mut seen_secrets) = watch::channel(None);
        let labelled_maps =
            labelled::follow(client.clone(), &namespace, maps, labelled::data_of_map);
        let labelled_secrets =
            labelled::follow(client, &namespace, secrets, labelled::data_of_secret);
        let gather = async {
            let mut files = first;
            let mut kind = String::new();
            let mut poll = interval(POLL);
            loop {
                let objects = [
                    seen_maps.borrow_and_update().clone(),
                    seen_secrets.borrow_and_update().clone(),
                ];
                if let [Some(maps), Some(secrets)] = objects {
                    let mut common_roots = files.clone();
                    common_roots.extra.extend(maps);
                    common_roots.extra.extend(secrets);
                    sender.send_if_modified(|now| {
                        let is_new = now.as_deref() != Some(&common_roots);
                        *now = Some(Arc::new(common_roots));
                        is_new
                    });
                }
                // Their senders live as long as this loop.
                tokio::select! {
                    _ = seen_maps.changed() => {}
                    _ = seen_secrets.changed() => {}
                    _ = poll.tick() => match self.read() {
                        Ok(read) => {
                            files = read;
                            kind.clear();
                        }
                        Err(error) => {
                            let error = error.to_string();
                            if error != kind {
                                tracing::error!(%error, "roots stay as they were");
                                kind = error;
                            }
                        }
                    },
                }
            }
        };
        tokio::join!(gather, labelled_maps, labelled_secrets);
    }
}

fn owner(path: &Path) -> Owner {
    Owner::Extra(format!("file {}", path.display()))
}

fn read(path: &Path) -> Result<Vec<Certificate>, BadRoots> {
    let bytes = fs::read(path).map_err(|error| BadRoots::Unreadable(path.to_owned(), error))?;
    let contents = pem::read(&bytes);
    match contents.faults.first() {
        Some(fault) => Err(BadRoots::Bad(path.to_owned(), said(fault))),
        None => Ok(contents.certificates),
    }
}

/// What is wrong, with the line.
fn said(fault: &Fault) -> String {
    format!("line {}: {}", fault.line, fault.kind)
}

#[cfg(test)]
mod tests;
