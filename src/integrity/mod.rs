//! Backup integrity: checksums, and what a Restore needs before it may run.

pub mod checksum;
pub mod rules;
