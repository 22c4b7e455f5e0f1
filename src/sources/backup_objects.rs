//! The Backups among the objects of some files, with all that facts about them are read from.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::bucket_error::lookup_error;
use super::bucket_folders::{self, BucketFolders};
use super::object::DEFAULT_NAMESPACE;
use crate::bucket::{self, BucketSettings};
use crate::decision::{
    Backup, BackupRecord, Fact, FailureClass, Key, ListedFiles, Location, Lookup, LookupError,
    LookupErrorKind, Outcome, Reading, ReadingFailure,
};
use crate::integrity::pod_volumes::{PodVolumeBackup, PodVolumeLines, PodVolumes, TooManyVolumes};
use crate::integrity::record;
use crate::kubernetes::pod_volume_backups;
use crate::velero::bsl::Bsl;
use crate::velero::label::label_value;

/// The Backups of some files.
#[derive(Clone, Debug, Default)]
pub(super) struct BackupObjects {
    backups: BTreeMap<Key, Arc<Backup>>,
    records: BTreeMap<String, StoredRecord>,
    locations: BTreeMap<Key, Result<Location, LookupError>>,
    /// Each with the value of its label with the name of the Backup.
    pod_volumes: BTreeMap<Key, (String, PodVolumeBackup)>,
    buckets: BucketFolders,
}

/// A record, and whether its YAML says what was found when the files were read for Restores.
#[derive(Clone, Debug)]
struct StoredRecord {
    record: BackupRecord,
    is_verified: bool,
}

impl BackupObjects {
    /// Adds the buckets in `folder`.
    pub(super) fn add_buckets(&mut self, folder: PathBuf) {
        self.buckets.add(folder);
    }

    /// Adds a Backup. Returns whether it is the first of its name, as the next two do.
    pub(super) fn add(&mut self, key: Key, backup: Backup) -> bool {
        self.backups.insert(key, Arc::new(backup)).is_none()
    }

    /// Adds a record. `is_verified` tells whether its YAML says what was found in the files.
    pub(super) fn add_record(&mut self, record: BackupRecord, is_verified: bool) -> bool {
        let name = record.name.clone();
        let stored = StoredRecord {
            record,
            is_verified,
        };
        self.records.insert(name, stored).is_none()
    }

    /// Adds a BSL.
    pub(super) fn add_location(&mut self, key: Key, bsl: &Bsl<'_>) -> bool {
        let location = read_location(&key.namespace, bsl);
        self.locations.insert(key, location).is_none()
    }

