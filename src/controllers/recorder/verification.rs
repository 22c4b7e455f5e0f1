//! Reads the files of a backup for the Restores that wait for it.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::{Instant, interval_at};

use super::Context;
use super::ledger::time_now;
use super::location::{self, OpenLocation};
use super::reader::{Stop, Unreadable, hash, signed_artifacts};
use super::steps::{again, create_own, message, told};
use crate::bucket::{Artifact, Listing};
use crate::controllers::channels::WaitingRestores;
use crate::decision::{FailureClass, File};
use crate::integrity::envelope::MAX_BYTES;
use crate::integrity::files::{self, Role};
use crate::integrity::manifest::{MAX_FILES, is_name};
use crate::integrity::verification::agreeing;
use crate::kubernetes::crds::{
    BackupRecord, BackupRecordStatus, Progress, ReadingMark, RecordedFailure, RecordedFile,
    RecordedReading, Verification, record_name,
};
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

/// Most Restores for which a reading counts. Each needs 40 bytes of a record.
const MAX_RESTORES: usize = 128;

/// Most envelopes beside a backup that are read. Each cluster of a bucket has one.
const MAX_ENVELOPES: usize = 16;

/// How often files are read anew because the bucket lists something else afterwards.
const MAX_ATTEMPTS: u32 = 3;

/// How often a write of the status is tried of which somebody else was faster.
const MAX_WRITES: u32 = 5;

/// Time from one note of the progress to the next.
const PROGRESS_PAUSE: Duration = Duration::from_secs(10);

/// Longest pause before files are tried again that could not be read, while a Restore waits for them.
pub(super) const MAX_PAUSE: Duration = Duration::from_mins(1);

/// What a record says of the last reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadingEntry {
    mark: ReadingMark,
    /// The hashes of the UIDs of the Restores for which it counts.
    restores: Box<[u64]>,
}

impl ReadingEntry {
    pub(super) fn new(reading: &RecordedReading) -> Self {
        let mut restores: Vec<_> = reading.restores.iter().map(|uid| hash_of(uid)).collect();
        restores.sort_unstable();
        Self {
            mark: reading.mark(),
            restores: restores.into_boxed_slice(),
        }
    }

    fn covers(&self, uid: &str) -> bool {
        self.restores.binary_search(&hash_of(uid)).is_ok()
    }
}

/// UIDs are random, so that their hashes do not collide.
fn hash_of(uid: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(uid)
}

/// Whether the files of a backup are to be read for the Restores that wait for it, after the reading `last`.
pub(super) fn is_due(waiting: &WaitingRestores, last: Option<&ReadingEntry>) -> bool {
    let WaitingRestores {
        unread,
        others,
        stale,
    } = waiting;
    let Some(last) = last.filter(|last| !stale.contains(&last.mark)) else {
        return !unread.is_empty();
    };
    let all = unread.len() + others.len();
    let covered = unread.iter().chain(others);
    let covered = covered.filter(|uid| last.covers(uid)).count();
    // Another reading counts for as many. It would take the place of one that is being used.
    let has_room = all <= MAX_RESTORES || covered < MAX_RESTORES / 2;
    has_room && unread.iter().any(|uid| !last.covers(uid))
}

/// Returns the Restores for which a reading counts that begins at this moment.
fn covered(waiting: &WaitingRestores) -> Vec<String> {
    let all = waiting.unread.iter().chain(&waiting.others);
    let all: BTreeSet<_> = all.take(MAX_RESTORES).cloned().collect();
    all.into_iter().collect()
}

/// Returns what is noted about files that are `unreadable` at `now`, after `last`; `None` if that is no news.
pub(super) fn failure(
    last: Option<&RecordedFailure>,
    unreadable: &Unreadable,
    now: Time,
) -> Option<RecordedFailure> {
    let class = unreadable.class;
    let same = last.filter(|last| last.class == class);
    let new = RecordedFailure {
        reason: unreadable.reason.to_owned(),
        message: message(&unreadable.message),
        class,
        since: same.map_or(now, |last| last.since.clone()),
    };
    let is_news = same.is_none_or(|last| {
        // A store that fails in many ways by turns is no news with each of them.
        let is_same_text = class == FailureClass::Passing || last.message == new.message;
        last.reason != new.reason || !is_same_text
    });
    is_news.then_some(new)
}

/// A Backup whose files are read for Restores.
pub(super) struct Wanted {
    pub(super) backup: ObservedBackup,
    /// The uid of its record, if it has one.
    pub(super) record: Option<String>,
    /// The Restores that wait, all before anything is read.
    pub(super) waiting: WaitingRestores,
    /// Set when the files are no longer to be read.
    pub(super) is_over: Arc<AtomicBool>,
}

