//! What the tests of velero-trust share.

pub mod pods;
