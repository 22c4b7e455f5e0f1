//! The reconciler of Restores with an API server in memory, and facts that a test chooses.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::ControllerContext;
use super::super::channels::{WaitingByBackup, WaitingRestores};
use super::super::records::watch_records;
use crate::controllers::testing::api::Api;
use crate::controllers::testing::gate::Gate;
use crate::decision::{
    Backup, BackupFields, BackupRecord, Fact, Facts, Key, ListedFiles, Location, Lookup,
    LookupError, LookupErrorKind, Outcome, PodVolumes, Policy, RecordState, RestoresMode,
};
use crate::digest::Sha256;
use crate::names;
use crate::sources::{LookupOptions, Source};
use crate::telemetry::Metrics;

const RESTORES: &str = "/apis/velero.io/v1/namespaces/velero/restores";
const RECORD: &str = "/apis/velero-trust.io/v1alpha1/backuprecords/b.u";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/velero/events";
const PATIENCE: Duration = Duration::from_mins(1);

/// Answers about the Backup `b`, whose record has this state.
struct Answers {
    state: Mutex<RecordState>,
    /// Whether nothing can be looked up.
    is_down: AtomicBool,
    /// How often a look-up still panics.
    panics: AtomicUsize,
}

impl Answers {
    fn answer(&self, lookup: &Lookup) -> Outcome {
        let fields = BackupFields {
            namespace: "velero".into(),
            name: "b".into(),
            uid: "u".into(),
            phase: "Completed".into(),
            schedule: Some("s".into()),
            ..BackupFields::default()
        };
        let backup = Backup {
            fields,
            storage_location: "default".into(),
            ..Backup::default()
        };
        let record = BackupRecord {
            name: "b.u".into(),
            backup: Key::new("velero", "b"),
            uid: "u".into(),
            state: *self.state.lock().unwrap(),
            ..BackupRecord::default()
        };
        let fact = match lookup {
            _ if self.is_down.load(Ordering::Relaxed) => None,
            Lookup::Backup(_) => Some(Fact::Backup(Arc::new(backup))),
            Lookup::BackupsOfSchedule { .. } => Some(Fact::Backups(Arc::new(vec![backup]))),
            Lookup::Records { .. } => Some(Fact::Records(Arc::new(vec![record]))),
            Lookup::ListedFiles { .. } => Some(Fact::ListedFiles(Arc::new(ListedFiles {
                location: Location::default(),
                listing: Sha256::of(b"now"),
                is_authentic: false,
            }))),
            Lookup::PodVolumes(_) => Some(Fact::PodVolumes(PodVolumes::none())),
            _ => None,
        };
        let down = || LookupError {
            kind: LookupErrorKind::Timeout,
            message: "down".into(),
        };
        fact.map_or_else(|| Outcome::Unavailable(down()), Outcome::Found)
    }
}

impl Source for Answers {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        let panics = self.panics.load(Ordering::Relaxed);
        self.panics
            .store(panics.saturating_sub(1), Ordering::Relaxed);
        assert_eq!(panics, 0, "as a bug would");
        let mut facts = Facts::default();
        for lookup in wants {
            facts.insert(lookup.clone(), self.answer(lookup));
        }
        std::future::ready(facts).boxed()
    }
}

struct Scene {
    api: Api,
    answers: Arc<Answers>,
    policy: Policy,
    metrics: Arc<Metrics>,
    told: watch::Receiver<Option<WaitingByBackup>>,
    sender: Option<watch::Sender<Option<WaitingByBackup>>>,
    trouble: watch::Sender<Option<&'static str>>,
    running: Option<JoinHandle<()>>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

impl Scene {
    fn new(state: RecordState) -> Self {
        let (sender, told) = watch::channel(None);
        Self {
            api: Api::new(Gate::default()),
            answers: Arc::new(Answers {
                state: Mutex::new(state),
                is_down: AtomicBool::new(false),
                panics: AtomicUsize::new(0),
            }),
            policy: Policy::default(),
            metrics: Arc::default(),
            told,
            sender: Some(sender),
            trouble: watch::channel(None).0,
            running: None,
        }
    }

    async fn run(&mut self) {
        let (_sender, roots) = watch::channel(Some(Arc::default()));
        let source = Arc::clone(&self.answers);
        let mut context = ControllerContext::for_test(self.api.client(), source, roots);
        context.metrics = Arc::clone(&self.metrics);
        context.policy = Arc::new(self.policy.clone());
        let sender = self.sender.take().unwrap();
        let trouble = self.trouble.subscribe();
        let (records, work) = watch_records(&context.client).share();
        let running = super::run(Arc::new(context), records, sender, trouble);
        self.running = Some(tokio::spawn(join(running, work).map(drop)));
        self.until("the first list", |scene| scene.told.borrow().is_some())
            .await;
    }

