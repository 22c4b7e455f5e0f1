//! Readings of the files of a backup: for which Restores they count, and what is read.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Context;
use super::ledger::time_now;
use super::location::OpenLocation;
use super::reader::signed_artifacts;
use super::stop::Stop;
use crate::bucket::{Artifact, Listing};
use crate::controllers::channels::WaitingRestores;
use crate::controllers::records::ReadingEntry;
use crate::decision::{FailureClass, File, Location, SignedList, UnreadFile};
use crate::integrity::envelope::MAX_BYTES;
use crate::integrity::files::{self, Role};
use crate::integrity::manifest::{MAX_FILES, is_name};
use crate::integrity::verification::agreeing;
use crate::kubernetes::crds::{ListedFile, RecordedFile, RecordedReading};

/// Most Restores for which a reading counts. Each needs 40 bytes of a record.
const MAX_RESTORES: usize = 128;

/// Most envelopes beside a backup that are read. Each cluster of a bucket has one.
const MAX_ENVELOPES: usize = 16;

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

/// What is found of the files of a backup.
#[derive(Default)]
pub(super) struct Found {
    /// Those that were read.
    pub(super) files: Vec<File>,
    /// The others.
    pub(super) unread: Vec<UnreadFile>,
    /// What is signed in the envelopes beside them.
    pub(super) lists: Vec<SignedList>,
}

/// A reading that is under way.
pub(super) struct Beginning {
    at: Time,
    restores: Vec<String>,
}

impl Beginning {
    /// Begins a reading at this moment, which counts for all that wait.
    pub(super) fn now(waiting: &WaitingRestores) -> Self {
        Self {
            at: time_now(),
            restores: covered(waiting),
        }
    }

    /// Ends it with what was found of the backup `name`, of which the bucket listed the same before and after.
    pub(super) fn end(
        self,
        location: &OpenLocation,
        name: &str,
        listing: &Listing,
        Found {
            files,
            unread,
            lists,
        }: Found,
    ) -> RecordedReading {
        RecordedReading {
            began_at: self.at,
            ended_at: time_now(),
            restores: self.restores,
            provider: location.signed.provider.clone(),
            bucket: location.signed.bucket.clone(),
            prefix: location.signed.prefix.clone(),
            listing: Some(listing.digest(name).to_string()),
            files: files.iter().map(recorded).collect(),
            unread: unread.iter().map(listed).collect(),
            lists,
        }
    }

    /// Ends it where only the tarball could be read, in `location`.
    pub(super) fn end_with(self, location: &Location, tarball: &File) -> RecordedReading {
        RecordedReading {
            began_at: self.at,
            ended_at: time_now(),
            restores: self.restores,
            provider: location.provider.clone(),
            bucket: location.bucket.clone(),
            prefix: location.prefix.clone(),
            listing: None,
            files: vec![recorded(tarball)],
            unread: Vec::new(),
            lists: Vec::new(),
        }
    }
}

/// Returns the files of the backup `name` that are read for Restores, and the others, as far as there is room in
/// a record. Velero does not know those: whatever their bytes are, it restores the same, and they may be huge.
pub(super) fn readable<'a>(
    name: &str,
    listing: &'a Listing,
) -> (Vec<&'a Artifact>, Vec<UnreadFile>) {
    let mut artifacts = signed_artifacts(name, listing);
    artifacts.retain(|artifact| is_name(&artifact.name));
    let is_known = |artifact: &&Artifact| files::role(name, &artifact.name) != Role::Unknown;
    let (known, others): (Vec<_>, Vec<_>) = artifacts.into_iter().partition(is_known);
    let room = MAX_FILES.saturating_sub(known.len());
    let others = others.into_iter().take(room).map(|artifact| UnreadFile {
        name: artifact.name.clone(),
        size: artifact.size,
    });
    (known, others.collect())
}

/// Returns what is signed in the envelopes beside `files`, of those that list the same.
pub(super) async fn lists(
    context: &Context,
    location: &OpenLocation,
    name: &str,
    listing: &Listing,
    files: &[File],
    unread: &[UnreadFile],
) -> Result<Vec<SignedList>, Stop> {
    let own = context.signer().map(|signer| signer.key.public().id());
    let own = own.map(|id| files::envelope(&id.to_string()));
    let is_envelope = |artifact: &&Artifact| {
        files::role(name, &artifact.name) == Role::Envelope && artifact.size <= MAX_BYTES as u64
    };
    let mut envelopes: Vec<_> = listing.artifacts.iter().filter(is_envelope).collect();
    envelopes.sort_by_key(|artifact| Some(&artifact.name) != own.as_ref());
    let mut lists = Vec::new();
    for artifact in envelopes.into_iter().take(MAX_ENVELOPES) {
        match read_envelope(location, name, artifact).await {
            Ok(bytes) => lists.extend(agreeing(&bytes, name, files, unread)),
            // Another cluster may have put it with a key of its own. The files are not less known for it.
            Err(Stop::Unreadable(unreadable)) if unreadable.class == FailureClass::Lasting => {}
            Err(stop) => return Err(stop),
        }
    }
    arrange(&mut lists);
    Ok(lists)
}

async fn read_envelope(
    location: &OpenLocation,
    name: &str,
    artifact: &Artifact,
) -> Result<Vec<u8>, Stop> {
    let bytes = location.store.read(name, artifact).await?;
    Ok(bytes.bytes(artifact.size).await?)
}

/// Adds what is signed in `envelope`, which is put beside `files`, if it lists the same.
pub(super) fn add_list(lists: &mut Vec<SignedList>, envelope: &str, name: &str, files: &[File]) {
    lists.extend(agreeing(envelope.as_bytes(), name, files, &[]));
    arrange(lists);
}

fn arrange(lists: &mut Vec<SignedList>) {
    lists.sort_by_key(|list| list.sha256);
    lists.dedup_by_key(|list| list.sha256);
}

fn listed(file: &UnreadFile) -> ListedFile {
    ListedFile {
        name: file.name.clone(),
        size: number(file.size),
    }
}

fn recorded(file: &File) -> RecordedFile {
    RecordedFile {
        name: file.name.clone(),
        size: number(file.size),
        sha256: file.sha256.to_string(),
    }
}

pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::digest::Sha256;

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
            listing: Some("l".into()),
            files: Vec::new(),
            unread: Vec::new(),
            lists: Vec::new(),
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

    /// Each cluster of a bucket puts its own.
    #[test]
    fn signed_lists_are_no_files_that_are_read_or_told() {
        let list = files::envelope(&"0".repeat(64));
        let artifact = |name: &str| Artifact {
            name: name.to_owned(),
            size: 1,
            last_modified: Timestamp::UNIX_EPOCH,
            etag: String::new(),
        };
        let listing = Listing {
            artifacts: ["b.tar.gz", "notes", &list].map(artifact).into(),
            place: Sha256::of(b""),
            store_time: None,
        };
        let (read, told) = readable("b", &listing);
        let read: Vec<_> = read.iter().map(|artifact| &*artifact.name).collect();
        let told: Vec<_> = told.iter().map(|file| &*file.name).collect();
        assert_eq!((read, told), (vec!["b.tar.gz"], vec!["notes"]));
    }
}
