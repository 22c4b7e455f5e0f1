//! A TrustedKey as `velero-trust keys show` shows it.

use std::fmt::Write as _;

use anyhow::Context as _;
use kube::ResourceExt as _;
use serde::Serialize;

use super::fingerprint;
use crate::cli::snapshot::{exported_at, public_key};
use crate::decision::{KeyScope, KeyState};
use crate::digest::Sha256;
use crate::kubernetes::crds::TrustedKey;
use crate::names;

/// A TrustedKey, for scripts and for people.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    name: String,
    pub(super) key_id: Sha256,
    /// The key id in groups of four.
    fingerprint: String,
    algorithm: String,
    state: KeyState,
    /// Whether it is the key that signs in this cluster.
    signs: bool,
    valid_until: Option<String>,
    revoked_at: Option<String>,
    /// Why a person revoked it.
    revoked_because: Option<String>,
    scope: KeyScope,
    same_bucket_only: bool,
    /// When a person exported its private half.
    exported_at: Option<String>,
    public_key: String,
}

impl View {
    /// Returns what is shown of `key`.
    pub(super) fn of(key: &TrustedKey, signs: bool) -> anyhow::Result<Self> {
        let name = key.name_any();
        let public = public_key(key);
        let public = public.with_context(|| format!("the TrustedKey {name} cannot be used"))?;
        let because = key.annotations().get(names::REVOKED_BECAUSE).cloned();
        let spec = &key.spec;
        Ok(Self {
            name,
            key_id: public.id(),
            fingerprint: fingerprint::lines(public.id()).join(" "),
            algorithm: public.algorithm().to_string(),
            state: spec.state,
            signs,
            valid_until: spec.valid_until.as_ref().map(|time| time.0.to_string()),
            revoked_at: spec.revoked_at.as_ref().map(|time| time.0.to_string()),
            revoked_because: because.filter(|_| spec.state == KeyState::Revoked),
            scope: spec.scope.clone(),
            same_bucket_only: spec.same_bucket_only,
            exported_at: exported_at(key).map(|at| at.to_string()),
            public_key: spec.public_key.clone(),
        })
    }

    /// Returns the lines for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<13}{value}");
        };
        row("name:", &self.name);
        row("key id:", &self.key_id.to_string());
        row("algorithm:", &self.algorithm);
        row("state:", &self.state_text());
        row("counts for:", &self.scope_text());
        if self.signs {
            let exported = self.exported_at.as_deref();
            row(
                "exported:",
                exported.unwrap_or("no; nobody has a copy of it"),
            );
        }
        let mut name = "fingerprint:";
        for line in fingerprint::lines(self.key_id) {
            row(name, &line);
            name = "";
        }
        text
    }

    fn state_text(&self) -> String {
        let state = self.state.as_str();
        match self.state {
            KeyState::Active | KeyState::VerifyOnly => {
                let signs = if self.signs {
                    ", and signs in this cluster"
                } else {
                    ""
                };
                let until = self.valid_until.as_ref().map_or_else(String::new, |until| {
                    format!(", for backups that completed until {until}")
                });
                format!("{state}{signs}{until}")
            }
            KeyState::Revoked => {
                let because = self.revoked_because.as_ref();
                let because = because.map_or_else(String::new, |because| format!(": {because}"));
                match &self.revoked_at {
                    Some(at) => {
                        format!("{state}, but for what was recorded here before {at}{because}")
                    }
                    None => format!("{state}{because}"),
                }
            }
        }
    }

    fn scope_text(&self) -> String {
        let KeyScope {
            namespaces,
            locations,
            backups,
            levels,
        } = &self.scope;
        let levels: Vec<String> = levels.iter().map(|level| level.name().to_owned()).collect();
        let parts = [
            ("namespaces", namespaces),
            ("locations", locations),
            ("backups", backups),
            ("levels", &levels),
        ];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let mut parts: Vec<String> = parts
            .map(|(what, names)| format!("{what} {}", names.join(", ")))
            .collect();
        if parts.is_empty() {
            parts.push("all backups".to_owned());
        }
        if self.same_bucket_only {
            parts.push("in the bucket that is signed".to_owned());
        }
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey;

    fn text(spec: &serde_json::Value, signs: bool) -> String {
        let signing = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        let mut key = json!({
            "metadata": {"name": "a", "annotations": {names::REVOKED_BECAUSE: "stolen"}},
            "spec": {"publicKey": signing.public_pem()},
        });
        json_patch::merge(&mut key["spec"], spec);
        let key = serde_json::from_value(key).unwrap();
        let view = View::of(&key, signs).unwrap();
        let digits: String = view.fingerprint.split(' ').collect();
        assert_eq!(digits, signing.public().id().to_string());
        view.text()
    }

    #[test]
    fn a_key_is_shown_with_what_it_counts_for() {
        let own = text(&json!({}), true);
        assert!(
            own.contains("state:       Active, and signs in this cluster\n"),
            "{own}"
        );
        assert!(own.contains("counts for:  all backups\n"), "{own}");
        assert!(own.contains("exported:    no; nobody"), "{own}");
        let last: Vec<_> = own.lines().rev().take(2).collect();
        assert!(last[1].starts_with("fingerprint: ") && last[0].starts_with("             "));
        assert!(own.lines().all(|line| line.len() <= 80), "{own}");

        let time = "2026-01-01T00:00:00Z";
        let scope = json!({"namespaces": ["velero"], "levels": ["observed", "late"]});
        let other = json!({
            "state": "VerifyOnly", "validUntil": time, "scope": scope, "sameBucketOnly": true,
        });
        let other = text(&other, false);
        let until = format!("VerifyOnly, for backups that completed until {time}\n");
        assert!(
            other.contains(&until) && !other.contains("exported"),
            "{other}"
        );
        let counts = "namespaces velero; levels observed, late; in the bucket that is signed\n";
        assert!(other.contains(counts), "{other}");
        let revoked = text(&json!({"state": "Revoked", "revokedAt": time}), false);
        let why = format!("Revoked, but for what was recorded here before {time}: stolen\n");
        assert!(revoked.contains(&why), "{revoked}");
    }
}
