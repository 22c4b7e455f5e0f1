//! Lenient, borrowed views of Velero's objects and of the Pods that run it.
//!
//! They hold only the fields we read, ignore all others, and take `null` for "not set".

pub mod backup;
pub mod bsl;
pub mod metadata;
pub mod pod;
pub mod restore;
pub mod text;
