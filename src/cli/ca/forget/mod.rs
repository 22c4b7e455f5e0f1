//! `velero-trust ca forget`: takes one retained CA out of bundles.
//!
//! The memory of a namespace is edited here, with the resourceVersion that was read as the
//! precondition, and the leader acts on it: it watches the memories, takes over what somebody
//! stored, and publishes the bundle without the CA. So whoever may write ConfigMaps in
//! velero-trust's own namespace may do this, which is who may add CAs there, and it outlives a
//! restart of the leader and needs none at the time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, sleep};

use super::fingerprint::FingerprintPrefix;
use super::selection::{Standing, select, standing};
use crate::ca::bundle::mozilla;
use crate::ca::bundle_issue::BundleIssue;
use crate::ca::certificate::{Certificate, Fingerprint};
use crate::ca::merged_bundle::Memory;
use crate::ca::pem;
use crate::cli::cluster::api_error;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::snapshot::require_exists;
use crate::cli::stdout::Stdout;
use crate::cli::{cluster, eprint_line, exit, install_crypto_provider, parse, runtime};
use crate::kubernetes::bundle;
use crate::kubernetes::memory_store::MemoryStore;
use crate::kubernetes::owned_config_map::SELECTOR;
use crate::names;

/// How often a memory is read again because the leader wrote it meanwhile.
const MAX_ATTEMPTS: usize = 5;

/// Time between two looks at a bundle.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

const AFTER_HELP: &str = "\
Exit codes:
  0  It is forgotten, or with --dry-run would be
  1  Something still names it in one of the namespaces, and it stays there
  2  Invalid usage, nothing retained has this fingerprint, or the command failed, at least for one
     of the namespaces";

/// Take one retained CA out of the bundle of Velero's namespaces
///
/// A CA that no BackupStorageLocation names any longer stays in the bundle for the retention, 7 days
/// by default. `velero-trust status` lists these CAs. This command removes one at once, for example
/// because it was wrong. A CA that something still names is refused. Processes that are running may
/// trust it until they are restarted.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Forget {
    /// SHA-256 of the CA, or its first digits, as `velero-trust status` prints it
    #[arg(value_name = "FINGERPRINT", value_parser = FingerprintPrefix::parse)]
    fingerprint: FingerprintPrefix,

    /// Namespace that Velero is installed in; can be repeated [default: all that velero-trust
    /// remembers CAs of]
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "VELERO_TRUST_VELERO_NAMESPACE",
        value_delimiter = ',',
        value_parser = parse::namespace
    )]
    velero_namespace: Vec<String>,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Print what would be forgotten, and change nothing
    #[arg(long, env = "VELERO_TRUST_CA_DRY_RUN")]
    dry_run: bool,

    /// Seconds to wait for the leader to publish the bundle without the CA; 0 does not wait
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        env = "VELERO_TRUST_CA_WAIT"
    )]
    wait: u64,
}

