//! The `--probe` option.

use clap::ValueEnum;

use crate::ca::endpoint::DeniedAddresses;

/// Which endpoints are probed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Probe {
    /// All, except loopback addresses, metadata services and the API server
    On,
    /// Like `on`, but including loopback addresses; for a server outside of a cluster
    Loopback,
    /// None
    Off,
}

impl Probe {
    /// Returns the addresses that are never dialled, or `None` if no endpoint is probed.
    pub(super) fn denied_addresses(self) -> Option<DeniedAddresses> {
        match self {
            Self::On | Self::Loopback => Some(self.never_dialled()),
            Self::Off => None,
        }
    }

    /// Returns the addresses that nothing dials, whether endpoints are probed or not.
    pub(super) fn never_dialled(self) -> DeniedAddresses {
        let api_server = std::env::var("KUBERNETES_SERVICE_HOST").ok();
        let denied =
            DeniedAddresses::in_cluster(api_server.and_then(|address| address.parse().ok()));
        match self {
            Self::On | Self::Off => denied,
            Self::Loopback => denied.allowing_loopback(),
        }
    }
}