/// Reads the files of a Backup for Restores, and writes what is found into its record.
pub(super) async fn verify(context: Arc<Context>, wanted: Wanted) -> Requeue {
    let record = match open_record(&context, &wanted).await {
        Ok(record) => record,
        // Another leader, or this one before, made it, and the watch lags behind.
        Err(kube::Error::Api(status)) if status.is_already_exists() => return again(),
        Err(error) => return told(Err(error), "read the record"),
    };
    let mut verifier = Verifier {
        context: &context,
        wanted: &wanted,
        record,
    };
    let last = verifier.known().reading.as_ref().map(ReadingEntry::new);
    if !is_due(&wanted.waiting, last.as_ref()) {
        return Requeue::default();
    }
    match verifier.read().await {
        Ok(reading) => verifier.conclude(reading).await,
        Err(Stop::Unreadable(unreadable)) => verifier.postpone(&unreadable).await,
        // Until the kind has room for what is read.
        Err(Stop::NotKnown) => again(),
        Err(_) => Requeue::default(),
    }
}

/// Takes away what a record says about files that could not be read, or were being read: no Restore waits for
/// them. A later one may find the store mended.
pub(super) async fn settle(context: Arc<Context>, name: String) -> Requeue {
    let settled = async {
        let Some(record) = context.ledger.get(&name).await? else {
            return Ok(());
        };
        let mut status = record.status.clone().unwrap_or_default();
        if let Some(verification) = &mut status.verification {
            verification.failure = None;
            verification.progress = None;
        }
        context.ledger.set_status(&record, &status).await.map(drop)
    };
    told(settled.await, "note that no Restore waits")
}

/// Returns the record of the Backup as it is stored. It is made if there is none.
async fn open_record(context: &Context, wanted: &Wanted) -> kube::Result<BackupRecord> {
    let fields = &wanted.backup.fields;
    let uid = wanted.record.as_ref().unwrap_or(&fields.uid);
    let name = record_name(&fields.name, uid);
    match context.ledger.get_of(&fields.namespace, &name).await? {
        Some(record) => Ok(record),
        None => create_own(context, &wanted.backup, false).await,
    }
}

struct Verifier<'a> {
    context: &'a Context,
    wanted: &'a Wanted,
    /// As it was stored last.
    record: BackupRecord,
}

