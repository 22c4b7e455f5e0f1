//! The PodVolumeBackups of a backup: which snapshot of which repository holds each volume.
//!
//! A restore reads them from the cluster, where the sync puts what the bucket says. So a statement
//! binds them as they are in the cluster when the backup completes.

use serde::{Deserialize, Serialize};

use super::digest::Hasher;
use super::digest::Sha256;

/// What decides, in one PodVolumeBackup, which data a restore puts into which volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodVolumeBackup {
    /// `spec.pod.namespace`.
    pub pod_namespace: String,
    /// `spec.pod.name`.
    pub pod: String,
    /// `spec.volume`.
    pub volume: String,
    /// `spec.uploaderType`.
    pub uploader: String,
    /// `spec.repoIdentifier`.
    pub repository: String,
    /// `status.snapshotID`.
    pub snapshot: String,
}

/// The number of PodVolumeBackups of a backup, and one digest of them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodVolumes {
    /// The number.
    pub count: usize,
    /// The digest of a line for each: its fields as a JSON array, in the order of
    /// [`PodVolumeBackup`]. The lines are ordered by their bytes, as by `LC_ALL=C sort`.
    pub sha256: Sha256,
}

impl PodVolumes {
    /// Counts and digests `backups`, which may be in any order.
    pub fn new(backups: &[PodVolumeBackup]) -> Self {
        let mut lines: Vec<String> = backups.iter().map(line).collect();
        lines.sort();
        let mut hasher = Hasher::default();
        for line in &lines {
            hasher.update(line.as_bytes());
            hasher.update(b"\n");
        }
        Self {
            count: lines.len(),
            sha256: hasher.finish(),
        }
    }
}

fn line(backup: &PodVolumeBackup) -> String {
    serde_json::json!([
        backup.pod_namespace,
        backup.pod,
        backup.volume,
        backup.uploader,
        backup.repository,
        backup.snapshot,
    ])
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(pod: &str, snapshot: &str) -> PodVolumeBackup {
        PodVolumeBackup {
            pod_namespace: "shop".into(),
            pod: pod.into(),
            volume: "data".into(),
            uploader: "kopia".into(),
            repository: "s3:https://s3.example.com/b/kopia/shop".into(),
            snapshot: snapshot.into(),
        }
    }

    #[test]
    fn the_digest_is_that_of_sorted_lines() {
        let (a, b) = (volume("a", "1"), volume("b", "2"));
        let both = PodVolumes::new(&[b.clone(), a.clone()]);
        assert_eq!(both, PodVolumes::new(&[a, b]));
        let repository = "s3:https://s3.example.com/b/kopia/shop";
        let lines = format!(
            "[\"shop\",\"a\",\"data\",\"kopia\",\"{repository}\",\"1\"]\n\
             [\"shop\",\"b\",\"data\",\"kopia\",\"{repository}\",\"2\"]\n"
        );
        let sha256 = Sha256::of(lines.as_bytes());
        assert_eq!(both, PodVolumes { count: 2, sha256 });
        let none = PodVolumes::new(&[]);
        assert_eq!((none.count, none.sha256), (0, Sha256::of(b"")));
    }

    #[test]
    fn each_field_counts() {
        let one = PodVolumes::new(&[volume("a", "1")]);
        let change: [fn(&mut PodVolumeBackup); 6] = [
            |volume| volume.pod_namespace.push('x'),
            |volume| volume.pod.push('x'),
            |volume| volume.volume.push('x'),
            |volume| volume.uploader.push('x'),
            |volume| volume.repository.push('x'),
            |volume| volume.snapshot.push('x'),
        ];
        for change in change {
            let mut changed = volume("a", "1");
            change(&mut changed);
            assert_ne!(PodVolumes::new(&[changed.clone()]), one, "{changed:?}");
        }
        // No text of one field can imitate another.
        let joined = PodVolumeBackup {
            pod: "a\",\"data".into(),
            volume: String::new(),
            ..volume("a", "1")
        };
        assert_ne!(PodVolumes::new(&[joined]), one);
    }
}
