//! What the tests of velero-trust share: the real servers, each a child process on loopback, and
//! the certificates, commands and waiting they need.
//!
//! Everything here works beside a second copy of itself: free ports, own folders, and a clean
//! environment for every child, because a machine that sets `AWS_CA_BUNDLE` or `SSL_CERT_DIR`
//! would prove nothing. Whatever ends the harness, its children and its folders go with it
//! ([`process`], [`scratch`]).

pub mod access;
pub mod api_server;
pub mod cli;
pub mod cluster;
pub mod controllers;
pub mod etcd;
pub mod failure;
pub mod https;
pub mod installer;
pub mod kubelet;
pub mod minio;
pub mod pki;
pub mod pods;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod rig;
pub mod scratch;
pub mod tour;
pub mod velero;
pub mod wait;
pub mod webhook;
