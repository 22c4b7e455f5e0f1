//! Backup integrity: checksums, and the rules for Restores.

pub mod change;
pub mod checksum;
pub mod restorable;
pub mod rules;