impl Verifier<'_> {
    fn known(&self) -> Verification {
        let status = self.record.status.as_ref();
        status
            .and_then(|status| status.verification.clone())
            .unwrap_or_default()
    }

    /// Changes what the record says, also if somebody else writes it. Returns whether it is stored.
    async fn change(&mut self, change: impl Fn(&mut Verification)) -> kube::Result<bool> {
        let mut writes = 0..MAX_WRITES;
        loop {
            let mut verification = self.known();
            change(&mut verification);
            if verification == self.known() {
                return Ok(true);
            }
            let status = BackupRecordStatus {
                verification: Some(verification.clone()),
                ..self.record.status.clone().unwrap_or_default()
            };
            match self.context.ledger.set_status(&self.record, &status).await {
                Ok(stored) => {
                    self.record = stored;
                    return Ok(self.known() == verification);
                }
                Err(kube::Error::Api(status)) if status.code == 409 && writes.next().is_some() => {}
                Err(error) => return Err(error),
            }
            let name = self.record.metadata.name.clone().unwrap_or_default();
            let namespace = &self.wanted.backup.fields.namespace;
            match self.context.ledger.get_of(namespace, &name).await? {
                Some(record) => self.record = record,
                None => return Ok(false),
            }
        }
    }

    async fn read(&mut self) -> Result<RecordedReading, Stop> {
        for _ in 0..MAX_ATTEMPTS {
            match self.try_read().await {
                Err(Stop::Changed) if !self.is_over() => {}
                read => return read,
            }
        }
        Err(Stop::Unreadable(Unreadable {
            reason: "Changing",
            message: format!(
                "the bucket lists other files each time that they were read, {MAX_ATTEMPTS} times in a row"
            ),
            class: FailureClass::Passing,
        }))
    }

    fn is_over(&self) -> bool {
        self.wanted.is_over.load(Ordering::Relaxed)
    }

    async fn try_read(&mut self) -> Result<RecordedReading, Stop> {
        let (context, wanted) = (self.context, self.wanted);
        let fields = &wanted.backup.fields;
        let name = &fields.name;
        let began_at = time_now();
        let location = location::open(context, &wanted.backup).await?;
        let listing = location.store.list(name).await?;
        let artifacts = readable(name, &listing);
        if artifacts.is_empty() {
            return Err(Stop::no_files(name, &location.name));
        }
        let files = self.hash(&location, &artifacts).await?;
        let manifests = manifests(context, &location, name, &listing, &files).await?;
        let again = location.store.list(name).await?;
        let digest = listing.digest(name);
        if again.digest(name) != digest {
            return Err(Stop::Changed);
        }
        location::check_unchanged(context, &location).await?;
        Ok(RecordedReading {
            began_at,
            ended_at: time_now(),
            restores: covered(&wanted.waiting),
            provider: location.signed.provider.clone(),
            bucket: location.signed.bucket.clone(),
            prefix: location.signed.prefix.clone(),
            listing: digest.to_string(),
            files: files.iter().map(recorded).collect(),
            manifests,
        })
    }

    /// Hashes these files, and notes in the record how far that is.
    async fn hash(
        &mut self,
        location: &OpenLocation,
        artifacts: &[&Artifact],
    ) -> Result<Vec<File>, Stop> {
        let (context, wanted) = (self.context, self.wanted);
        let sizes = artifacts.iter().map(|artifact| artifact.size);
        let bytes = sizes.fold(0, u64::saturating_add);
        let count = AtomicU64::new(0);
        let progress = || Progress {
            bytes_read: number(count.load(Ordering::Relaxed)),
            bytes: number(bytes),
            at: time_now(),
        };
        let noted = self.note(progress()).await;
        // An older kind drops it, and what is found, too.
        if !noted.map_err(|error| Stop::unanswered("RecordUnwritable", &error))? {
            context.ledger.tell_no_readings();
            return Err(Stop::NotKnown);
        }
        let name = &wanted.backup.fields.name;
        let add = |bytes| {
            count.fetch_add(bytes, Ordering::Relaxed);
        };
        let hashed = hash(
            context,
            &location.store,
            name,
            artifacts,
            &wanted.is_over,
            add,
        );
        let mut hashed = pin!(hashed);
        let mut ticks = interval_at(Instant::now() + PROGRESS_PAUSE, PROGRESS_PAUSE);
        loop {
            tokio::select! {
                files = &mut hashed => return files,
                _ = ticks.tick() => {
                    let noted = self.note(progress()).await;
                    told(noted.map(drop), "note the progress");
                }
            }
        }
    }

    async fn note(&mut self, progress: Progress) -> kube::Result<bool> {
        self.change(|verification| verification.progress = Some(progress.clone()))
            .await
    }

    async fn conclude(&mut self, reading: RecordedReading) -> Requeue {
        let (files, restores) = (reading.files.len(), reading.restores.len());
        let noted = self.change(|verification| {
            verification.reading = Some(reading.clone());
            verification.failure = None;
            verification.progress = None;
        });
        match noted.await {
            Ok(true) => {
                tracing::info!(files, restores, "read the files for Restores");
                // Some may have come meanwhile, or have found no room.
                Requeue::default()
            }
            Ok(false) => again(),
            Err(error) => told(Err(error), "write what was found for Restores"),
        }
    }

    async fn postpone(&mut self, unreadable: &Unreadable) -> Requeue {
        let known = self.known();
        let now = time_now();
        let new = failure(known.failure.as_ref(), unreadable, now.clone());
        if new.is_none() && known.progress.is_none() {
            return again();
        }
        if let Some(new) = &new
            && known.failure.is_none_or(|last| last.reason != new.reason)
        {
            let (reason, why) = (&new.reason, &new.message);
            tracing::warn!(reason, why, "cannot read the files for Restores that wait");
        }
        let noted = self.change(|verification| {
            let last = verification.failure.as_ref();
            if let Some(new) = failure(last, unreadable, now.clone()) {
                verification.failure = Some(new);
            }
            verification.progress = None;
        });
        match noted.await {
            Ok(true) => {}
            Ok(false) => self.context.ledger.tell_no_readings(),
            Err(error) => return told(Err(error), "note that the files cannot be read"),
        }
        again()
    }
}

/// Returns the files of the backup `name` that are read: those that Velero gives a name first. Others, which
/// it never reads, have a place only as far as there is room in a record.
fn readable<'a>(name: &str, listing: &'a Listing) -> Vec<&'a Artifact> {
    let mut artifacts = signed_artifacts(name, listing);
    artifacts.retain(|artifact| is_name(&artifact.name));
    artifacts.sort_by_key(|artifact| files::role(name, &artifact.name) == Role::Unknown);
    artifacts.truncate(MAX_FILES);
    artifacts.sort();
    artifacts
}

