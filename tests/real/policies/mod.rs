//! The admission policies of the manifests on the real API server, with no webhook configuration active
//! and no server of ours: what they refuse, they refuse while velero-trust is down.

mod restores;

use std::collections::BTreeSet;

use crate::servers::Servers;
use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::{installer, wait};

/// The annotations that say what is recorded.
const RECORDED_KEYS: [&str; 3] = ["checksum", "manifest", "verified-at"];

/// A namespace other than that of the manifests, which kustomize sets.
const ELSEWHERE: &str = "guards";
const VELERO: &str = "velero";

/// What the messages of the policies begin with.
const NEW_BACKUP: &str = "no Backup may come with the annotations";
const RECORDED: &str = "velero-trust alone sets the annotations";
const NOT_YOURSELF: &str = "velero-trust.io/adopt must be your own name, ";
/// A checksum is declared, and nobody vouches for it.
const NO_ADOPT: &str = "velero-trust.io/declared-checksum counts only beside velero-trust.io/adopt: set that to your own \
                        name, ";

/// Something is changed for which jane vouches.
const VOUCHED_FOR: &str = "jane vouches for this Backup (velero-trust.io/adopt), with the spec.storageLocation and \
                           velero-trust.io/declared-checksum that it has: to change one of these, remove both";

const NO_CHECKSUM: &str = "velero-trust.io/declared-checksum must be `sha256:`";
const NO_VERB: &str = "jane may not vouch for this backup: the verb attest";
const OWN_ACCOUNT: &str = "velero-trust may change nothing of a Backup but its own annotations";
const RECORD: &str = "velero-trust alone writes BackupRecords";
const RECORD_METADATA: &str = "velero-trust alone gives a BackupRecord owners, finalizers";
const KINDS: [&str; 2] = [
    "crd/backuprecords.velero-trust.io",
    "crd/trustedkeys.velero-trust.io",
];
const KEPT: &str =
    "with this kind all records of backups, or all keys that verify them, would be deleted";
const RESTORED: &str = "BackupRecords and TrustedKeys are not restored from a backup";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("policies::hold_while_we_are_down", || {
            let bed = Bed::start(installer::NAMESPACE)?;
            bed.holds()?;
            bed.adopted_backups()?;
            bed.accepted_restores()?;
            bed.many_annotations()?;
            bed.switched_off()?;
            bed.kinds()
        }),
        alone("policies::know_the_account_in_another_namespace", || {
            Bed::start(ELSEWHERE)?.holds()
        }),
    ]
}

/// An API server with the policies.
struct Bed {
    servers: Servers,
    /// The option of kubectl to be velero-trust.
    account: String,
}

impl Bed {
    fn start(namespace: &str) -> Result<Self> {
        let servers = Servers::start()?;
        let kubectl = &servers.kubectl;
        kubectl.ok(&["create", "namespace", VELERO])?;
        let crds = installer::manifests().join("crds");
        let crds = crds.to_str().context("a path that is no text")?;
        kubectl.ok(&["apply", "-k", crds])?;
        let objects = installer::rendered(kubectl, namespace)?.into_iter();
        let is_needed = |object: &Value| {
            let kind = object["kind"].as_str().unwrap_or_default();
            kind.starts_with("ValidatingAdmissionPolicy") || kind.starts_with("ClusterRole")
        };
        let objects: Vec<_> = objects.filter(is_needed).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        kubectl.apply(&list.to_string())?;
        let bed = Self {
            account: format!("--as=system:serviceaccount:{namespace}:velero-trust"),
            servers,
        };
        bed.wait_until_enforced()?;
        Ok(bed)
    }

    fn kubectl(&self) -> &Cli {
        &self.servers.kubectl
    }

