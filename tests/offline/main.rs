//! Everything that needs no Kubernetes: golden cases, HTTP and TLS on loopback, the CLI.

// `cfg(test)` always holds here; it tells clippy that helpers, too, may panic.
#[cfg(test)]
mod pods;
#[cfg(test)]
mod props;
