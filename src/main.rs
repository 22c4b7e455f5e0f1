//! The `velero-trust` binary.
fn main() {}