    /// The API server uses new policies only a moment after they are stored.
    fn wait_until_enforced(&self) -> Result<()> {
        let plain = backup("probe", &json!({}), &json!({}));
        self.kubectl().create(&plain.to_string())?;
        wait::poll("the policies to be enforced", wait::PATIENCE, || {
            let forged = backup("forged", &reserved(), &json!({"phase": "Completed"}));
            refused(&self.dry_run(&forged, &[])?, NEW_BACKUP)?;
            let labelled = [
                "label",
                "--dry-run=server",
                "backup/probe",
                "-n",
                VELERO,
                "a=b",
            ];
            refused(&self.run_as_us(&labelled)?, OWN_ACCOUNT)?;
            let forged = patch("probe", &annotation("checksum", "x"), &["--dry-run=server"]);
            refused(&self.kubectl().run(&words(&forged))?, RECORDED)?;
            let adopted = patch("probe", &annotation("adopt", "x"), &["--dry-run=server"]);
            refused(&self.kubectl().run(&words(&adopted))?, NOT_YOURSELF)?;
            refused(&self.dry_run(&record(&json!({})), &[])?, RECORD)?;
            self.are_restores_held()?;
            let restored = record(&json!({"velero.io/restore-name": "r"}));
            refused(&self.dry_run(&restored, &[&self.account])?, RESTORED)?;
            for kind in KINDS {
                let delete = ["delete", kind, "--dry-run=server"];
                refused(&self.kubectl().run(&delete)?, KEPT)?;
            }
            Ok(())
        })
    }

    fn dry_run(&self, object: &Value, more: &[&str]) -> Result<Output> {
        let create = ["create", "--dry-run=server", "-f", "-"];
        let arguments = [&create[..], more].concat();
        self.kubectl()
            .run_with_input(&arguments, &object.to_string())
    }

    fn run_as_us(&self, arguments: &[&str]) -> Result<Output> {
        self.kubectl().run(&[arguments, &[&self.account]].concat())
    }

    /// It is told when a field that the manifests do not have switches a policy off, and what it
    /// advises takes that away.
    fn switched_off(&self) -> Result<()> {
        let nothing = json!({"matchLabels": {"no": "such"}});
        let never = json!([{"name": "never", "expression": "false"}]);
        let backups = json!({"apiGroups": ["velero.io"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]});
        let (policy, binding) = (
            "validatingadmissionpolicy",
            "validatingadmissionpolicybinding",
        );
        self.is_told(true, "")?;
        let mut advice = String::new();
        for (kind, name, spec) in [
            (
                policy,
                "velero-trust-restored",
                json!({"matchConditions": never}),
            ),
            (
                policy,
                "velero-trust-recorded-backups",
                json!({"matchConstraints": {"excludeResourceRules": [backups]}}),
            ),
            (
                binding,
                "velero-trust-new-backups",
                json!({"matchResources": {"namespaceSelector": nothing}}),
            ),
        ] {
            let (object, patch) = (format!("{kind}/{name}"), json!({"spec": spec}).to_string());
            let patch = ["patch", &*object, "--type=merge", "-p", &*patch];
            self.kubectl().ok(&patch)?;
            advice = self.is_told(false, name)?;
        }
        // One that is gone is told as well, and made again with the others.
        self.kubectl().ok(&[
            "delete",
            "validatingadmissionpolicybinding/velero-trust-restored",
        ])?;
        self.is_told(false, "velero-trust-restored")?;
        let uids = || {
            let kinds = format!("{policy},{binding}");
            let all = self.kubectl().get(&[&kinds])?;
            let items = all["items"].as_array().context("no list")?;
            let uids = items.iter().map(|one| one["metadata"]["uid"].to_string());
            anyhow::Ok(uids.collect::<BTreeSet<_>>())
        };
        let before = uids()?;
        let path = installer::manifests().join("policies.yaml");
        let path = path.to_str().context("a path that is no text")?;
        for command in advice.split(" && ") {
            let words = command
                .strip_prefix("kubectl ")
                .context(command.to_owned())?;
            let words = words.split(' ').map(|word| match word {
                "manifests/policies.yaml" => path,
                _ => word,
            });
            self.kubectl().ok(&words.collect::<Vec<_>>())?;
        }
        // None was taken away for a moment.
        let after = uids()?;
        ensure!(after.is_superset(&before), "{before:?} {after:?}");
        ensure!(after.len() == before.len() + 1, "{before:?} {after:?}");
        self.is_told(true, "")?;
        Ok(())
    }

