//! What is noted on Restores.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use velero_trust_testing::cli::Output;
use velero_trust_testing::wait;

use super::{Bed, OWN_ACCOUNT, VELERO, annotation, passed, patch_of, refused, rights, role, words};

/// What the messages of the policies begin with.
const VERDICT: &str = "no Restore may come with the annotation velero-trust.io/verdict";
const UNSTAMPED: &str = "velero-trust.io/accepted-by and accepted-with need a reason";
const NO_VERB: &str = "jane has not the verb of velero-trust.io/accepted-with";
const ACCEPTED: &str = "velero-trust.io/accepted-by and accepted-with are written when";
const BEGUN: &str = "velero-trust.io/verdict is written when Velero begins";

const ADMIN: &[&str] = &["--as=admin", "--as-group=system:masters"];
const JANE: &[&str] = &["--as=jane"];

/// The annotations that are noted when a Restore is created.
const STAMPS: [&str; 2] = ["accepted-by", "accepted-with"];

impl Bed {
    /// The policies for Restores are enforced.
    pub(super) fn are_restores_held(&self) -> Result<()> {
        let forged = restore("forged", &json!({"verdict": "x"}), "");
        refused(&self.dry_run(&forged, &[])?, VERDICT)?;
        let probe = restore("probe", &json!({}), "New").to_string();
        self.kubectl()
            .run_with_input(&["apply", "-f", "-"], &probe)?;
        let dry_run = ["--dry-run=server"];
        let forged = self.change("probe", &annotation("verdict", "x"), &dry_run)?;
        refused(&forged, BEGUN)?;
        let as_us = [&dry_run[..], &[&self.account]].concat();
        let labelled = json!({"metadata": {"labels": {"a": "b"}}});
        refused(&self.change("probe", &labelled, &as_us)?, OWN_ACCOUNT)
    }

    pub(super) fn restores(&self) -> Result<()> {
        self.new_restores()?;
        self.our_account_and_restores()?;
        self.noted_restores()
    }

    fn change(&self, name: &str, change: &Value, more: &[&str]) -> Result<Output> {
        let patch = patch_of(&format!("restore/{name}"), change, more);
        self.kubectl().run(&words(&patch))
    }

    /// Nobody brings a verdict, or the name of somebody else.
    fn new_restores(&self) -> Result<()> {
        let stamped = |by: &str, with: &str| json!({"accept-insecure": "why", "accepted-by": by, "accepted-with": with});
        for (annotations, says) in [
            (json!({"verdict": "x"}), VERDICT),
            (json!({"accepted-by": "admin"}), UNSTAMPED),
            (json!({"accepted-with": "restore-unverified"}), UNSTAMPED),
            (
                json!({"accepted-by": "admin", "accepted-with": "restore-unverified"}),
                UNSTAMPED,
            ),
            (stamped("jane", "restore-unverified"), UNSTAMPED),
            (
                json!({"accept-insecure": "why", "accepted-with": "restore-unverified"}),
                UNSTAMPED,
            ),
            (stamped("admin", "get"), "admin has not the verb"),
        ] {
            let forged = restore("forged", &annotations, "");
            let output = self.dry_run(&forged, ADMIN)?;
            refused(&output, says).with_context(|| annotations.to_string())?;
        }
        for annotations in [
            json!({}),
            json!({"accept-insecure": "why"}),
            json!({"backup-checksum": "x", "reconcile-requested-at": "x", "other": "x"}),
            stamped("admin", "restore-unverified"),
            stamped("admin", "restore-tampered"),
        ] {
            let plain = restore("plain", &annotations, "");
            let output = self.dry_run(&plain, ADMIN)?;
            passed(&output).with_context(|| annotations.to_string())?;
        }
        Ok(())
    }

