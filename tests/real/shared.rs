//! The cluster that trials share.

use anyhow::Result;
use libtest_mimic::{Failed, Trial};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use velero_trust_testing::cluster::Cluster;

/// The cluster, started when the first trial asks for it: `--list` and filters cost nothing.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<OnceLock<Result<Cluster, String>>>);

impl Shared {
    /// A trial on the shared cluster.
    pub(crate) fn trial(&self, name: &str, run: fn(&Cluster) -> Result<()>) -> Trial {
        let shared = self.clone();
        Trial::test(name, move || {
            run(shared.cluster()?).map_err(|error| readable(&error))
        })
    }

    fn cluster(&self) -> Result<&Cluster, &String> {
        self.0.get_or_init(start).as_ref()
    }
}

/// A trial that starts the servers it needs itself.
pub(crate) fn alone(name: &str, run: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || run().map_err(|error| readable(&error)))
}

fn start() -> Result<Cluster, String> {
    let started = Instant::now();
    let cluster = Cluster::start().map_err(|error| format!("the cluster did not start: {error:#}"));
    eprintln!(
        "the shared cluster took {:.1} s to start",
        started.elapsed().as_secs_f64()
    );
    cluster
}

/// With every cause: `Failed` would take the outermost only.
fn readable(error: &anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