    /// Returns the fix of what `status` says of the policies.
    fn is_told(&self, is_enforced: bool, says: &str) -> Result<String> {
        let status = Cli::new(binary().to_owned(), Some(self.servers.kubeconfig()))?;
        let output = status.run(&["status", "--output=json"])?;
        let status: Value =
            serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
        let policies = &status["policies"];
        let message = policies["message"].as_str().unwrap_or_default();
        ensure!(
            policies["enforced"] == is_enforced && message.contains(says),
            "{policies}"
        );
        Ok(policies["fix"].as_str().unwrap_or_default().to_owned())
    }

    fn holds(&self) -> Result<()> {
        self.new_backups()?;
        self.our_account()?;
        self.recorded_backups()?;
        self.restores()?;
        self.records()?;
        self.keys()
    }

    /// What a Schedule makes passes, with whatever annotations. What the sync brings does not.
    fn new_backups(&self) -> Result<()> {
        for (status, is_refused) in [
            (json!({}), false),
            (json!({"phase": "New"}), false),
            (json!({"phase": "InProgress"}), true),
            (json!({"phase": "Failed"}), true),
        ] {
            for annotations in [&RECORDED_KEYS[..], &["adopt", "declared-checksum"]].concat() {
                let key = format!("velero-trust.io/{annotations}");
                let forged = backup("forged", &json!({key: "x"}), &status);
                let output = self.dry_run(&forged, &[])?;
                let checked = if is_refused {
                    refused(&output, NEW_BACKUP)
                } else {
                    passed(&output)
                };
                checked.with_context(|| forged.to_string())?;
            }
            let plain = backup("plain", &json!({"velero-trust.io/other": "x"}), &status);
            passed(&self.dry_run(&plain, &[])?)?;
        }
        Ok(())
    }

