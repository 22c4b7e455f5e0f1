//! What every bundle holds: public roots and extra CAs, from files and from labelled objects of our
//! own namespace.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{interval, sleep};

use crate::ca::base::Base;
use crate::ca::bundle::mozilla;
use crate::ca::certificate::Certificate;
use crate::ca::keeping::{Owner, Share, Shares};
use crate::ca::pem::{self, Fault};
use crate::kubernetes::trouble;
use crate::names::EXTRA_CA_LABEL;

/// How often the files are read again: a kubelet swaps a link beside them.
const POLL: Duration = Duration::from_secs(10);

/// How often we try again to watch what we may not.
const REFUSED: Duration = Duration::from_secs(30);

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
    pub fn read(&self) -> Result<Base, BadRoots> {
        let public: Arc<[Certificate]> = match &self.public {
            PublicRoots::Mozilla => mozilla().into(),
            PublicRoots::None => Arc::default(),
            PublicRoots::File(path) => read(path)?.into(),
        };
        let mut extra = Shares::new();
        for path in &self.extra {
            let share = Share {
                certificates: read(path)?,
                whole: true,
            };
            extra.insert(owner(path), share);
        }
        Ok(Base { public, extra })
    }

    /// Keeps `sender` at what the files and the labelled objects of `namespace` hold; never
    /// returns. `first` is what the files held at the start. A file that breaks stays as it was.
    pub async fn follow(
        self,
        first: Base,
        client: Client,
        namespace: String,
        sender: watch::Sender<Option<Arc<Base>>>,
    ) {
        let (maps, mut seen_maps) = watch::channel(None);
        let (secrets, mut seen_secrets) = watch::channel(None);
        let labelled_maps = labelled(client.clone(), &namespace, maps, data_of_map);
        let labelled_secrets = labelled(client, &namespace, secrets, data_of_secret);
        let gather = async {
            let mut files = first;
            let mut trouble = String::new();
            let mut poll = interval(POLL);
            loop {
                let objects = [
                    seen_maps.borrow_and_update().clone(),
                    seen_secrets.borrow_and_update().clone(),
                ];
                if let [Some(maps), Some(secrets)] = objects {
                    let mut base = files.clone();
                    base.extra.extend(maps);
                    base.extra.extend(secrets);
                    sender.send_if_modified(|now| {
                        let is_new = now.as_deref() != Some(&base);
                        *now = Some(Arc::new(base));
                        is_new
                    });
                }
                // Their senders live as long as this loop.
                tokio::select! {
                    _ = seen_maps.changed() => {}
                    _ = seen_secrets.changed() => {}
                    _ = poll.tick() => match self.read() {
                        Ok(read) => files = read,
                        Err(error) => {
                            let error = error.to_string();
                            if error != trouble {
                                tracing::error!(%error, "roots stay as they were");
                                trouble = error;
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

/// What a labelled object holds, by key.
type Data = Vec<(String, Vec<u8>)>;

pub(super) fn data_of_map(map: ConfigMap) -> Data {
    let texts = map.data.unwrap_or_default().into_iter();
    let texts = texts.map(|(key, text)| (key, text.into_bytes()));
    let bytes = map.binary_data.unwrap_or_default().into_iter();
    texts
        .chain(bytes.map(|(key, value)| (key, value.0)))
        .collect()
}

fn data_of_secret(secret: Secret) -> Data {
    let data = secret.data.unwrap_or_default().into_iter();
    data.map(|(key, value)| (key, value.0)).collect()
}

/// Keeps `sender` at what the labelled objects of one kind hold. Each key is an owner of its own.
async fn labelled<K>(
    client: Client,
    namespace: &str,
    sender: watch::Sender<Option<Shares>>,
    data: fn(K) -> Data,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let kind = K::kind(&());
    let objects = Api::<K>::namespaced(client, namespace);
    let only = Config::default().labels(&format!("{EXTRA_CA_LABEL}=true"));
    let mut watch = watcher(objects, only).default_backoff().boxed();
    let mut now = Shares::new();
    let mut was_refused = false;
    while let Some(event) = watch.next().await {
        match event {
            Ok(Event::Init) => now.clear(),
            Ok(Event::InitApply(object)) => {
                add(&mut now, &kind, &object.name_any(), data(object));
            }
            Ok(Event::InitDone) => {
                sender.send_replace(Some(now.clone()));
            }
            Ok(Event::Apply(object)) => {
                remove(&mut now, &kind, &object.name_any());
                add(&mut now, &kind, &object.name_any(), data(object));
                sender.send_replace(Some(now.clone()));
            }
            Ok(Event::Delete(object)) => {
                remove(&mut now, &kind, &object.name_any());
                sender.send_replace(Some(now.clone()));
            }
            Err(error) if trouble::is_refused(&error) => {
                if !was_refused {
                    tracing::warn!(%kind, namespace, "may not watch objects labelled {EXTRA_CA_LABEL}");
                }
                was_refused = true;
                sender.send_if_modified(|shares| shares.replace(Shares::new()).is_none());
                sleep(REFUSED).await;
            }
            Err(error) => tracing::debug!(%kind, %error, "cannot watch"),
        }
    }
}

fn prefix(kind: &str, name: &str) -> String {
    format!("{kind} {name} key ")
}

/// Adds what a labelled object holds, each key as an owner of its own.
pub(super) fn add(
    shares: &mut Shares,
    kind: &str,
    name: &str,
    data: impl IntoIterator<Item = (String, Vec<u8>)>,
) {
    let prefix = prefix(kind, name);
    for (key, bytes) in data {
        let contents = pem::read(&bytes);
        let name = format!("{prefix}{key}");
        if let Some(fault) = contents.faults.first() {
            let fault = said(fault);
            tracing::error!(
                extra = name,
                fault,
                "extra CA left out as far as it is broken"
            );
        }
        let share = Share {
            whole: contents.faults.is_empty(),
            certificates: contents.certificates,
        };
        shares.insert(Owner::Extra(name), share);
    }
}

fn remove(shares: &mut Shares, kind: &str, name: &str) {
    let prefix = prefix(kind, name);
    shares.retain(|owner, _| !matches!(owner, Owner::Extra(name) if name.starts_with(&prefix)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::bundle::merge;

    #[test]
    fn a_file_that_is_no_bundle_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let roots = Roots {
            public: PublicRoots::File(file.clone()),
            extra: vec![],
        };
        let why = |roots: &Roots| roots.read().unwrap_err().to_string();
        assert!(why(&roots).starts_with("cannot read"), "{}", why(&roots));
        fs::write(&file, "nothing").unwrap();
        assert!(why(&roots).contains("is no CA bundle"), "{}", why(&roots));
        fs::write(&file, merge(&mozilla()[..2]).text).unwrap();
        assert_eq!(roots.read().unwrap().public.len(), 2);
        let extra = Roots {
            public: PublicRoots::None,
            extra: vec![file],
        };
        let base = extra.read().unwrap();
        assert_eq!((base.public.len(), base.bundle().bundle.count), (0, 2));
    }

    #[test]
    fn each_key_of_a_labelled_object_is_an_owner() {
        let map: ConfigMap = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "corp"},
            "data": {"a": merge(&mozilla()[..1]).text, "b": "broken"},
        }))
        .unwrap();
        let mut shares = Shares::new();
        add(&mut shares, "ConfigMap", "corp", data_of_map(map));
        let said: Vec<_> = shares
            .iter()
            .map(|(owner, share)| (owner.to_string(), share.certificates.len(), share.whole))
            .collect();
        let wanted = [
            ("ConfigMap corp key a".to_owned(), 1, true),
            ("ConfigMap corp key b".to_owned(), 0, false),
        ];
        assert_eq!(said, wanted);
        remove(&mut shares, "ConfigMap", "cor");
        assert_eq!(shares.len(), 2);
        remove(&mut shares, "ConfigMap", "corp");
        assert!(shares.is_empty());
    }

    #[test]
    fn says_which_roots_are_public() {
        assert_eq!("mozilla".parse(), Ok(PublicRoots::Mozilla));
        assert_eq!("none".parse(), Ok(PublicRoots::None));
        assert_eq!("/x".parse(), Ok(PublicRoots::File("/x".into())));
        assert!("".parse::<PublicRoots>().is_err());
    }
}