impl Forget {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        runtime()?.block_on(self.forget())
    }

    async fn forget(&self) -> anyhow::Result<u8> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let own = &self.own.namespace;
        let namespaces = if self.velero_namespace.is_empty() {
            remembered_namespaces(&client, own).await?
        } else {
            self.velero_namespace.iter().cloned().collect()
        };
        let mut stores = BTreeMap::new();
        let mut memories = BTreeMap::new();
        let mut code = exit::CLEAN;
        for namespace in namespaces {
            let mut store = MemoryStore::new(client.clone(), own, &namespace);
            match load(&mut store).await {
                Ok(memory) => {
                    if store.is_blank() {
                        self.require_memory(&client, &namespace).await?;
                    }
                    memories.insert(namespace.clone(), memory);
                    stores.insert(namespace, store);
                }
                Err(issue) => {
                    code = exit::ERROR;
                    eprint_line(&format!(
                        "velero-trust: {namespace} is left out: {}; `--velero-namespace` selects the \
                         others alone",
                        unreadable(own, &issue)
                    ));
                }
            }
        }
        let certificate = select(&memories, &self.fingerprint).map_err(|why| anyhow!(why))?;
        let mut out = Stdout::ignore_when_closed();
        let mut forgotten = Vec::new();
        for (namespace, memory) in memories {
            let mut entry = Entry {
                namespace: &namespace,
                memory,
            };
            let Some(store) = stores.get_mut(&namespace) else {
                continue;
            };
            let found = match entry.forget(store, &certificate, self.dry_run).await {
                Ok(found) => found,
                Err(error) => {
                    code = exit::ERROR;
                    eprint_line(&format!("velero-trust: {error:#}"));
                    continue;
                }
            };
            writeln!(
                out,
                "{}",
                describe(&namespace, &certificate, &found, self.dry_run)
            )?;
            match found {
                Standing::Named(_) => code = code.max(exit::FINDINGS),
                Standing::Retained(_) if !self.dry_run => forgotten.push(namespace),
                Standing::Retained(_) | Standing::Absent => {}
            }
        }
        self.wait_for_bundles(&client, &forgotten, certificate.fingerprint())
            .await?;
        if !forgotten.is_empty() {
            let note = "# processes that started before may trust it until they are restarted; if its key \
                        was stolen, restart Velero's Pods";
            writeln!(out, "{note}")?;
        }
        Ok(code)
    }

    /// Fails if `namespace`, which has no memory, was named and does not exist, or if it had a memory a
    /// moment ago.
    async fn require_memory(&self, client: &Client, namespace: &str) -> anyhow::Result<()> {
        if self.velero_namespace.is_empty() {
            bail!(deleted_meanwhile(namespace));
        }
        require_exists(client, namespace).await
    }

    async fn wait_for_bundles(
        &self,
        client: &Client,
        namespaces: &[String],
        fingerprint: Fingerprint,
    ) -> anyhow::Result<()> {
        let is_public = mozilla()
            .iter()
            .any(|root| root.fingerprint() == fingerprint);
        if is_public && !namespaces.is_empty() {
            eprint_line(
                "velero-trust: it is also a public root, so it stays in bundles that hold those",
            );
            return Ok(());
        }
        if self.wait == 0 {
            return Ok(());
        }
        let start = Instant::now();
        let longest = Duration::from_secs(self.wait);
        for namespace in namespaces {
            let mut was_told = false;
            while let Some(why) = still_in(client, namespace, fingerprint).await? {
                if start.elapsed() >= longest {
                    bail!(
                        "it is forgotten, but the bundle of {namespace} still holds it after {} s: {why}",
                        self.wait
                    );
                }
                if !std::mem::replace(&mut was_told, true) {
                    eprint_line(&format!(
                        "velero-trust: waiting for the leader to publish the bundle of {namespace} \
                         without it"
                    ));
                }
                sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(())
    }
}

/// The memory of a namespace.
struct Entry<'n> {
    namespace: &'n str,
    memory: Memory,
}

impl Entry<'_> {
    /// Takes the certificate out of the stored memory, unless something names it. Returns what was
    /// found. Reads the memory again where the leader wrote it meanwhile.
    async fn forget(
        &mut self,
        store: &mut MemoryStore,
        certificate: &Certificate,
        is_dry_run: bool,
    ) -> anyhow::Result<Standing> {
        let fingerprint = certificate.fingerprint();
        for _ in 0..MAX_ATTEMPTS {
            let found = standing(&self.memory, fingerprint);
            if is_dry_run || !matches!(found, Standing::Retained(_)) {
                return Ok(found);
            }
            self.memory.forget(fingerprint);
            match store.save(&self.memory).await {
                Ok(()) => return Ok(found),
                // Somebody else wrote or deleted it.
                Err(_) if !store.is_loaded() => {
                    let read = load(store).await;
                    self.memory = read.map_err(|issue| {
                        anyhow!(
                            "cannot read what is remembered of {}: {issue}",
                            self.namespace
                        )
                    })?;
                    if store.is_blank() {
                        bail!(deleted_meanwhile(self.namespace));
                    }
                }
                Err(issue) => bail!(
                    "cannot write what is remembered of {}: {issue}",
                    self.namespace
                ),
            }
        }
        bail!(
            "cannot write what is remembered of {}: it changed {MAX_ATTEMPTS} times meanwhile; try again",
            self.namespace
        )
    }
}

