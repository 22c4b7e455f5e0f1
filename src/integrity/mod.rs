//! Backup integrity: checksums, signed statements about backups, and the rules for Restores.

pub mod change;
pub mod checksum;
pub mod departure;
pub mod envelope;
pub mod files;
pub mod final_phase;
pub mod import;
pub mod manifest;
pub mod origin;
pub mod pod_volumes;
pub mod public_key;
pub mod record;
pub mod recording;
pub mod restorable;
pub mod rules;
pub mod statement;
pub mod trust;
pub mod verdict;
pub mod verification;
