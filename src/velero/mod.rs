//! Lenient, borrowed views of Velero's objects and of the Pods that run it.
//!
//! They contain only the fields that velero-trust reads, ignore all others, and treat `null` as
//! "not set".

pub mod backup;
pub mod backup_fields;
pub mod bsl;
pub mod glob;
pub mod image;
pub mod label;
pub mod lenient;
pub mod list;
pub mod metadata;
pub mod namespace;
pub mod namespace_pattern;
pub mod naming;
pub mod observed_backup;
pub mod packed_backup;
pub mod packed_texts;
pub mod pod;
pub mod pod_kind;
pub mod pod_limits;
pub mod pod_status;
pub mod printable;
pub mod restore;
pub mod text;
pub mod unique_keys;
