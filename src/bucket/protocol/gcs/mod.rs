//! Google Cloud Storage: its JSON API for lists, and its XML API for files, as Google's library uses them.

pub(super) mod answer;
pub(super) mod list;
