//! What a decision waits for.

use std::fmt;

/// Something that is not known yet, and that a controller finds out without being asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for.
    pub kind: WaitKind,
    /// The same for people.
    pub message: String,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitKind {
    /// The backup is not recorded yet.
    Recording,
    /// Its files are read for this Restore.
    Reading,
    /// They are to be read again: the bucket does not list what it listed when they were read.
    Changed,
    /// They cannot be read at the moment.
    Failing,
    /// Velero's sync has not made all PodVolumeBackups yet.
    PodVolumes,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
