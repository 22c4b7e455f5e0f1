//! The REST protocol of Azure's blob storage.

pub(super) mod answer;
pub(super) mod list;