    /// Our account changes its annotations and nothing else; everybody else is as free as before.
    fn our_account(&self) -> Result<()> {
        let kubectl = self.kubectl();
        let stored = backup(
            "mine",
            &json!({"note": "x"}),
            &json!({"phase": "Completed"}),
        );
        passed(&kubectl.create(&stored.to_string())?)?;
        let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}]);
        for change in [
            json!({"spec": {"ttl": "1h"}}),
            json!({"status": {"phase": "Failed"}}),
            json!({"status": {"errors": 1}}),
            json!({"metadata": {"labels": {"a": "b"}}}),
            json!({"metadata": {"finalizers": ["example.com/x"]}}),
            json!({"metadata": {"ownerReferences": owner}}),
            json!({"metadata": {"annotations": {"note": "y"}}}),
            json!({"metadata": {"annotations": {"note": null}}}),
            json!({"metadata": {"annotations": {"another": "x"}}}),
            json!({"metadata": {"annotations": {"another": "x", "note": null}}}),
            json!({"metadata": {"annotations": {"velero-trust.io/other": "x"}}}),
            json!({"metadata": {"annotations": {"velero-trust.io/other": "x", "note": null}}}),
        ] {
            let refusal = self.run_as_us(&words(&patch("mine", &change, &[])))?;
            refused(&refusal, OWN_ACCOUNT).with_context(|| change.to_string())?;
            let dry_run = patch("mine", &change, &["--dry-run=server"]);
            passed(&kubectl.run(&words(&dry_run))?).with_context(|| change.to_string())?;
        }
        for value in [json!("x"), json!("y"), json!(null)] {
            let change = json!({"metadata": {"annotations": {"velero-trust.io/checksum": value}}});
            let change = patch("mine", &change, &[]);
            passed(&self.run_as_us(&words(&change))?).with_context(|| change.join(" "))?;
        }
        Ok(())
    }

    /// A Backup with as many annotations as the API server takes, which are 256 KiB of short keys, is
    /// annotated as any other. Those that are not ours are still held.
    ///
    /// On a slow machine, one such request takes longer than the API server waits, 34 seconds. Then fewer are
    /// tried, which is told.
    fn many_annotations(&self) -> Result<()> {
        for share in [1, 2, 4] {
            match self.crowded(share) {
                Err(error) if share < 4 && format!("{error:?}").contains("server (Timeout)") => {
                    eprintln!("crowded: 1/{share} of 256 KiB took the API server too long");
                }
                result => return result,
            }
        }
        Ok(())
    }

    /// As [`Self::many_annotations`], with a `share` of as many.
    fn crowded(&self, share: usize) -> Result<()> {
        let kubectl = self.kubectl();
        let name = format!("crowded-{share}");
        let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
        let short = letters.iter().map(char::to_string);
        let pairs = letters
            .iter()
            .flat_map(|a| letters.iter().map(move |b| format!("{a}{b}")));
        let triples = letters.iter().flat_map(|a| {
            let ends = letters
                .iter()
                .flat_map(|b| letters.iter().map(move |c| (b, c)));
            ends.map(move |(b, c)| format!("{a}{b}{c}"))
        });
        let room = ((256 << 10) - 1_000) / share;
        let mut annotations = serde_json::Map::new();
        let mut bytes = 0;
        for key in short.chain(pairs).chain(triples) {
            bytes += key.len();
            if bytes > room {
                break;
            }
            annotations.insert(key, json!(""));
        }
        ensure!(annotations.len() > 88_000 / share, "{}", annotations.len());
        let mut crowded = backup(&name, &json!({}), &json!({"phase": "Completed"}));
        crowded["metadata"]["annotations"] = annotations.clone().into();
        // Without them, the object would be too large for etcd.
        crowded["metadata"]["managedFields"] = json!([{}]);
        passed(&kubectl.create(&crowded.to_string())?)?;
        let values = json!({
            "velero-trust.io/checksum": "x", "velero-trust.io/manifest": "x",
            "velero-trust.io/verified-at": "x", "velero-trust.io/adopt": null,
            "velero-trust.io/declared-checksum": null,
        });
        let ours = patch(&name, &json!({"metadata": {"annotations": values}}), &[]);
        passed(&self.run_as_us(&words(&ours))?)?;
        for key in ["a", "note"] {
            let change = json!({"metadata": {"annotations": {key: "x"}}});
            let refusal = self.run_as_us(&words(&patch(&name, &change, &[])))?;
            refused(&refusal, OWN_ACCOUNT).with_context(|| key.to_owned())?;
        }
        let forged = patch(&name, &annotation("checksum", "y"), &[]);
        refused(&kubectl.run(&words(&forged))?, RECORDED)?;
        self.crowded_restore(&name, &annotations)
    }

    /// Nobody but us says what is recorded. Whatever changes nothing of that passes.
    fn recorded_backups(&self) -> Result<()> {
        let kubectl = self.kubectl();
        let bare = [
            json!({}),
            json!({"metadata": {"annotations": {}}}),
            json!({"metadata": {"annotations": {"note": "x"}}, "status": {"phase": "New"}}),
            json!({"status": {"phase": "Completed", "expiration": null}}),
        ];
        for (old, shape) in bare.iter().enumerate() {
            let name = format!("bare-{old}");
            let shaped = |shape: &Value| {
                let mut object = shape.clone();
                let named = json!({
                    "apiVersion": "velero.io/v1", "kind": "Backup",
                    "metadata": {"name": name, "namespace": VELERO}, "spec": {},
                });
                json_patch::merge(&mut object, &named);
                object.to_string()
            };
            passed(&kubectl.create(&shaped(shape))?)?;
            for new in &bare {
                let replace = ["replace", "--dry-run=server", "-f", "-"];
                passed(&kubectl.run_with_input(&replace, &shaped(new))?)?;
            }
            let forged = patch(&name, &annotation("checksum", "x"), &[]);
            refused(&kubectl.run(&words(&forged))?, RECORDED)?;
        }
        for key in RECORDED_KEYS {
            let set = |value: &str| patch("bare-0", &annotation(key, value), &[]);
            refused(&kubectl.run(&words(&set("x")))?, RECORDED)?;
            passed(&self.run_as_us(&words(&set("x")))?)?;
            refused(&kubectl.run(&words(&set("y")))?, RECORDED)?;
            passed(&kubectl.run(&words(&set("x")))?)?;
        }
        // What Velero writes, and a cluster that migrates its storage.
        let failed = patch("bare-0", &json!({"status": {"phase": "Failed"}}), &[]);
        passed(&kubectl.run(&words(&failed))?)?;
        let stored = kubectl.get(&["backup", "bare-0", "-n", VELERO])?;
        let replace = ["replace", "-f", "-"];
        passed(&kubectl.run_with_input(&replace, &stored.to_string())?)?;
        let mut without = stored;
        without["metadata"]["annotations"] = json!({});
        passed(&kubectl.run_with_input(&replace, &without.to_string())?)
    }

    /// Who vouches for a backup does so by name, and has the verb for it.
    fn adopted_backups(&self) -> Result<()> {
        let kubectl = self.kubectl();
        for name in ["adopted", "other"] {
            let object = backup(name, &json!({}), &json!({"phase": "Completed"}));
            passed(&kubectl.create(&object.to_string())?)?;
        }
        let backups = |verbs: &[&str]| rights("backups", verbs);
        let may_patch = json!([backups(&["get", "patch"])]);
        for user in ["jane", "bob"] {
            kubectl.apply(&role(user, &may_patch, user).to_string())?;
        }
        let digest = format!("sha256:{}", "0f".repeat(32));
        let vouch = |name: &str, by: &str, declared: Option<&str>, more: &[&str]| {
            let annotations = json!({
                "velero-trust.io/adopt": by, "velero-trust.io/declared-checksum": declared,
            });
            let patch = patch(
                name,
                &json!({"metadata": {"annotations": annotations}}),
                more,
            );
            kubectl.run(&words(&patch))
        };
        let as_jane = ["--as=jane"];
        wait::poll("the right to patch", wait::PATIENCE, || {
            refused(&vouch("adopted", "jane", None, &as_jane)?, NO_VERB)
        })?;
        refused(&vouch("adopted", "jane", Some(&digest), &as_jane)?, NO_VERB)?;
        // Only of one backup, and only in this namespace.
        let mut attest = backups(&["attest"]);
        attest["resourceNames"] = json!(["adopted"]);
        kubectl.apply(&role("attest", &json!([attest]), "jane").to_string())?;
        wait::poll("the verb to be known", wait::PATIENCE, || {
            let dry_run = [&as_jane[..], &["--dry-run=server"]].concat();
            passed(&vouch("adopted", "jane", None, &dry_run)?)
        })?;
        refused(&vouch("other", "jane", None, &as_jane)?, NO_VERB)?;
        let not_jane = format!("{NOT_YOURSELF}jane");
        refused(&vouch("adopted", "bob", None, &as_jane)?, &not_jane)?;
        let declared = patch(
            "adopted",
            &annotation("declared-checksum", &digest),
            &as_jane,
        );
        let nobody = format!("{NO_ADOPT}jane");
        refused(&kubectl.run(&words(&declared))?, &nobody)?;
        for wrong in [
            "",
            "0f",
            &digest[1..],
            &digest[..70],
            &format!("{digest}0"),
            &digest.to_uppercase(),
        ] {
            let output = vouch("adopted", "jane", Some(wrong), &as_jane)?;
            refused(&output, NO_CHECKSUM).with_context(|| wrong.to_owned())?;
        }
        passed(&vouch("adopted", "jane", Some(&digest), &as_jane)?)?;

        self.others_change_only_the_rest()?;
        // The role of the manifests has all that is needed.
        let bind = [
            "create",
            "rolebinding",
            "attests",
            "--clusterrole=velero-trust-attest",
        ];
        kubectl.ok(&[&bind[..], &["--user=ann", "-n", VELERO]].concat())?;
        wait::poll("the role to be known", wait::PATIENCE, || {
            passed(&vouch("other", "ann", None, &["--as=ann"])?)
        })
    }

    /// Others may change the rest of a Backup for which jane vouches, and take her word away as a whole.
    fn others_change_only_the_rest(&self) -> Result<()> {
        let kubectl = self.kubectl();
        let as_bob = ["--as=bob"];
        let label = patch(
            "adopted",
            &json!({"metadata": {"labels": {"a": "b"}}}),
            &as_bob,
        );
        passed(&kubectl.run(&words(&label))?)?;
        // What jane said was about this checksum in this location.
        for changed in [
            json!({"metadata": {"annotations": {"velero-trust.io/declared-checksum": null}}}),
            json!({"spec": {"storageLocation": "elsewhere"}}),
        ] {
            let changed = patch("adopted", &changed, &as_bob);
            refused(&kubectl.run(&words(&changed))?, VOUCHED_FOR)?;
        }
        let set = |change: Value| kubectl.run(&words(&patch("adopted", &change, &as_bob)));
        // Velero fills in the location of a new Backup.
        passed(&set(json!({"status": {"phase": "New"}}))?)?;
        passed(&set(json!({"spec": {"storageLocation": "default"}}))?)?;
        // From then on it is not said of another one, whatever the phase is for a moment.
        for phase in ["New", "InProgress", "Completed", "Deleting"] {
            passed(&set(json!({"status": {"phase": phase}}))?)?;
            for location in [json!("elsewhere"), Value::Null] {
                let moved = set(json!({"spec": {"storageLocation": location}}))?;
                refused(&moved, VOUCHED_FOR)?;
            }
        }
        let other = format!("sha256:{}", "0e".repeat(32));
        let swapped = patch("adopted", &annotation("declared-checksum", &other), &as_bob);
        refused(&kubectl.run(&words(&swapped))?, VOUCHED_FOR)?;
        let removed = json!({"metadata": {"annotations": {"velero-trust.io/adopt": null}}});
        passed(&kubectl.run(&words(&patch("adopted", &removed, &as_bob)))?)
    }

    /// Records are ours to write. Everybody may label and delete them who has the right.
    fn records(&self) -> Result<()> {
        let kubectl = self.kubectl();
        let create = ["create", "-f", "-", &self.account];
        passed(&kubectl.run_with_input(&create, &record(&json!({})).to_string())?)?;
        let state = |state: &str| json!({"status": {"state": state}}).to_string();
        let status = |patch| {
            let arguments = ["patch", "backuprecord/mine.u", "--subresource=status"];
            [&arguments[..], &["--type=merge", "-p", patch]].concat()
        };
        refused(&kubectl.run(&status(&state("Recorded")))?, RECORD)?;
        // What a cluster does that migrates its storage.
        passed(&kubectl.run(&["label", "backuprecord/mine.u", "a=b"])?)?;
        let restored = ["label", "backuprecord/mine.u", "velero.io/restore-name=r"];
        refused(&kubectl.run(&restored)?, RESTORED)?;
        self.metadata_of_records()?;
        passed(&kubectl.run(&["delete", "backuprecord/mine.u"])?)
    }

    /// Who may update a record and not delete it cannot have it deleted, nor kept. What is there may be
    /// taken away.
    fn metadata_of_records(&self) -> Result<()> {
        let patch = |record: &str, metadata: &Value| {
            let (record, patch) = (
                format!("backuprecord/{record}"),
                json!({"metadata": metadata}),
            );
            let patch = ["patch", &record, "--type=merge", "-p", &patch.to_string()];
            self.kubectl().run(&patch)
        };
        let owner =
            |uid: &str| json!({"apiVersion": "v1", "kind": "Node", "name": "x", "uid": uid});
        let label = |value: Value| json!({"labels": {"velero.io/exclude-from-backup": value}});
        let mut marked = record(&json!({}));
        for mark in [
            json!({"ownerReferences": [owner("y")]}),
            json!({"finalizers": ["example.com/x"]}),
            label(json!("true")),
        ] {
            let refusal = patch("mine.u", &mark)?;
            refused(&refusal, RECORD_METADATA).with_context(|| mark.to_string())?;
            json_patch::merge(&mut marked["metadata"], &mark);
        }
        marked["metadata"]["name"] = json!("marked.u");
        let create = ["create", "-f", "-", &self.account];
        passed(
            &self
                .kubectl()
                .run_with_input(&create, &marked.to_string())?,
        )?;
        for changed in [
            json!({"ownerReferences": [owner("y"), owner("z")]}),
            json!({"finalizers": ["example.com/x", "example.com/y"]}),
            label(json!("false")),
            label(json!(null)),
        ] {
            let refusal = patch("marked.u", &changed)?;
            refused(&refusal, RECORD_METADATA).with_context(|| changed.to_string())?;
        }
        passed(&patch("marked.u", &json!({"annotations": {"a": "b"}}))?)?;
        let none = json!({"ownerReferences": null, "finalizers": null});
        passed(&patch("marked.u", &none)?)
    }

    /// Nobody deletes the kinds, and all records with them, by mistake: not by `kubectl delete -k`, and not as a
    /// collection. Whoever means it says so first.
    fn kinds(&self) -> Result<()> {
        let kubectl = self.kubectl();
        let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let selector = "labelSelector=app.kubernetes.io/name%3Dvelero-trust";
        let all = kubectl.run(&["delete", "--raw", &format!("{crds}?{selector}")])?;
        refused(&all, KEPT)?;
        let [records, keys] = KINDS;
        let mean = ["annotate", records, "velero-trust.io/allow-deletion=true"];
        kubectl.ok(&mean)?;
        passed(&kubectl.run(&["delete", records])?)?;
        refused(&kubectl.run(&["delete", keys])?, KEPT)?;
        // Kinds of others are none of ours.
        let velero = ["delete", "crd/schedules.velero.io", "--dry-run=server"];
        passed(&kubectl.run(&velero)?)
    }

    /// A key may be applied by a person, and is not restored.
    fn keys(&self) -> Result<()> {
        let key = |labels: &Value| {
            json!({
                "apiVersion": "velero-trust.io/v1alpha1",
                "kind": "TrustedKey",
                "metadata": {"name": "k", "labels": labels},
                "spec": {"publicKey": "PEM", "algorithm": "ECDSA-P256"},
            })
        };
        let restored = key(&json!({"velero.io/restore-name": "r"}));
        refused(&self.dry_run(&restored, &[])?, RESTORED)?;
        passed(&self.dry_run(&key(&json!({})), &[])?)
    }
}

