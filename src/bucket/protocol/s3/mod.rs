//! S3.

pub(super) mod answer;
pub(in crate::bucket) mod list;