    /// Adds a PodVolumeBackup.
    pub(super) fn add_pod_volume(&mut self, object: &Value) -> Result<(), String> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let namespace = text("/metadata/namespace").unwrap_or(DEFAULT_NAMESPACE);
        let key = Key::new(namespace, text("/metadata/name").unwrap_or_default());
        let labels = object.pointer("/metadata/labels");
        let label = labels.and_then(|labels| labels.get(pod_volume_backups::BACKUP_LABEL));
        let label = label.and_then(Value::as_str).unwrap_or_default();
        let volume = pod_volume_backups::parse(object.to_string().as_bytes());
        let volume = volume.map_err(|error| error.to_string())?;
        self.pod_volumes.insert(key, (label.to_owned(), volume));
        Ok(())
    }

    /// Returns the answer to a `lookup` about Backups.
    pub(super) fn look_up(&self, lookup: &Lookup) -> Outcome {
        let found = match lookup {
            Lookup::Backup(key) => {
                let backup = self.backups.get(key);
                backup.map(|backup| Fact::Backup(Arc::clone(backup)))
            }
            Lookup::BackupsOfSchedule {
                namespace,
                schedule,
            } => {
                let backups = self.backups.iter().filter(|(key, backup)| {
                    key.namespace == *namespace && backup.fields.schedule.as_ref() == Some(schedule)
                });
                let backups = backups.map(|(_, backup)| Backup::clone(backup));
                Some(Fact::Backups(Arc::new(backups.collect())))
            }
            Lookup::Records { backup, .. } => {
                let has_kind = !self.records.is_empty();
                has_kind.then(|| Fact::Records(Arc::new(self.records_of(backup))))
            }
            Lookup::SignedBackups {
                namespace,
                location,
            } => {
                let mut records = self.records.values();
                let is_signed =
                    |stored: &StoredRecord| stored.record.is_signed_in(namespace, location);
                (!self.records.is_empty()).then(|| Fact::SignedBackups(records.any(is_signed)))
            }
            Lookup::LostBackups {
                namespace,
                schedule,
            } => {
                let records = self.records.values().map(|stored| &stored.record);
                let is_lost = |record: &&BackupRecord| {
                    let schedule_of = record::claimed(record).and_then(|it| it.backup.schedule);
                    record.is_lost_in(namespace) && schedule_of.as_ref() == Some(schedule)
                };
                let lost = records.filter(is_lost).cloned().collect();
                (!self.records.is_empty()).then(|| Fact::Records(Arc::new(lost)))
            }
            Lookup::ListedFiles { backup, location } => {
                match self.listed_files(backup, &Key::new(&backup.namespace, location)) {
                    Ok(files) => files.map(|files| Fact::ListedFiles(Arc::new(files))),
                    Err(error) => return Outcome::Unavailable(error),
                }
            }
            Lookup::PodVolumes(backup) => match self.pod_volumes_of(backup) {
                Ok(volumes) => Some(Fact::PodVolumes(volumes)),
                Err(excess) => {
                    return Outcome::Unavailable(LookupError {
                        kind: LookupErrorKind::Unreadable,
                        message: format!("the PodVolumeBackups {excess}"),
                    });
                }
            },
            _ => None,
        };
        found.map_or(Outcome::Absent, Outcome::Found)
    }

    /// Returns the records of `backup`. One whose YAML does not say what was found in its files has what is
    /// there at this moment.
    fn records_of(&self, backup: &Key) -> Vec<BackupRecord> {
        let of = self.records.values();
        let of = of.filter(|stored| stored.record.backup == *backup);
        let records = of.map(
            |StoredRecord {
                 record,
                 is_verified,
             }| {
                let mut record = record.clone();
                if !is_verified {
                    match self.reading(backup) {
                        Ok(reading) => record.reading = reading,
                        Err(error) => {
                            record.reading_failure = Some(ReadingFailure {
                                reason: "Unreadable".to_owned(),
                                message: error.to_string(),
                                class: FailureClass::Passing,
                                since: 0,
                            });
                        }
                    }
                }
                record
            },
        );
        records.collect()
    }

    /// Reads the files of `backup`, if its bucket is there.
    fn reading(&self, backup: &Key) -> io::Result<Option<Reading>> {
        let Some(object) = self.backups.get(backup) else {
            return Ok(None);
        };
        let location = Key::new(&backup.namespace, &object.storage_location);
        match self.locations.get(&location) {
            Some(Ok(location)) => self.buckets.read(location, &backup.name),
            Some(Err(_)) | None => Ok(None),
        }
    }

    fn listed_files(
        &self,
        backup: &Key,
        location: &Key,
    ) -> Result<Option<ListedFiles>, LookupError> {
        let Some(location) = self.locations.get(location) else {
            return Ok(None);
        };
        let location = location.as_ref().map_err(LookupError::clone)?;
        let unreachable = |message: String| LookupError {
            kind: LookupErrorKind::Unreachable,
            message,
        };
        let read = self.buckets.read(location, &backup.name);
        let read = read.map_err(|error| unreachable(error.to_string()))?;
        let folder = bucket_folders::FOLDER;
        let bucket = &location.bucket;
        let missing = || unreachable(format!("there is no folder {folder}/{bucket}"));
        let reading = read.ok_or_else(missing)?;
        let listing = reading.listing.ok_or_else(missing)?;
        Ok(Some(ListedFiles {
            location: reading.location,
            listing,
            is_authentic: false,
        }))
    }

    fn pod_volumes_of(&self, backup: &Key) -> Result<PodVolumes, TooManyVolumes> {
        let label = label_value(&backup.name);
        let mut lines = PodVolumeLines::default();
        for (key, (of, volume)) in &self.pod_volumes {
            if (&key.namespace, of) == (&backup.namespace, &label) {
                lines.add(volume)?;
            }
        }
        Ok(lines.digest())
    }
}

