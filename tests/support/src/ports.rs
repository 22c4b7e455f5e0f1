//! Free ports on loopback.

use anyhow::Result;
use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Maximum number of attempts to start a server, each on other ports.
const ATTEMPTS: usize = 4;

/// What servers print when their port is taken. MinIO has a message of its own.
const TAKEN: [&str; 2] = ["address already in use", "port is already in use"];

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Returns a port on 127.0.0.1 that nothing listens on and that this process did not return before.
pub fn free() -> Result<u16> {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        if GIVEN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(port)
        {
            return Ok(port);
        }
    }
}

/// Starts a server that chooses its ports by [`free`]. Another process may take a port between the
/// choice and the server's own bind; then the server is started again.
pub fn retrying<T>(mut start: impl FnMut() -> Result<T>) -> Result<T> {
    let mut attempt = 1;
    loop {
        match start() {
            Err(error) if attempt < ATTEMPTS && is_taken(&format!("{error:#}")) => attempt += 1,
            outcome => return outcome,
        }
    }
}

fn is_taken(error: &str) -> bool {
    TAKEN.iter().any(|words| error.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn starts_again_when_the_port_was_taken_and_only_then() {
        let mut starts = 0;
        let outcome = retrying(|| {
            starts += 1;
            if starts < 3 {
                bail!("listen tcp 127.0.0.1:1: bind: address already in use");
            }
            bail!("the certificate is bad")
        });
        assert_eq!(
            outcome.map_err(|error: anyhow::Error| error.to_string()),
            Err::<(), _>("the certificate is bad".into())
        );
        assert_eq!(starts, 3);
    }

    #[test]
    fn never_gives_a_port_twice() {
        let ports: HashSet<u16> = (0..64).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 64);
    }
}