    /// Our account asks Velero to try again, and changes nothing else.
    fn our_account_and_restores(&self) -> Result<()> {
        let mut stored = restore("ours", &json!({"verdict-before": "x"}), "New");
        stored["metadata"]["annotations"]["note"] = json!("x");
        passed(&self.kubectl().create(&stored.to_string())?)?;
        let as_us: &[&str] = &[&self.account];
        for change in [
            json!({"spec": {"backupName": "other"}}),
            json!({"status": {"phase": "InProgress"}}),
            json!({"metadata": {"labels": {"a": "b"}}}),
            json!({"metadata": {"finalizers": ["example.com/x"]}}),
            json!({"metadata": {"annotations": {"note": null}}}),
            json!({"metadata": {"annotations": {"note": "y"}}}),
            annotation("checksum", "x"),
            annotation("adopt", "x"),
            annotation("accept-insecure", "x"),
            annotation("backup-checksum", "x"),
        ] {
            let refusal = self.change("ours", &change, as_us)?;
            refused(&refusal, OWN_ACCOUNT).with_context(|| change.to_string())?;
        }
        // Two policies refuse these.
        for key in ["verdict", "accepted-by", "accepted-with"] {
            let refusal = self.change("ours", &annotation(key, "x"), as_us)?;
            refused(&refusal, "denied request: velero-trust").with_context(|| key.to_owned())?;
        }
        let nudge = |value: Value| json!({"metadata": {"annotations": {"velero-trust.io/reconcile-requested-at": value}}});
        for value in [json!("1"), json!("2"), json!(null)] {
            passed(&self.change("ours", &nudge(value), as_us)?)?;
        }
        // Of a Backup, that is none of ours.
        let backup = patch_of("backup/probe", &nudge(json!("x")), as_us);
        refused(&self.kubectl().run(&words(&backup))?, OWN_ACCOUNT)
    }

    /// What is noted stays; the verdict comes with the write in which Velero begins the Restore.
    fn noted_restores(&self) -> Result<()> {
        let phase = |phase: &str| json!({"status": {"phase": phase}});
        let noted = |change: &Value, key: &str, value: Value| {
            let mut noted =
                json!({"metadata": {"annotations": {format!("velero-trust.io/{key}"): value}}});
            json_patch::merge(&mut noted, change);
            noted
        };
        let phases = [
            "",
            "New",
            "InProgress",
            "FailedValidation",
            "Failed",
            "Completed",
        ];
        for (index, old) in phases.into_iter().enumerate() {
            let name = format!("noted-{index}");
            passed(
                &self
                    .kubectl()
                    .create(&restore(&name, &json!({}), old).to_string())?,
            )?;
            for new in phases {
                let context = || format!("{old:?} to {new:?}");
                let change = match new {
                    "" => json!({"status": {"phase": null}}),
                    new => phase(new),
                };
                let dry_run = ["--dry-run=server"];
                // Whatever Velero writes passes.
                passed(&self.change(&name, &change, &dry_run)?).with_context(context)?;
                let is_waiting = |phase| ["", "New"].contains(&phase);
                let is_begun = if is_waiting(old) {
                    !is_waiting(new) && new != "FailedValidation"
                } else {
                    new == "InProgress" && old != "InProgress"
                };
                let begun = noted(&change, "verdict", json!("x"));
                let output = self.change(&name, &begun, &dry_run)?;
                let checked = if is_begun {
                    passed(&output)
                } else {
                    refused(&output, BEGUN)
                };
                checked.with_context(context)?;
                for key in STAMPS {
                    let output = self.change(&name, &noted(&change, key, json!("x")), &dry_run)?;
                    refused(&output, ACCEPTED).with_context(context)?;
                }
            }
        }
        self.notes_stay()
    }

    /// What is noted is neither changed nor taken away, by anybody. Everything else may change.
    fn notes_stay(&self) -> Result<()> {
        let stamps = json!({
            "accept-insecure": "why", "accepted-by": "admin", "accepted-with": "restore-tampered",
        });
        let object = restore("stamped", &stamps, "New").to_string();
        let create = [&["create", "-f", "-"][..], ADMIN].concat();
        passed(&self.kubectl().run_with_input(&create, &object)?)?;
        let begin = json!({
            "metadata": {"annotations": {"velero-trust.io/verdict": "x"}},
            "status": {"phase": "InProgress"},
        });
        passed(&self.change("stamped", &begin, &[])?)?;
        passed(&self.change("stamped", &json!({"status": {"phase": "Completed"}}), &[])?)?;
        for (keys, says) in [(&STAMPS[..], ACCEPTED), (&["verdict"], BEGUN)] {
            for key in keys {
                for value in [json!("y"), json!(null)] {
                    let change = json!({"metadata": {"annotations": {format!("velero-trust.io/{key}"): value}}});
                    for user in [&[][..], ADMIN] {
                        let output = self.change("stamped", &change, user)?;
                        refused(&output, says).with_context(|| change.to_string())?;
                    }
                }
            }
        }
        for change in [
            annotation("reconcile-requested-at", "x"),
            json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/x"]}}),
            json!({"metadata": {"finalizers": null}, "status": {"warnings": 1}}),
        ] {
            passed(&self.change("stamped", &change, &[])?).with_context(|| change.to_string())?;
        }
        let stored = self.kubectl().get(&["restore", "stamped", "-n", VELERO])?;
        let replace = ["replace", "-f", "-"];
        passed(
            &self
                .kubectl()
                .run_with_input(&replace, &stored.to_string())?,
        )?;
        passed(
            &self
                .kubectl()
                .run(&["delete", "restore/stamped", "-n", VELERO])?,
        )
    }