/// Returns a Role in Velero's namespace, and what binds it to `user`.
fn role(name: &str, rules: &Value, user: &str) -> Value {
    let group = "rbac.authorization.k8s.io";
    let metadata = json!({"name": name, "namespace": VELERO});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata,
         "rules": rules},
        {"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
         "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
         "subjects": [{"apiGroup": group, "kind": "User", "name": user}]},
    ]})
}

/// Returns a rule of a Role.
fn rights(resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": ["velero.io"], "resources": [resource], "verbs": verbs})
}

/// Returns the arguments of kubectl that patch a Backup.
fn patch(name: &str, patch: &Value, more: &[&str]) -> Vec<String> {
    patch_of(&format!("backup/{name}"), patch, more)
}

fn patch_of(object: &str, patch: &Value, more: &[&str]) -> Vec<String> {
    let patch = patch.to_string();
    let words = ["patch", object, "-n", VELERO, "--type=merge", "-p", &patch];
    let words = [&words[..], more].concat();
    words.into_iter().map(str::to_owned).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn annotation(key: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {format!("velero-trust.io/{key}"): value}}})
}

fn reserved() -> Value {
    json!({"velero-trust.io/checksum": "forged"})
}

fn backup(name: &str, annotations: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {"name": name, "namespace": VELERO, "annotations": annotations},
        "spec": {},
        "status": status,
    })
}

fn record(labels: &Value) -> Value {
    json!({
        "apiVersion": "velero-trust.io/v1alpha1",
        "kind": "BackupRecord",
        "metadata": {"name": "mine.u", "labels": labels},
        "spec": {"namespace": VELERO, "backup": "mine", "uid": "u", "observed": true},
    })
}

fn refused(output: &Output, by: &str) -> Result<()> {
    let is_refused = output.code != Some(0) && output.stderr.contains(by);
    ensure!(is_refused, "not refused with `{by}`: {output:?}");
    Ok(())
}

fn passed(output: &Output) -> Result<()> {
    ensure!(output.code == Some(0), "refused: {output:?}");
    Ok(())
}
