//! The number of file descriptors that the process may open, and how many of them are for
//! connections. Whoever runs out of them serves nobody, not even a kubelet's probe.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::settings::Caps;

/// Raises the soft limit of descriptors to the hard one, and returns the limit that holds then. The
/// soft limit is 1,024 on many systems, for the sake of programs that use `select(2)`.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files was not raised");
            current
        }
    };
    limit.unwrap_or(u64::MAX)
}

impl Caps {
    /// Returns these caps, with no more connections than a process with `limit` descriptors can
    /// have: half of them for the webhook's port and a sixteenth for the second one. The rest is for
    /// requests to the API server, of which each watch needs one, for files and for the runtime.
    #[must_use]
    pub fn within(self, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            connections: self.connections.min(limit / 2),
            ops_connections: self.ops_connections.min(limit / 16),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_leave_few_connections_and_many_leave_the_default() {
        let of = |limit| {
            let caps = Caps::default().within(limit);
            (caps.connections, caps.ops_connections)
        };
        assert_eq!(of(u64::MAX), (1024, 64));
        assert_eq!(of(1 << 20), (1024, 64));
        assert_eq!(of(2048), (1024, 64));
        assert_eq!(of(1024), (512, 64));
        assert_eq!(of(256), (128, 16));
        assert_eq!(of(64), (32, 4));
    }
}
