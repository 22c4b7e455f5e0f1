//! `velero-trust backup adopt`: vouches for backups that are not recorded by themselves.

mod progress;
mod target;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Args;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::progress::{Progress, progress};
use self::target::{Standing, Target};
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::snapshot::Records;
use crate::cli::stdout::Stdout;
use crate::cli::{
    cluster, eprint_line, exit, install_crypto_provider, parse, print_error, runtime,
};
use crate::integrity::checksum::Checksum;
use crate::kubernetes::backup;
use crate::kubernetes::client::{Identity, user_name};
use crate::kubernetes::error::lookup_error;
use crate::names::{ADOPT_ANNOTATION, ATTEST_ROLE, DECLARED_CHECKSUM_ANNOTATION};
use crate::velero::observed_backup::MAX_ADOPTION_BYTES;

const AFTER_HELP: &str = "\
Exit codes:
  0  All of the backups are recorded, or their checksum is declared
  1  Some are not; or --all was given without --yes, and there are some
  2  Invalid usage, or the command failed";

/// Time between two looks at the records.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How often what was removed is asked again.
const MAX_ASKED: usize = 3;

/// Vouch for backups, so that their files are recorded as they are
///
/// For backups that velero-trust does not record by itself, such as those that Velero synced into a
/// fresh cluster. Their files are read and signed as they are in the bucket at that moment, with your
/// name. Look at them before: whoever could write to the bucket could change them. The API server
/// admits it if you have the verb `attest` on backups.velero.io.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Adopt {
    /// Names of the Backups
    #[arg(
        value_name = "NAME",
        value_parser = parse::object,
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    names: Vec<String>,

    /// Vouch for every complete backup that is not recorded and could be; without `--yes`, only list
    /// them
    #[arg(long)]
    all: bool,

    /// With `--all`: vouch for those that are listed
    #[arg(long, requires = "all")]
    yes: bool,

    /// Declare the checksum of the tarball, which is neither read nor signed; for one backup whose store
    /// velero-trust cannot read
    #[arg(long, value_name = "sha256:HEX", value_parser = checksum, conflicts_with = "all")]
    checksum: Option<String>,

    /// Namespace that Velero is installed in [default: the only one with a Backup of this name]
    #[arg(
        long,
        value_name = "NAMESPACE",
        value_parser = parse::namespace,
        env = "VELERO_TRUST_BACKUP_VELERO_NAMESPACE"
    )]
    velero_namespace: Option<String>,

    /// Wait up to SECONDS until the backups are recorded
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        env = "VELERO_TRUST_BACKUP_ADOPT_WAIT"
    )]
    wait: u64,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

fn checksum(text: &str) -> Result<String, String> {
    let checksum = Checksum::parse(text);
    checksum
        .map(|_| text.to_owned())
        .map_err(|error| format!("it {error}"))
}

/// What a user asks for.
struct Asked {
    client: Client,
    user: String,
    checksum: Option<String>,
}

impl Adopt {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        if self.checksum.is_some() && self.names.len() > 1 {
            bail!("--checksum is that of one backup; name one");
        }
        runtime()?.block_on(self.adopt())
    }

    async fn adopt(&self) -> anyhow::Result<u8> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let mut out = Stdout::ignore_when_closed();
        let targets = target::find(&client, &self.names, self.velero_namespace.as_deref()).await?;
        let mut to_adopt = Vec::new();
        let mut code = exit::CLEAN;
        for (target, standing) in targets {
            match standing {
                Standing::Recorded(how) if !self.all => writeln!(out, "{target}: {how}")?,
                Standing::NotNow(why) if !self.all => {
                    print_error(&anyhow::anyhow!("{target}: {why}"));
                    code = exit::FINDINGS;
                }
                Standing::Adoptable(why) => to_adopt.push((target, why)),
                // Who wants one that came back names it.
                Standing::Hindered(why) | Standing::Returned(why) if !self.all => {
                    to_adopt.push((target, why));
                }
                Standing::Recorded(_)
                | Standing::Hindered(_)
                | Standing::Returned(_)
                | Standing::NotNow(_) => {}
            }
        }
        let is_listed = self.all && !self.yes;
        for (target, why) in &to_adopt {
            let line = format!("{target}: {why}");
            if is_listed {
                writeln!(out, "{line}")?;
            } else {
                eprint_line(&format!("velero-trust: {line}"));
            }
        }
        if to_adopt.is_empty() {
            return Ok(code);
        }
        if is_listed {
            eprint_line("velero-trust: to vouch for what is in these backups, add --yes");
            return Ok(exit::FINDINGS);
        }
        let user = user_name(&client).await;
        let user = user.map_err(|error| anyhow::anyhow!(lookup_error(&error).message))?;
        let user = user.unwrap_or_default();
        ensure!(
            (1..=MAX_ADOPTION_BYTES).contains(&user.len()),
            "the API server knows you by a name of {} bytes, and a record holds {MAX_ADOPTION_BYTES}",
            user.len()
        );
        let asked = Asked {
            client,
            user,
            checksum: self.checksum.clone(),
        };
        let mut waited_for = Vec::new();
        for (target, _) in to_adopt {
            match asked.set(&target).await {
                Ok(()) => waited_for.push(target),
                Err(error) => {
                    print_error(&anyhow::anyhow!("{target}: {error}"));
                    code = exit::FINDINGS;
                }
            }
        }
        let is_done = asked
            .wait(waited_for, Duration::from_secs(self.wait), &mut out)
            .await?;
        Ok(if is_done { code } else { exit::FINDINGS })
    }
}

