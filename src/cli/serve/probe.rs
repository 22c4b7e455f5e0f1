//! Which endpoints are looked at.

use clap::ValueEnum;

use crate::ca::endpoint::DeniedAddresses;

/// Which endpoints are looked at.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Probe {
    /// All but those on addresses of the machine itself and of metadata services
    On,
    /// On addresses of the machine itself too; for a cluster on one machine
    Loopback,
    /// None
    Off,
}

impl Probe {
    /// The addresses that are not dialled; none when nothing is looked at.
    pub(super) fn denied_addresses(self) -> Option<DeniedAddresses> {
        let api_server = std::env::var("KUBERNETES_SERVICE_HOST").ok();
        let denied =
            DeniedAddresses::in_cluster(api_server.and_then(|address| address.parse().ok()));
        match self {
            Self::On => Some(denied),
            Self::Loopback => Some(denied.allowing_loopback()),
            Self::Off => None,
        }
    }
}
