//! The test harness of velero-trust: the real servers, each a child process on loopback, and
//! helpers for certificates, commands and waiting.
//!
//! Several copies of the harness can run at the same time: they use free ports and folders of their
//! own. Every child gets a clean environment, because a machine that sets `AWS_CA_BUNDLE` or
//! `SSL_CERT_DIR` would prove nothing. When the harness ends for whatever reason, its children and
//! its folders are removed ([`process`], [`scratch`]).

pub mod access;
pub mod api_server;
pub mod azurite;
pub mod balancer;
pub mod cli;
pub mod cluster;
pub mod container;
pub mod controllers;
pub mod etcd;
pub mod failure;
pub mod fake_gcs;
pub mod flood;
pub mod forward_proxy;
pub mod hostile;
pub mod https;
pub mod installer;
pub mod kubelet;
pub mod limited;
pub mod minio;
pub mod other_version;
pub mod page;
pub mod pki;
pub mod pods;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod rig;
pub mod scratch;
pub mod serve;
pub mod store_proxy;
pub mod tour;
pub mod velero;
pub mod wait;
pub mod webhook;
