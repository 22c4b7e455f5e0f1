//! `velero-trust keys list`: the TrustedKeys of the cluster.

use clap::Args;
use kube::ResourceExt;
use serde::Serialize;

use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::output_format::OutputFormat;
use crate::cli::snapshot::{self, exported_at, public_key, signing_key};
use crate::cli::stdout::Stdout;
use crate::cli::table::Table;
use crate::cli::{cluster, exit, install_crypto_provider, json, runtime};
use crate::kubernetes::crds::{KeyState, TrustedKey};

/// List the keys that verify backups in this cluster
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Output format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_KEYS_OUTPUT"
    )]
    output: OutputFormat,
}

/// A TrustedKey.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    /// Null if the key cannot be used.
    key_id: Option<String>,
    algorithm: Option<String>,
    state: KeyState,
    /// Whether it is the key that signs in this cluster.
    signs: bool,
    /// When a person exported its private half.
    exported_at: Option<String>,
    public_key: String,
    /// Why the key cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Digits of a key id where there is little room.
const SHORT_ID: usize = 16;

#[derive(Serialize)]
struct Json<'a> {
    keys: &'a [Row],
}

impl List {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let keys = runtime()?.block_on(async {
            let client = cluster::connect_to(&self.cluster, &self.own).await?;
            let keys = snapshot::read_trusted_keys(&client).await;
            keys.map_err(|error| error.explain("TrustedKeys"))
        })?;
        let rows = rows(&keys);
        let mut out = Stdout::fail_when_closed();
        match self.output {
            OutputFormat::Json => json::write(&Json { keys: &rows }, &mut out)?,
            OutputFormat::Text => out.write_lines(&text(&rows, SHORT_ID), |_| None)?,
            OutputFormat::Wide => out.write_lines(&text(&rows, usize::MAX), |_| None)?,
        }
        Ok(exit::CLEAN)
    }
}

fn rows(keys: &[TrustedKey]) -> Vec<Row> {
    let signs = signing_key(keys).map(ResourceExt::name_any);
    let rows = keys.iter().map(|key| {
        let public = public_key(key);
        let known = public.as_ref().ok();
        Row {
            name: key.name_any(),
            key_id: known.map(|key| key.id().to_string()),
            algorithm: known.map(|key| key.algorithm().to_string()),
            state: key.spec.state,
            signs: signs.as_deref() == Some(&*key.name_any()),
            exported_at: exported_at(key).map(|at| at.to_string()),
            public_key: key.spec.public_key.clone(),
            problem: public.as_ref().err().map(ToString::to_string),
        }
    });
    rows.collect()
}

/// Returns the table, with at most `digits` of each key id. Names are not cut, because other commands take them.
fn text(rows: &[Row], digits: usize) -> String {
    let short = |id: &str| match id.get(..digits) {
        Some(short) if short != id => format!("{short}…"),
        _ => id.to_owned(),
    };
    let mut table = Table::new(&["NAME", "ALGORITHM", "STATE", "SIGNS", "EXPORTED", "KEY ID"]);
    for row in rows {
        let problem = row.problem.as_ref();
        let id = problem.map(|problem| format!("cannot be used: {problem}"));
        table.row([
            row.name.clone(),
            row.algorithm.clone().unwrap_or_default(),
            format!("{:?}", row.state),
            if row.signs { "yes" } else { "no" }.to_owned(),
            row.exported_at.clone().unwrap_or_else(|| "no".to_owned()),
            row.key_id.as_deref().map(short).or(id).unwrap_or_default(),
        ]);
    }
    if table.is_empty() {
        return "There is no TrustedKey yet: the leader makes a key before it records the first backup.\n"
            .to_owned();
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey;
    use serde_json::json;

    #[test]
    fn each_key_has_a_row_and_one_that_cannot_be_used_says_why() {
        let signing = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        let key = |name: &str, pem: &str| {
            let labels = json!({"app.kubernetes.io/managed-by": "velero-trust"});
            let labels = if name == "own" { labels } else { json!({}) };
            let annotations = json!({"velero-trust.io/exported-at": "2026-01-01T00:00:00Z"});
            let key = json!({
                "metadata": {"name": name, "labels": labels, "annotations": annotations},
                "spec": {"publicKey": pem, "state": "VerifyOnly"},
            });
            serde_json::from_value::<TrustedKey>(key).unwrap()
        };
        let mut own = key("own", &signing.public_pem());
        own.spec.state = KeyState::Active;
        let rows = rows(&[own, key("broken", "x\u{1b}[2J")]);
        let text = text(&rows, usize::MAX);
        let id = signing.public().id();
        let own =
            format!("own      ECDSA-P256   Active       yes     2026-01-01T00:00:00Z   {id}\n");
        assert!(text.contains(&own), "{text}");
        let short = super::text(&rows, SHORT_ID);
        let id = id.to_string();
        assert!(short.contains(&format!("  {}…\n", &id[..16])), "{short}");
        assert!(
            text.contains("cannot be used: it is not a public key in PEM"),
            "{text}"
        );
        let json = serde_json::to_value(Json { keys: &rows }).unwrap();
        assert_eq!(json["keys"][0]["keyId"], id);
        assert_eq!(json["keys"][1]["state"], "VerifyOnly");
        assert!(super::text(&[], 120).starts_with("There is no TrustedKey yet"));
    }
}
