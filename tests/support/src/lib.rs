//! What the tests of velero-trust share.
