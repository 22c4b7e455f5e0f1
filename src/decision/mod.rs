//! The types that every decision uses: rules, findings, facts, policies, reports and verdicts.

mod facts;
mod finding;
mod hint;
mod policy;
mod report;
mod rule;
mod verdict;
mod wait;

pub use facts::{
    Backup, BackupFields, BackupRecord, Bundle, Covered, Departure, Fact, Facts, FailureClass,
    File, Key, KeyScope, KeyState, Known, ListedFiles, Location, Lookup, LookupError,
    LookupErrorKind, NoBundle, Outcome, Place, PodVolumes, Reading, ReadingFailure, RecordState,
    Sealed, Secret, SecretKeyRef, SignedLevel, SignedList, Stop, TrustedKey, UnreadFile, User,
    Verb,
};
pub use finding::{FieldPath, Finding, Segment};
pub use hint::Hint;
pub use policy::{Context, Policy, PolicyError, RestoresMode};
pub use report::{Note, Report};
pub use rule::{Code, Rule, Severity};
pub use verdict::{Judged, Verdict};
pub use wait::{Wait, WaitKind};