/// Returns the digests of what is signed in the envelopes beside `files`, of those that list the same.
async fn manifests(
    context: &Context,
    location: &OpenLocation,
    name: &str,
    listing: &Listing,
    files: &[File],
) -> Result<Vec<String>, Stop> {
    let own = files::envelope(&context.signer.key.public().id().to_string());
    let is_envelope = |artifact: &&Artifact| {
        files::role(name, &artifact.name) == Role::Envelope && artifact.size <= MAX_BYTES as u64
    };
    let mut envelopes: Vec<_> = listing.artifacts.iter().filter(is_envelope).collect();
    envelopes.sort_by_key(|artifact| artifact.name != own);
    let mut manifests = Vec::new();
    for artifact in envelopes.into_iter().take(MAX_ENVELOPES) {
        let bytes = location.store.read(name, artifact).await?;
        let bytes = bytes.bytes(artifact.size).await?;
        let agreeing = agreeing(&bytes, name, files);
        manifests.extend(agreeing.map(|manifest| manifest.to_string()));
    }
    manifests.sort();
    manifests.dedup();
    Ok(manifests)
}

fn recorded(file: &File) -> RecordedFile {
    RecordedFile {
        name: file.name.clone(),
        size: number(file.size),
        sha256: file.sha256.to_string(),
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn time(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).unwrap())
    }

    fn reading(restores: std::ops::Range<usize>) -> RecordedReading {
        RecordedReading {
            began_at: time(1),
            ended_at: time(2),
            restores: uids(restores).into_iter().collect(),
            provider: "aws".into(),
            bucket: "b".into(),
            prefix: String::new(),
            listing: "l".into(),
            files: Vec::new(),
            manifests: Vec::new(),
        }
    }

    fn uids(numbers: std::ops::Range<usize>) -> BTreeSet<String> {
        numbers.map(|number| format!("u{number:03}")).collect()
    }

    fn waiting(unread: std::ops::Range<usize>, others: std::ops::Range<usize>) -> WaitingRestores {
        WaitingRestores {
            unread: uids(unread),
            others: uids(others),
            stale: Vec::new(),
        }
    }

    #[test]
    fn files_are_read_for_restores_for_which_no_reading_counts() {
        let last = reading(0..3);
        let entry = ReadingEntry::new(&last);
        let unread_is_due = |waiting: &WaitingRestores| is_due(waiting, None);
        let is_due = |waiting: &WaitingRestores| is_due(waiting, Some(&entry));
        assert!(unread_is_due(&waiting(0..1, 0..0)));
        assert!(!unread_is_due(&waiting(0..0, 0..1)));
        assert!(!is_due(&waiting(0..3, 0..0)));
        assert!(is_due(&waiting(0..4, 0..0)));
        // What does not need it is no reason to read.
        assert!(!is_due(&waiting(0..3, 3..9)));
        let stale = WaitingRestores {
            stale: vec![last.mark()],
            ..waiting(0..3, 0..0)
        };
        assert!(is_due(&stale));
        let other = WaitingRestores {
            stale: vec![reading(0..2).mark()],
            ..waiting(0..3, 0..0)
        };
        assert!(!is_due(&other));
    }

    #[test]
    fn a_reading_counts_for_all_that_wait_and_replaces_none_that_is_used() {
        let few = waiting(3..5, 0..3);
        assert_eq!(covered(&few), Vec::from_iter(uids(0..5)));
        let many = waiting(128..138, 0..128);
        assert_eq!(covered(&many).len(), MAX_RESTORES);
        assert!(
            uids(128..138)
                .iter()
                .all(|uid| covered(&many).contains(uid))
        );
        let entry = ReadingEntry::new(&reading(0..128));
        assert!(!is_due(&many, Some(&entry)));
        assert!(!is_due(&waiting(128..300, 0..64), Some(&entry)));
        assert!(is_due(&waiting(128..300, 0..63), Some(&entry)));
    }

    #[test]
    fn a_failure_that_lasts_keeps_its_beginning() {
        let unreadable = |reason, message: &str, class| Unreadable {
            reason,
            message: message.into(),
            class,
        };
        let (passing, lasting) = (FailureClass::Passing, FailureClass::Lasting);
        let (denied, late) = ("Denied", "Late");
        let first = failure(None, &unreadable(denied, "a", lasting), time(1)).unwrap();
        assert_eq!((first.since.clone(), first.class), (time(1), lasting));
        let next = |last: &RecordedFailure, reason, message: &str, class| {
            failure(Some(last), &unreadable(reason, message, class), time(9))
        };
        assert_eq!(next(&first, denied, "a", lasting), None);
        let other = next(&first, denied, "b\n", lasting).unwrap();
        assert_eq!(other.since, time(1));
        let down = next(&other, late, "c", passing).unwrap();
        assert_eq!(down.since, time(9));
        assert_eq!(next(&down, late, "d", passing), None);
        assert_eq!(next(&down, denied, "a", lasting).unwrap().since, time(9));
    }
}