/// Returns where the files of a BSL are, as velero-trust would look for them in a cluster.
fn read_location(namespace: &str, bsl: &Bsl<'_>) -> Result<Location, LookupError> {
    let settings = BucketSettings::read(namespace, bsl);
    let settings = settings.map_err(|error| lookup_error(&bucket::Error::from(error).into()))?;
    Ok(Location {
        provider: bsl.provider().to_owned(),
        bucket: settings.bucket,
        prefix: settings.prefix,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::decision::Covered;
    use crate::digest::Sha256;
    use crate::sources::objects::Objects;

    const RECORDED: &str = include_str!("../../tests/cases/records/recorded.yaml");
    const BACKUP: &str = "apiVersion: velero.io/v1\nkind: Backup\nmetadata: {name: b, namespace: velero}\n\
        spec: {storageLocation: default}\n";

    fn location(provider: &str) -> String {
        format!(
            "apiVersion: velero.io/v1\nkind: BackupStorageLocation\n\
             metadata: {{name: default, namespace: velero}}\n\
             spec: {{provider: {provider}, objectStorage: {{bucket: backups}}}}\n"
        )
    }

    fn key() -> Key {
        Key::new("velero", "b")
    }

    fn put(folder: &Path, path: &str, content: &str) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A folder with a Backup, its record and its files, of which one is no YAML.
    fn scene() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let objects = [BACKUP, &location("velero.io/aws"), RECORDED].join("---\n");
        put(folder.path(), "objects.yaml", &objects);
        put(
            folder.path(),
            "buckets/backups/backups/b/b.tar.gz",
            "tarball",
        );
        put(
            folder.path(),
            "buckets/backups/backups/b/velero-backup.json",
            "{}",
        );
        put(folder.path(), "buckets/other/x.yaml", "a: [");
        folder
    }

    fn read(folder: &Path) -> Objects {
        Objects::read(&[folder.to_owned()]).unwrap()
    }

    fn record(objects: &Objects) -> BackupRecord {
        let uid = "u".to_owned();
        let lookup = Lookup::Records { backup: key(), uid };
        match objects.look_up(&lookup) {
            Outcome::Found(Fact::Records(records)) => records[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    fn listed(objects: &Objects, location: &str) -> Outcome {
        let location = location.to_owned();
        objects.look_up(&Lookup::ListedFiles {
            backup: key(),
            location,
        })
    }

    #[test]
    fn a_record_has_a_reading_of_the_files_in_the_folder() {
        let folder = scene();
        let objects = read(folder.path());
        assert_eq!(objects.notes, [""; 0], "no file of a bucket is an object");
        let reading = record(&objects).reading.unwrap();
        assert_eq!(reading.covers, Covered::All);
        assert_eq!(reading.files[0].sha256, Sha256::of(b"tarball"));
        assert_eq!(reading.lists, []);
        let Outcome::Found(Fact::ListedFiles(files)) = listed(&objects, "default") else {
            panic!("not listed");
        };
        assert_eq!(
            (files.listing, files.is_authentic),
            (reading.listing.unwrap(), false)
        );
        assert_eq!(files.location, reading.location);
        // Files are read anew, objects are not.
        put(
            folder.path(),
            "buckets/backups/backups/b/b.tar.gz",
            "tarbal1",
        );
        let changed = record(&objects).reading.unwrap();
        assert_ne!(changed.listing, reading.listing);
        std::fs::remove_dir_all(folder.path().join("buckets")).unwrap();
        assert_eq!(record(&objects).reading, None);
        assert!(matches!(listed(&objects, "other"), Outcome::Absent));
        let Outcome::Unavailable(error) = listed(&objects, "default") else {
            panic!("there is no bucket");
        };
        assert_eq!(error.message, "there is no folder buckets/backups");
    }

    #[test]
    fn an_envelope_beside_the_files_counts_while_it_lists_just_these() {
        let folder = scene();
        let envelope = record(&read(folder.path())).envelope.unwrap();
        let name = "buckets/backups/backups/b/velero-trust.0123456789abcdef.dsse.json";
        put(folder.path(), name, &envelope);
        let recorded = record(&read(folder.path()));
        let signed = recorded.manifest.unwrap();
        let lists = |objects: &Objects| record(objects).reading.unwrap().lists;
        let found = lists(&read(folder.path()));
        let [list] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(format!("sha256:{}", list.sha256), signed);
        assert_eq!((&*list.backup.uid, list.pod_volumes.count), ("u", 0));
        put(folder.path(), "buckets/backups/backups/b/b-logs.gz", "");
        assert_eq!(lists(&read(folder.path())), []);
    }

    /// Anybody may put an envelope beside the files, and what it says is kept in the record.
    #[test]
    fn a_list_with_long_fields_is_none() {
        let folder = scene();
        let list_of = |uid: &str| {
            let envelope = record(&read(folder.path())).envelope.unwrap();
            let mut envelope: Value = serde_json::from_str(&envelope).unwrap();
            let payload = STANDARD
                .decode(envelope["payload"].as_str().unwrap())
                .unwrap();
            let mut payload: Value = serde_json::from_slice(&payload).unwrap();
            payload["predicate"]["backup"]["uid"] = uid.into();
            envelope["payload"] = STANDARD.encode(payload.to_string()).into();
            let name = "buckets/backups/backups/b/velero-trust.0123456789abcdef.dsse.json";
            put(folder.path(), name, &envelope.to_string());
            record(&read(folder.path())).reading.unwrap().lists.len()
        };
        assert_eq!(list_of("u"), 1);
        assert_eq!(list_of(&"u".repeat(1024)), 0);
    }

    #[test]
    fn what_a_record_says_of_its_files_stays() {
        let folder = scene();
        let verified = format!("{RECORDED}  verification: {{}}\n");
        let objects = [BACKUP, &location("aws"), &verified].join("---\n");
        put(folder.path(), "objects.yaml", &objects);
        assert_eq!(record(&read(folder.path())).reading, None);
    }

    #[test]
    fn a_location_of_another_provider_is_not_read() {
        let folder = scene();
        let objects = [BACKUP, &location("oss"), RECORDED].join("---\n");
        put(folder.path(), "objects.yaml", &objects);
        let Outcome::Unavailable(error) = listed(&read(folder.path()), "default") else {
            panic!("it cannot be read");
        };
        assert_eq!(error.kind, LookupErrorKind::Unsupported);
        assert!(error.message.contains("`oss`"), "{error:?}");
    }

    #[test]
    fn pod_volume_backups_are_found_by_their_label() {
        let mut objects = Objects::default();
        let volume = |namespace: &str, name: &str, of: &str| {
            format!(
                "apiVersion: velero.io/v1\nkind: PodVolumeBackup\nmetadata:\n  name: {name}\n  \
                 namespace: {namespace}\n  labels: {{velero.io/backup-name: {of}}}\n\
                 spec: {{volume: data, pod: {{namespace: shop, name: db}}}}\nstatus: {{snapshotID: s}}\n"
            )
        };
        let all = [
            ("velero", "one", "b"),
            ("velero", "two", "c"),
            ("other", "one", "b"),
        ];
        let all = all.map(|(namespace, name, of)| volume(namespace, name, of));
        objects
            .add(Path::new("x.yaml"), &all.join("---\n"))
            .unwrap();
        let of = |name: &str| match objects.look_up(&Lookup::PodVolumes(Key::new("velero", name))) {
            Outcome::Found(Fact::PodVolumes(volumes)) => volumes,
            other => panic!("{other:?}"),
        };
        let line = b"[\"shop\",\"db\",\"data\",\"\",\"\",\"s\"]\n";
        assert_eq!((of("b").count, of("b").sha256), (1, Sha256::of(line)));
        assert_eq!(of("d"), PodVolumes::none());
        assert_eq!(objects.notes, [""; 0]);
    }
}