impl Asked {
    /// Writes on a Backup that the user vouches for it.
    async fn set(&self, target: &Target) -> Result<(), String> {
        let resource = backup::resource();
        let backups = Api::<DynamicObject>::namespaced_with(
            self.client.clone(),
            &target.namespace,
            &resource,
        );
        let patch = json!({
            "metadata": {
                // It is that of the Backup that was looked at.
                "uid": target.uid,
                "annotations": {
                    ADOPT_ANNOTATION: self.user,
                    DECLARED_CHECKSUM_ANNOTATION: self.checksum,
                },
            },
        });
        let patch = Patch::Merge(&patch);
        let patched = backups
            .patch(&target.name, &PatchParams::default(), &patch)
            .await;
        let Err(error) = patched else {
            return Ok(());
        };
        let why = lookup_error(&error).message;
        if !matches!(&error, kube::Error::Api(status) if status.code == 403) {
            return Err(why);
        }
        let identity = Identity::default();
        let subject = identity.subject(&self.client).await;
        Err(format!(
            "{why}; to grant it: kubectl create clusterrolebinding velero-trust-attest-{} \
             --clusterrole={ATTEST_ROLE} {subject}",
            target.namespace
        ))
    }

    /// Waits until the backups are recorded, and says so of each. Returns whether all are.
    async fn wait(
        &self,
        targets: Vec<Target>,
        patience: Duration,
        out: &mut Stdout,
    ) -> anyhow::Result<bool> {
        let deadline = Instant::now() + patience;
        let mut waiting: BTreeMap<_, _> = targets
            .into_iter()
            .map(|target| (target, (1, String::new())))
            .collect();
        let mut are_all_done = true;
        while !waiting.is_empty() {
            let backups = target::read(&self.client, waiting.keys()).await?;
            let records = Records::read(&self.client).await;
            let records = records.map_err(|error| error.explain("records"))?;
            let is_over = Instant::now() >= deadline;
            let mut still = BTreeMap::new();
            for (target, (asked, said)) in waiting {
                let backup = backups.get(&target);
                let records = records.of(&target.namespace, &target.name);
                let why = match progress(backup, records, self.checksum.as_deref()) {
                    Progress::Done(how) => {
                        writeln!(out, "{target}: {how}")?;
                        continue;
                    }
                    Progress::Waiting(why) if !is_over => {
                        if why != said {
                            eprint_line(&format!("velero-trust: waiting for {target}: {why}"));
                        }
                        still.insert(target, (asked, why));
                        continue;
                    }
                    Progress::AskAgain if asked < MAX_ASKED => match self.set(&target).await {
                        Ok(()) => {
                            still.insert(target, (asked + 1, said));
                            continue;
                        }
                        Err(why) => why,
                    },
                    Progress::Failed(why) => why,
                    Progress::AskAgain => format!("something removes {ADOPT_ANNOTATION}"),
                    Progress::Waiting(why) => {
                        format!("not recorded within {} s: {why}", patience.as_secs())
                    }
                };
                print_error(&anyhow::anyhow!("{target}: {why}"));
                are_all_done = false;
            }
            waiting = still;
            if !waiting.is_empty() {
                sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(are_all_done)
    }
}