/// Reads a memory; it is empty if there is none.
async fn load(store: &mut MemoryStore) -> Result<Memory, BundleIssue> {
    Ok(store.load().await?.unwrap_or_default())
}

/// Says that a memory cannot be used.
fn unreadable(own: &str, issue: &BundleIssue) -> String {
    match issue {
        BundleIssue::MemoryFailed { config_map, reason } => {
            format!("cannot use what is remembered in ConfigMap {own}/{config_map}: {reason}")
        }
        other => other.to_string(),
    }
}

/// Says that the leader still knows the CAs of a memory that is not there.
fn deleted_meanwhile(namespace: &str) -> String {
    format!(
        "nothing was forgotten of {namespace}: somebody deleted its memory meanwhile, and the leader \
         writes it again with every CA; try again"
    )
}

/// Returns the namespaces that have a memory.
async fn remembered_namespaces(client: &Client, own: &str) -> anyhow::Result<BTreeSet<String>> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), own);
    let written = ListParams::default().labels(SELECTOR);
    let list = config_maps.list_metadata(&written).await.map_err(|error| {
        api_error("list", &format!("ConfigMaps in {own}"), &error)
            .context("name the namespace of Velero with --velero-namespace")
    })?;
    let names = list.items.iter().map(PartialObjectMeta::name_any);
    let namespaces =
        names.filter_map(|name| Some(name.strip_prefix(names::MEMORY_PREFIX)?.to_owned()));
    Ok(namespaces.collect())
}

/// Returns why the bundle of `namespace` still holds a certificate; `None` if it does not.
async fn still_in(
    client: &Client,
    namespace: &str,
    fingerprint: Fingerprint,
) -> anyhow::Result<Option<String>> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let map = config_maps.get_opt(names::BUNDLE).await.map_err(|error| {
        let object = format!("ConfigMap {namespace}/{}", names::BUNDLE);
        api_error("read", &object, &error).context(
            "it is forgotten, but whether the bundle is without it cannot be seen (`--wait=0` does not look)",
        )
    })?;
    let Some(map) = map.filter(|map| bundle::is_ours(&map.metadata)) else {
        return Ok(None);
    };
    let text = bundle::text(&map).unwrap_or_default();
    let mut certificates = pem::read(text.as_bytes()).certificates.into_iter();
    if !certificates.any(|one| one.fingerprint() == fingerprint) {
        return Ok(None);
    }
    let why = if bundle::is_immutable(&map) {
        format!(
            "somebody made it immutable; kubectl -n {namespace} delete configmap {} lets it be made again",
            names::BUNDLE
        )
    } else {
        "`velero-trust status` shows whether there is a leader, and what is wrong".to_owned()
    };
    Ok(Some(why))
}

/// Returns the line about a namespace.
fn describe(
    namespace: &str,
    certificate: &Certificate,
    found: &Standing,
    is_dry_run: bool,
) -> String {
    let ca = format!(
        "{} ({:.12})",
        certificate.subject(),
        certificate.fingerprint()
    );
    match found {
        Standing::Retained(until) => {
            let done = if is_dry_run {
                "would be forgotten"
            } else {
                "is forgotten"
            };
            let until = Timestamp::from_second(*until);
            let until = until.map_or_else(
                |_| String::new(),
                |until| format!(" that was retained until {until}"),
            );
            format!("{namespace}: {ca}{until} {done}")
        }
        Standing::Named(by) => format!(
            "{namespace}: {ca} stays: {} names it, or named it when its CA could last be read; remove it \
             there first",
            by.join(", ")
        ),
        Standing::Absent => format!("{namespace}: {ca} is not remembered here"),
    }
}

#[cfg(test)]
mod tests;