    /// A Restore with as many annotations as the API server takes is held as any other.
    pub(super) fn crowded_restore(
        &self,
        name: &str,
        annotations: &Map<String, Value>,
    ) -> Result<()> {
        let mut crowded = restore(name, &json!({}), "New");
        crowded["metadata"]["annotations"] = annotations.clone().into();
        // Without them, the object would be too large for etcd.
        crowded["metadata"]["managedFields"] = json!([{}]);
        passed(&self.kubectl().create(&crowded.to_string())?)?;
        let as_us: &[&str] = &[&self.account];
        let nudge = annotation("reconcile-requested-at", "x");
        passed(&self.change(name, &nudge, as_us)?)?;
        let note = json!({"metadata": {"annotations": {"a": "x"}}});
        refused(&self.change(name, &note, as_us)?, OWN_ACCOUNT)?;
        let accepted = annotation("accepted-by", "x");
        refused(&self.change(name, &accepted, &[])?, ACCEPTED)?;
        let mut begin = annotation("verdict", "x");
        refused(&self.change(name, &begin, &[])?, BEGUN)?;
        begin["status"] = json!({"phase": "InProgress"});
        passed(&self.change(name, &begin, &[])?)
    }

    /// Who accepts has the verb, on the very backup. The roles of the manifests grant it.
    pub(super) fn accepted_restores(&self) -> Result<()> {
        let kubectl = self.kubectl();
        let may_create = json!([rights("restores", &["create"])]);
        kubectl.apply(&role("restorer", &may_create, "jane").to_string())?;
        let accept = |backup: &str, with: &str| {
            let stamps =
                json!({"accept-insecure": "why", "accepted-by": "jane", "accepted-with": with});
            let mut accepted = restore("accepted", &stamps, "");
            accepted["spec"]["backupName"] = json!(backup);
            self.dry_run(&accepted, JANE)
        };
        let verbs = ["restore-unverified", "restore-tampered"];
        wait::poll("the right to create", wait::PATIENCE, || {
            refused(&accept("b", verbs[0])?, NO_VERB)
        })?;
        refused(&accept("b", verbs[1])?, NO_VERB)?;
        let mut on_one = rights("backups", &verbs[..1]);
        on_one["resourceNames"] = json!(["b"]);
        kubectl.apply(&role("on-one", &json!([on_one]), "jane").to_string())?;
        wait::poll("the verb to be known", wait::PATIENCE, || {
            passed(&accept("b", verbs[0])?)
        })?;
        refused(&accept("b", verbs[1])?, NO_VERB)?;
        // Another one, and whichever Velero picks of a schedule.
        refused(&accept("other", verbs[0])?, NO_VERB)?;
        refused(&accept("", verbs[0])?, NO_VERB)?;
        for (index, verb) in verbs.into_iter().enumerate() {
            let bind = format!("accepts-{index}");
            let role = format!("--clusterrole=velero-trust-{verb}");
            kubectl.ok(&[
                "create",
                "rolebinding",
                &bind,
                &role,
                "--user=jane",
                "-n",
                VELERO,
            ])?;
            wait::poll("the role to be known", wait::PATIENCE, || {
                passed(&accept("other", verb)?)?;
                passed(&accept("", verb)?)
            })?;
            if index == 0 {
                refused(&accept("other", verbs[1])?, NO_VERB)?;
            }
        }
        Ok(())
    }
}

fn restore(name: &str, annotations: &Value, phase: &str) -> Value {
    let annotations = annotations.as_object().into_iter().flatten();
    let annotations =
        annotations.map(|(key, value)| (format!("velero-trust.io/{key}"), value.clone()));
    let annotations: Map<_, _> = annotations.collect();
    let mut restore = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {"name": name, "namespace": VELERO, "annotations": annotations},
        "spec": {"backupName": "b"},
    });
    if !phase.is_empty() {
        restore["status"] = json!({"phase": phase});
    }
    restore
}
