//! The PodVolumeBackups of a backup: which snapshot of which repository holds each volume.
//!
//! A restore reads them from the cluster, where the sync puts what the bucket says. So a statement
//! binds them as they are in the cluster when the backup completes.

pub use crate::decision::PodVolumes;
use crate::digest::Hasher;

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

/// Most PodVolumeBackups of a backup. Each is an object of etcd.
pub const MAX_VOLUMES: usize = 10_000;

/// Most bytes of the lines that are digested. One has some hundred.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// There are more PodVolumeBackups than are digested. Whoever may create them may create many, and the
/// lines have to be sorted, so that all of them are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyVolumes {
    /// More than [`MAX_VOLUMES`].
    #[error("are more than {MAX_VOLUMES}")]
    Count,
    /// More than [`MAX_LINE_BYTES`].
    #[error("name more than {} MiB of Pods, volumes, repositories and snapshots", MAX_LINE_BYTES >> 20)]
    Bytes,
}

/// What is digested of the PodVolumeBackups of a backup, while they are read.
#[derive(Clone, Debug, Default)]
pub struct PodVolumeLines {
    lines: Vec<String>,
    bytes: usize,
}

impl PodVolumeLines {
    /// Adds a PodVolumeBackup, in any order.
    pub fn add(&mut self, backup: &PodVolumeBackup) -> Result<(), TooManyVolumes> {
        if self.lines.len() >= MAX_VOLUMES {
            return Err(TooManyVolumes::Count);
        }
        let line = line(backup);
        self.bytes += line.len();
        if self.bytes > MAX_LINE_BYTES {
            return Err(TooManyVolumes::Bytes);
        }
        self.lines.push(line);
        Ok(())
    }

    /// Counts and digests what was added.
    pub fn digest(mut self) -> PodVolumes {
        self.lines.sort_unstable();
        let mut hasher = Hasher::default();
        for line in &self.lines {
            hasher.update(line.as_bytes());
            hasher.update(b"\n");
        }
        PodVolumes {
            count: self.lines.len(),
            sha256: hasher.finish(),
        }
    }
}

impl PodVolumes {
    /// Returns what stands for more than are digested.
    pub fn too_many() -> Self {
        Self {
            count: MAX_VOLUMES + 1,
            sha256: PodVolumeLines::default().digest().sha256,
        }
    }

    /// Returns what is signed of a backup without PodVolumeBackups.
    pub fn none() -> Self {
        PodVolumeLines::default().digest()
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
    use crate::digest::Sha256;

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

    fn digest(volumes: &[PodVolumeBackup]) -> PodVolumes {
        let mut lines = PodVolumeLines::default();
        for volume in volumes {
            lines.add(volume).unwrap();
        }
        lines.digest()
    }

    #[test]
    fn no_more_is_held_than_the_bounds() {
        let mut lines = PodVolumeLines::default();
        for _ in 0..MAX_VOLUMES {
            lines.add(&PodVolumeBackup::default()).unwrap();
        }
        let beyond = lines.add(&PodVolumeBackup::default());
        let beyond = beyond.unwrap_err();
        assert_eq!(beyond, TooManyVolumes::Count);
        assert_eq!(beyond.to_string(), "are more than 10000");
        assert_eq!(lines.digest().count, MAX_VOLUMES);
        let rest = line(&PodVolumeBackup::default()).len();
        for (length, expected) in [
            (MAX_LINE_BYTES - rest, Ok(())),
            (MAX_LINE_BYTES - rest + 1, Err(TooManyVolumes::Bytes)),
        ] {
            let mut lines = PodVolumeLines::default();
            assert_eq!(lines.add(&volume_of(length)), expected);
        }
    }

    fn volume_of(length: usize) -> PodVolumeBackup {
        PodVolumeBackup {
            repository: "r".repeat(length),
            ..PodVolumeBackup::default()
        }
    }

    #[test]
    fn the_digest_is_that_of_sorted_lines() {
        let (a, b) = (volume("a", "1"), volume("b", "2"));
        let both = digest(&[b.clone(), a.clone()]);
        assert_eq!(both, digest(&[a, b]));
        let repository = "s3:https://s3.example.com/b/kopia/shop";
        let lines = format!(
            "[\"shop\",\"a\",\"data\",\"kopia\",\"{repository}\",\"1\"]\n\
             [\"shop\",\"b\",\"data\",\"kopia\",\"{repository}\",\"2\"]\n"
        );
        let sha256 = Sha256::of(lines.as_bytes());
        assert_eq!(both, PodVolumes { count: 2, sha256 });
        let none = PodVolumes::none();
        assert_eq!((none.count, none.sha256), (0, Sha256::of(b"")));
    }

    #[test]
    fn each_field_counts() {
        let one = digest(&[volume("a", "1")]);
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
            assert_ne!(digest(&[changed.clone()]), one, "{changed:?}");
        }
        // No text of one field can imitate another.
        let joined = PodVolumeBackup {
            pod: "a\",\"data".into(),
            volume: String::new(),
            ..volume("a", "1")
        };
        assert_ne!(digest(&[joined]), one);
    }
}
