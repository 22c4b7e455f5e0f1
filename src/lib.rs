//! The admission webhook for Velero: CA trust for backup storage locations, and checksums before
//! a restore.
//!
//! The modules are listed in the order of their imports: each uses only those above it. All modules
//! down to [`admission`] are pure: they use no I/O, clock, environment or log.

pub mod names;

pub mod digest;

pub mod decision;

pub mod velero;

pub mod ca;

pub mod injection;

pub mod integrity;

pub mod admission;

pub mod clock;

pub mod rate_limiter;

pub mod shared_quota;

pub mod dial;

pub mod signing_key;

pub mod encrypted_key;

pub mod telemetry;

pub mod kubernetes;

pub mod bucket;

pub mod sources;

pub mod controllers;

pub mod serving;
pub mod serving_ca;

pub mod cli;
