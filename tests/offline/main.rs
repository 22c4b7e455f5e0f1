//! All tests that need no Kubernetes: golden cases, HTTP and TLS on loopback, the CLI.

// `cfg(test)` is always set here. It tells clippy that helpers may panic, too.
#[cfg(test)]
mod arguments;
#[cfg(test)]
mod authority;
#[cfg(test)]
mod bucket;
#[cfg(test)]
mod case_files;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod client;
#[cfg(test)]
mod client_certificates;
#[cfg(test)]
mod closed;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod crds;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod descriptors;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod http;
#[cfg(test)]
mod image;
#[cfg(test)]
mod imported;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod limits_table;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod lint_files;
#[cfg(test)]
mod log;
#[cfg(test)]
mod lookups;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod props;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod recovery;
mod reports;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod security;
#[cfg(test)]
mod status;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tree;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod unreachable;
#[cfg(test)]
mod unread;
#[cfg(test)]
mod unseen;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod x509;
