//! Access to the API server: clients, watches, and the objects that velero-trust reads and writes.

pub mod backup;
pub mod bundle;
pub mod bundle_annotations;
pub mod client;
mod connection;
pub mod crds;
pub mod download_request;
pub mod error;
pub mod events;
pub mod keep;
pub mod lease;
pub mod location;
pub mod memory_store;
pub mod owned_config_map;
pub mod pod_volume_backups;
mod proxy;
pub mod published_certificate;
pub mod registered_webhooks;
pub mod report;
pub mod restore;
pub mod secret_access;
pub mod server_clock;
mod streaming;
pub mod watch;
pub mod webhook_configurations;
pub mod worker;
pub mod workloads;
