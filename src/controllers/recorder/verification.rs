//! Reads the files of a backup for the Restores that wait for it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use super::Context;
use super::download;
use super::ledger::time_now;
use super::location::{self, OpenLocation};
use super::reader::hash;
use super::reading::{Beginning, Found, is_due, lists, number, readable};
use super::steps::{again, create_own, told};
use super::stop::{Stop, Unreadable, failure};
use crate::bucket::Artifact;
use crate::controllers::channels::WaitingRestores;
use crate::controllers::records::ReadingEntry;
use crate::decision::{FailureClass, File};
use crate::integrity::recording::RecordState;
use crate::kubernetes::crds::{
    BackupRecord, BackupRecordStatus, Progress, RecordedReading, Verification, record_name,
};
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

/// How often files are read anew because the bucket lists something else afterwards.
const MAX_ATTEMPTS: u32 = 3;

/// How often a write of the status is tried of which somebody else was faster.
const MAX_WRITES: u32 = 5;

/// Time from one note of the progress to the next.
const PROGRESS_PAUSE: Duration = Duration::from_secs(10);

/// Longest pause before files are tried again that could not be read, while a Restore waits for them.
pub(super) const MAX_PAUSE: Duration = Duration::from_mins(1);

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
            class: FailureClass::Changing,
            lacks_rights: false,
        }))
    }

    fn is_over(&self) -> bool {
        self.wanted.is_over.load(Ordering::Relaxed)
    }

    async fn try_read(&mut self) -> Result<RecordedReading, Stop> {
        let read = self.try_read_all().await;
        match read {
            Err(Stop::Unreadable(unreadable)) if self.asks_velero(&unreadable) => {
                self.try_read_tarball(unreadable).await
            }
            read => read,
        }
    }

    /// Whether the tarball is read by a URL of Velero's, because velero-trust has no rights to the bucket. What is signed
    /// lists all files, so that it would say nothing.
    fn asks_velero(&self, unreadable: &Unreadable) -> bool {
        let is_wanted = self.context.settings.download_requests && unreadable.lacks_rights;
        is_wanted && self.record.known().state != RecordState::Recorded
    }

    async fn try_read_tarball(&mut self, unreadable: Unreadable) -> Result<RecordedReading, Stop> {
        let (context, wanted) = (self.context, self.wanted);
        let beginning = Beginning::now(&wanted.waiting);
        // An older kind drops what is found.
        let noted = self.note(Progress {
            bytes_read: 0,
            bytes: 0,
            at: time_now(),
        });
        let noted = noted.await;
        self.check_keeps(noted)?;
        match download::read(context, &wanted.backup, &wanted.is_over).await {
            Ok(tarball) => Ok(beginning.end_with(&tarball.location.signed, &tarball.file)),
            Err(Stop::Unreadable(other)) => Err(Stop::Unreadable(unreadable.nor(&other))),
            Err(stop) => Err(stop),
        }
    }

    async fn try_read_all(&mut self) -> Result<RecordedReading, Stop> {
        let (context, wanted) = (self.context, self.wanted);
        let fields = &wanted.backup.fields;
        let name = &fields.name;
        let beginning = Beginning::now(&wanted.waiting);
        let location = location::open(context, &wanted.backup).await?;
        let listing = location.store.list(name).await?;
        let (artifacts, unread) = readable(name, &listing);
        let files = self.hash(&location, &artifacts).await?;
        let lists = lists(context, &location, name, &listing, &files, &unread).await?;
        let again = location.store.list(name).await?;
        if again.digest(name) != listing.digest(name) {
            return Err(Stop::Changed);
        }
        location::check_unchanged(context, &location).await?;
        let found = Found {
            files,
            unread,
            lists,
        };
        Ok(beginning.end(&location, name, &listing, found))
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
        self.check_keeps(noted)?;
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

    /// Fails if the progress was not `noted`: an older kind drops it, and what is found, too.
    fn check_keeps(&self, noted: kube::Result<bool>) -> Result<(), Stop> {
        let keeps = noted.map_err(|error| Stop::unanswered("RecordUnwritable", &error))?;
        self.context.ledger.tell_keeps_readings(keeps);
        if keeps { Ok(()) } else { Err(Stop::NotKnown) }
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
            Ok(false) => self.context.ledger.tell_keeps_readings(false),
            Err(error) => return told(Err(error), "note that the files cannot be read"),
        }
        again()
    }
}