    /// Sets the Restore `r`, whose fields are merged.
    fn set(&self, fields: &Value) {
        let path = format!("{RESTORES}/r");
        let mut restore = self.api.get(&path).unwrap_or_else(|| {
            json!({
                "apiVersion": "velero.io/v1", "kind": "Restore",
                "metadata": {"namespace": "velero", "uid": "ru"},
                "spec": {"backupName": "b"},
            })
        });
        json_patch::merge(&mut restore, fields);
        self.api.put(&path, restore);
    }

    fn set_phase(&self, phase: &str) {
        self.set(&json!({"status": {"phase": phase}}));
    }

    fn set_record(&self, state: RecordState) {
        *self.answers.state.lock().unwrap() = state;
        let record = json!({
            "spec": {"namespace": "velero", "backup": "b", "uid": "u"},
            "status": {"state": state},
        });
        self.api.put(RECORD, record);
    }

    fn told(&self) -> Option<WaitingRestores> {
        let told = self.told.borrow().clone()?;
        told.get(&Key::new("velero", "b")).cloned()
    }

    fn waits_for_files(&self) -> bool {
        self.told().is_some_and(|told| told.unread.contains("ru"))
    }

    fn is_nudged(&self) -> bool {
        let restore = self.api.get(&format!("{RESTORES}/r")).unwrap();
        !restore["metadata"]["annotations"][names::RECONCILE_ANNOTATION].is_null()
    }

    fn nudges(&self) -> usize {
        self.api.count("PATCH", RESTORES)
    }

    /// Returns the notes of the Events with this reason, and what they are about.
    fn notes(&self, reason: &str) -> Vec<(String, String)> {
        let events = self.api.all(EVENTS).into_iter().map(|(_, event)| event);
        let events = events.filter(|event| event["reason"] == reason);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events
            .map(|event| (text(&event["regarding"]["kind"]), text(&event["note"])))
            .collect()
    }

    fn metric(&self, line: &str) -> bool {
        self.metrics.text().unwrap().contains(line)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !is_so(self) {
                sleep(Duration::from_millis(10)).await;
            }
        });
        let told = self.told.borrow().clone();
        assert!(
            waited.await.is_ok(),
            "{what}: {told:?} {:#?}",
            self.api.all(EVENTS)
        );
    }
}

/// Returns a verdict as an annotation.
fn verdict(listing: &Sha256, accepted: &[&str]) -> Value {
    let verdict = json!({
        "level": "observed", "listing": listing, "accepted": accepted, "at": "2026-01-01T00:00:00Z",
    });
    json!({names::VERDICT_ANNOTATION: verdict.to_string()})
}

