//! Everything that needs no Kubernetes: golden cases, HTTP and TLS on loopback, the CLI.

mod pods;
mod props;
