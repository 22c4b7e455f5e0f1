//! Day one: what the page says to do about backups from before the installation is done, command by
//! command, and each gives what the page shows.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::installer;
use velero_trust_testing::wait::{self, PATIENCE};

use super::Scene;
use crate::shared::binary;

/// The chapter of `docs/records.md`.
const CHAPTER: &str = "\n## Day one\n";

/// A command of the page, and the lines that the page shows of its output.
#[derive(Debug)]
pub(super) struct Command {
    words: Vec<String>,
    shown: Vec<String>,
}

/// Returns the commands of the page, in order.
pub(super) fn commands() -> Result<Vec<Command>> {
    let page = installer::manifests().join("../docs/records.md");
    let page = fs::read_to_string(page)?;
    let (_, chapter) = page.split_once(CHAPTER).context("no such chapter")?;
    let chapter = chapter.split("\n## ").next().unwrap_or_default();
    let blocks = chapter.split("```console\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    let mut commands = Vec::new();
    for line in blocks.flat_map(str::lines) {
        if let Some(command) = line.strip_prefix("$ ") {
            let words = shlex::split(command).context("no words")?;
            let shown = Vec::new();
            commands.push(Command { words, shown });
        } else {
            let command = commands.last_mut().context("output of nothing")?;
            command.shown.push(line.to_owned());
        }
    }
    Ok(commands)
}

impl Command {
    /// Whether it says whether old backups are recorded.
    pub(super) fn sets(&self, value: &str) -> bool {
        let setting = format!("VELERO_TRUST_RECORD_EXISTING={value}");
        self.words.contains(&setting)
    }

    /// Runs the command as an administrator, again and again until it shows what the page shows.
    pub(super) fn run(&self, scene: &Scene) -> Result<()> {
        let (program, arguments) = self.words.split_first().context("no program")?;
        let kubeconfig = Some(scene.servers.kubeconfig());
        let ours = Cli::new(binary().to_owned(), kubeconfig)?;
        let program = match program.as_str() {
            "kubectl" => &scene.servers.kubectl,
            "velero-trust" => &ours,
            other => anyhow::bail!("the page runs {other}"),
        };
        wait::poll(&format!("{:?}", self.words), PATIENCE, || {
            let output = program.run(arguments)?;
            for line in &self.shown {
                let is_shown = output.stdout.lines().any(|said| is_like(said, line));
                ensure!(is_shown, "it does not say `{line}`: {output:?}");
            }
            ensure!(
                !self.shown.is_empty() || output.code == Some(0),
                "{output:?}"
            );
            Ok(())
        })
    }
}

/// Whether `said` is the line `shown`, where `…` stands for anything and white space does not count.
fn is_like(said: &str, shown: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (said, shown) = (words(said), words(shown));
    let mut parts = shown.split('…').map(str::trim);
    let mut rest = match said.strip_prefix(parts.next().unwrap_or_default()) {
        Some(rest) if shown.contains('…') => rest,
        Some(rest) => return rest.is_empty(),
        None => return false,
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// Returns the options of the server that the Deployment's container sets by variables.
pub(super) fn options(scene: &Scene) -> Result<BTreeMap<String, String>> {
    let deployments =
        Api::<Deployment>::namespaced(scene.servers.client.clone(), installer::NAMESPACE);
    let deployment = deployments.get("velero-trust");
    let deployment = scene.servers.runtime.block_on(deployment)?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec);
    let container = pod.and_then(|pod| pod.containers.into_iter().next());
    let variables = container.and_then(|container| container.env);
    let variables = variables.into_iter().flatten();
    let options = variables.filter(|variable| variable.name.starts_with("VELERO_TRUST_"));
    Ok(options
        .map(|variable| (variable.name, variable.value.unwrap_or_default()))
        .collect())
}