#[tokio::test]
async fn a_restore_that_waits_is_tried_again_once_it_need_not_wait() {
    let mut scene = Scene::new(RecordState::Pending);
    scene.set_record(RecordState::Pending);
    let mut record = scene.api.get(RECORD).unwrap();
    let progress = json!({
        "bytesRead": 3_249_000_000_u64, "bytes": 7_900_000_000_u64, "at": "2026-01-01T00:00:00Z",
    });
    record["status"]["verification"] = json!({"progress": progress});
    scene.api.put(RECORD, record);
    scene.run().await;
    scene
        .until("the list of records", |scene| {
            let lists = scene.api.lists();
            lists.iter().any(|list| list.ends_with("/backuprecords"))
        })
        .await;
    scene.set(&json!({}));
    scene.until("the wait", Scene::waits_for_files).await;
    scene
        .until("the Event", |scene| {
            !scene.notes("RestoreWaiting").is_empty()
        })
        .await;
    let (kind, note) = scene.notes("RestoreWaiting").remove(0);
    assert_eq!(kind, "Restore");
    assert!(
        note.starts_with("it waits: ") && note.ends_with(" (3.2 of 7.9 GB read)"),
        "{note}"
    );
    assert!(scene.metric("velero_trust_restores_waiting 1\n"));
    sleep(Duration::from_millis(1_200)).await;
    assert!(!scene.is_nudged(), "it would wait again");
    // That its backup is refused is found out as well.
    scene.set_record(RecordState::Unobserved);
    scene.until("the nudge", Scene::is_nudged).await;
    scene.until("its end", |scene| scene.told().is_none()).await;
    assert!(scene.metric("velero_trust_restores_waiting 0\n"));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(
        (scene.nudges(), scene.notes("RestoreWaiting").len()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_restore_that_need_not_wait_is_left_to_velero() {
    let mut scene = Scene::new(RecordState::Unobserved);
    scene.run().await;
    scene.set_phase("New");
    sleep(Duration::from_secs(1)).await;
    let errors = ["velero-trust: VT102: no"];
    scene.set(&json!({"status": {"phase": "FailedValidation", "validationErrors": errors}}));
    scene
        .until("the Event", |scene| {
            !scene.notes("RestoreRefused").is_empty()
        })
        .await;
    assert_eq!(scene.notes("RestoreRefused")[0].1, errors[0]);
    assert!(scene.metric("velero_trust_restores_refused_total 1\n"));
    assert_eq!((scene.nudges(), scene.told()), (0, None));
    assert!(scene.notes("RestoreUnchecked").is_empty());
}

/// As after an outage: Velero's own next try may be minutes away.
#[tokio::test]
async fn a_restore_that_nobody_tries_is_tried_again() {
    let mut scene = Scene::new(RecordState::Unobserved);
    scene.set_phase("New");
    scene.run().await;
    scene.until("the nudge", Scene::is_nudged).await;
}

#[tokio::test]
async fn what_cannot_be_looked_up_lets_wait_and_asks_for_no_reading() {
    let mut scene = Scene::new(RecordState::Unobserved);
    scene.answers.is_down.store(true, Ordering::Relaxed);
    scene.set_phase("New");
    scene.run().await;
    scene
        .until("the wait", |scene| {
            scene.told().is_some_and(|told| told.others.contains("ru"))
        })
        .await;
    assert!(!scene.waits_for_files());
    scene.answers.is_down.store(false, Ordering::Relaxed);
    scene.set_record(RecordState::Unobserved);
    scene.until("the nudge", Scene::is_nudged).await;
}

#[tokio::test]
async fn by_schedule_the_backup_is_waited_for_that_velero_takes() {
    let mut scene = Scene::new(RecordState::Pending);
    scene.set(&json!({"spec": {"backupName": "", "scheduleName": "s"}}));
    scene.run().await;
    scene.until("the wait", Scene::waits_for_files).await;
}

#[tokio::test]
async fn a_restore_that_is_deleted_waits_no_more() {
    let mut scene = Scene::new(RecordState::Pending);
    scene.set(&json!({}));
    scene.run().await;
    scene.until("the wait", Scene::waits_for_files).await;
    scene.set(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    scene.until("its end", |scene| scene.told().is_none()).await;
    // Another one of its name.
    scene.api.remove(&format!("{RESTORES}/r"));
    scene.set(&json!({"metadata": {"uid": "other"}}));
    scene
        .until("the other one", |scene| {
            scene
                .told()
                .is_some_and(|told| told.unread.contains("other"))
        })
        .await;
    assert!(!scene.waits_for_files());
}

#[tokio::test]
async fn a_restore_that_runs_without_a_verdict_is_told() {
    let mut scene = Scene::new(RecordState::Recorded);
    scene.set_phase("InProgress");
    scene.run().await;
    scene.set_phase("Completed");
    sleep(Duration::from_millis(500)).await;
    assert!(scene.notes("RestoreUnchecked").is_empty(), "it ran before");
    scene.set(&json!({"metadata": {"uid": "new"}, "status": {"phase": "InProgress"}}));
    scene
        .until("the Event", |scene| {
            !scene.notes("RestoreUnchecked").is_empty()
        })
        .await;
    assert!(scene.metric("velero_trust_restores_unchecked_total 1\n"));
}

#[tokio::test]
async fn who_accepted_what_speaks_against_a_restore_is_remembered() {
    let mut scene = Scene::new(RecordState::Unobserved);
    scene.set_record(RecordState::Unobserved);
    scene.run().await;
    let mut annotations = verdict(&Sha256::of(b"now"), &["VT102"]);
    annotations[names::ACCEPTED_BY_ANNOTATION] = json!("jane");
    annotations[names::ACCEPT_INSECURE_ANNOTATION] = json!("the store\nis\u{202e} lost");
    scene
        .set(&json!({"metadata": {"annotations": annotations}, "status": {"phase": "InProgress"}}));
    scene
        .until("the Events", |scene| {
            scene.notes("RestoreAccepted").len() == 2
        })
        .await;
    for (kind, note) in scene.notes("RestoreAccepted") {
        assert!(["Restore", "Backup"].contains(&kind.as_str()));
        assert!(
            note.contains("although VT102 spoke against it, on the word of jane: the store"),
            "{note}"
        );
        assert!(!note.contains(['\n', '\u{202e}']), "{note}");
    }
    let record = scene.api.get(RECORD).unwrap();
    let accepted = &record["status"]["verification"]["accepted"];
    assert_eq!(
        (&accepted[0]["restore"], &accepted[0]["by"]),
        (&json!("r"), &json!("jane"))
    );
    assert!(scene.metric("velero_trust_restores_accepted_total 1\n"));
    assert!(scene.notes("RestoreUnchecked").is_empty());
}

#[tokio::test]
async fn a_change_while_velero_reads_is_told() {
    let volumes = |content| json!({"count": 0, "sha256": Sha256::of(content)});
    for (listing, volumes, tells) in [
        (
            b"before" as &[u8],
            volumes(b""),
            Some("the bucket does not list"),
        ),
        (
            b"now",
            volumes(b"before"),
            Some("the PodVolumeBackups of Backup b"),
        ),
        (b"now", volumes(b""), None),
    ] {
        let mut scene = Scene::new(RecordState::Recorded);
        scene.set_record(RecordState::Recorded);
        // It ran when this replica began to lead.
        let verdict = json!({
            "level": "observed", "listing": Sha256::of(listing), "podVolumes": volumes, "at": "",
        });
        let annotations = json!({names::VERDICT_ANNOTATION: verdict.to_string()});
        scene.set(
            &json!({"metadata": {"annotations": annotations}, "status": {"phase": "InProgress"}}),
        );
        scene.run().await;
        scene.set_phase("Finalizing");
        if let Some(tells) = tells {
            scene
                .until("the Event", |scene| {
                    !scene.notes("RestoreTainted").is_empty()
                })
                .await;
            let notes = scene.notes("RestoreTainted");
            assert!(notes[0].1.contains(tells), "{notes:?}");
            let record = scene.api.get(RECORD).unwrap();
            assert_eq!(record["status"]["verification"]["tainted"][0]["uid"], "ru");
        } else {
            sleep(Duration::from_millis(500)).await;
            assert!(scene.notes("RestoreTainted").is_empty());
        }
        let line = format!(
            "velero_trust_restores_tainted_total {}\n",
            u8::from(tells.is_some())
        );
        assert!(scene.metric(&line));
        assert_eq!(scene.nudges(), 0);
    }
}

/// More often than Restores are looked at at a time.
#[tokio::test]
async fn a_panic_takes_no_place_and_is_tried_again() {
    let mut scene = Scene::new(RecordState::Pending);
    for number in 0..9 {
        let restore = json!({
            "metadata": {"namespace": "velero", "uid": format!("u{number}")},
            "spec": {"backupName": "b"},
        });
        scene.api.put(&format!("{RESTORES}/r{number}"), restore);
    }
    scene.answers.panics.store(9, Ordering::Relaxed);
    scene.run().await;
    scene
        .until("all to wait", |scene| {
            scene.told().is_some_and(|told| told.unread.len() == 9)
        })
        .await;
}

#[tokio::test]
async fn where_the_mode_is_off_no_restore_is_followed() {
    let mut scene = Scene::new(RecordState::Pending);
    scene.policy = Policy::new(RestoresMode::Off);
    scene.set(&json!({}));
    scene.run().await;
    scene.set_phase("New");
    sleep(Duration::from_millis(500)).await;
    assert_eq!((scene.told(), scene.nudges()), (None, 0));
    scene.set_phase("InProgress");
    sleep(Duration::from_millis(500)).await;
    assert!(scene.api.all(EVENTS).is_empty());
    assert_eq!(scene.api.count("GET", RESTORES), 0);
}

#[tokio::test]
async fn that_nothing_is_read_for_any_restore_is_told_on_each() {
    let mut scene = Scene::new(RecordState::Unobserved);
    let checksum = format!("sha256:{}", Sha256::of(b"x"));
    let annotations = json!({names::BACKUP_CHECKSUM_ANNOTATION: checksum});
    scene.set(&json!({"metadata": {"annotations": annotations}}));
    scene.run().await;
    let told = |scene: &Scene, text: &str| {
        let notes = scene.notes("RestoreWaiting");
        notes.iter().any(|(_, note)| note.contains(text))
    };
    scene
        .until("the wait", |scene| told(scene, "are being read"))
        .await;
    scene.trouble.send_replace(Some("the kind is older"));
    scene
        .until("the trouble", |scene| {
            told(scene, "it waits: the kind is older")
        })
        .await;
}
