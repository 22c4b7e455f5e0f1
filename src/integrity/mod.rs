//! Backup integrity: checksums, and the rules for Restores.

pub mod checksum;
pub mod rules;
