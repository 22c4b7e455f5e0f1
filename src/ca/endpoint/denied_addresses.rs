//! The addresses that are never dialled, whatever a BSL says.
//!
//! The author of a BSL chooses the host. A server there receives only a ClientHello. Private
//! networks are allowed, because stores run there. Metadata services and the API server are not:
//! they are never a store. The addresses of the Pod itself are known only where it runs:
//! `crate::dial` finds them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

/// The set of addresses that are never dialled.
#[derive(Clone, Debug, Default)]
pub struct DeniedAddresses {
    api_server: BTreeSet<IpAddr>,
    allow_loopback: bool,
    allow_all: bool,
}

/// Why an address is denied. Messages put it after "which is".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DenialReason {
    /// The address in `KUBERNETES_SERVICE_HOST`.
    #[error("the cluster's API server")]
    ApiServer,
    /// 169.254.0.0/16 and fe80::/10, where most clouds have their metadata service.
    #[error("link-local, where clouds have their metadata services")]
    LinkLocal,
    /// A loopback address.
    #[error("this machine itself")]
    Loopback,
    /// A metadata service at another address.
    #[error("a cloud's metadata service")]
    MetadataService,
    /// An address of the network interfaces of this Pod.
    #[error("an address of velero-trust's own Pod")]
    OwnAddress,
    /// An address that a gateway translates to an IPv4 address, in a form that hides which one or
    /// that no network uses any longer.
    #[error("the IPv6 form of an IPv4 address; write the IPv4 address, or use a name that has one")]
    Translated,
    /// An unspecified, multicast or broadcast address.
    #[error("not the address of one machine")]
    NotUnicast,
}

/// Metadata services outside the link-local range: Alibaba Cloud, Azure's WireServer, and the
/// first one of Oracle Cloud.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Metadata services over IPv6 outside the link-local range: Google Cloud, Scaleway, Akamai (Linode)
/// and Oracle Cloud.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

impl DeniedAddresses {
    /// Returns the denied addresses for a cluster with the given addresses of its API server.
    pub fn in_cluster(api_server: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            api_server: api_server
                .into_iter()
                .map(|address| address.to_canonical())
                .collect(),
            allow_loopback: false,
            allow_all: false,
        }
    }

    /// Denies nothing. This is only for addresses that nobody but whoever installed velero-trust
    /// chooses, such as those of the cloud's own services that give a Pod its credentials.
    pub fn nothing() -> Self {
        Self {
            api_server: BTreeSet::new(),
            allow_loopback: true,
            allow_all: true,
        }
    }

    /// Allows loopback addresses. This is for a process outside a cluster with a store on the same
    /// machine, as in tests. Never use it in a Pod, where they are the Pod itself.
    #[must_use]
    pub const fn allowing_loopback(mut self) -> Self {
        self.allow_loopback = true;
        self
    }

    /// Whether the addresses of this machine may be dialled.
    pub const fn allows_own(&self) -> bool {
        self.allow_loopback
    }

    /// Returns why `address` is denied; none if it may be dialled.
    pub fn denial_reason(&self, address: IpAddr) -> Option<DenialReason> {
        if self.allow_all {
            return None;
        }
        let address = address.to_canonical();
        if self.api_server.contains(&address) {
            return Some(DenialReason::ApiServer);
        }
        let reason = match address {
            IpAddr::V4(address) => deny_v4(address),
            IpAddr::V6(address) => deny_v6(address)
                .or_else(|| self.denial_reason(embedded_v4(address)?.into()))
                .or_else(|| is_translated(address).then_some(DenialReason::Translated)),
        };
        reason.filter(|reason| !(self.allow_loopback && *reason == DenialReason::Loopback))
    }
}

fn deny_v4(address: Ipv4Addr) -> Option<DenialReason> {
    if METADATA_V4.contains(&address) {
        Some(DenialReason::MetadataService)
    } else if address.is_link_local() {
        Some(DenialReason::LinkLocal)
    } else if address.is_loopback() {
        Some(DenialReason::Loopback)
    } else if address.octets().starts_with(&[0]) || address.is_multicast() || address.is_broadcast()
    {
        // Linux connects to itself at 0.0.0.0.
        Some(DenialReason::NotUnicast)
    } else {
        None
    }
}

fn deny_v6(address: Ipv6Addr) -> Option<DenialReason> {
    // fd00:ec2::/32 is AWS's range for its local services.
    if METADATA_V6.contains(&address) || address.segments().starts_with(&[0xfd00, 0x0ec2]) {
        Some(DenialReason::MetadataService)
    } else if address.is_unicast_link_local() {
        Some(DenialReason::LinkLocal)
    } else if address.is_loopback() {
        Some(DenialReason::Loopback)
    } else if address.is_unspecified() || address.is_multicast() {
        Some(DenialReason::NotUnicast)
    } else {
        None
    }
}

/// Returns the IPv4 address that a gateway would translate `address` to: NAT64 (RFC 6052), SIIT
/// (RFC 7915 and its first form, RFC 2765), 6to4 (RFC 3056), ISATAP (RFC 5214), Teredo (RFC 4380),
/// or the old IPv4-compatible form.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0 | 0xffff, 0, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] => (high, low),
        // Teredo writes the address of the client with inverted bits.
        [0x2001, 0, .., high, low] => (!high, !low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// Whether `address` belongs to a network where gateways translate to IPv4 and no store is: the
/// local-use prefix of NAT64 (RFC 8215), in which every site puts the IPv4 address elsewhere, and
/// the tunnels 6to4, Teredo and ISATAP, and the two old forms of IPv4 addresses. The well-known
/// prefix of NAT64 (64:ff9b::/96) is in use: a DNS64 gives it to IPv6-only Pods.
const fn is_translated(address: Ipv6Addr) -> bool {
    matches!(
        address.segments(),
        [0x64, 0xff9b, 1, ..]
            | [0x2002, ..]
            | [0x2001, 0, ..]
            | [_, _, _, _, 0 | 0x0200, 0x5efe, ..]
            | [0, 0, 0, 0, 0 | 0xffff, 0, ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(denied: &DeniedAddresses, address: &str) -> Option<DenialReason> {
        denied.denial_reason(address.parse().unwrap())
    }

    #[test]
    fn denies_metadata_services_and_the_api_server_in_every_form() {
        let denied = DeniedAddresses::in_cluster(["10.96.0.1".parse().unwrap()]);
        for (address, expected) in [
            ("169.254.169.254", DenialReason::LinkLocal),
            ("169.254.170.23", DenialReason::LinkLocal),
            ("::ffff:169.254.169.254", DenialReason::LinkLocal),
            ("64:ff9b::169.254.169.254", DenialReason::LinkLocal),
            ("2002:a9fe:a9fe::1", DenialReason::LinkLocal),
            ("::169.254.169.254", DenialReason::LinkLocal),
            ("fe80::a9fe:a9fe", DenialReason::LinkLocal),
            ("fd00:ec2::254", DenialReason::MetadataService),
            ("fd00:ec2::23", DenialReason::MetadataService),
            ("fd20:ce::254", DenialReason::MetadataService),
            ("fd00:42::42", DenialReason::MetadataService),
            ("fd00:a9fe:a9fe::1", DenialReason::MetadataService),
            ("fd00:c1::a9fe:a9fe", DenialReason::MetadataService),
            ("::ffff:0:169.254.169.254", DenialReason::LinkLocal),
            ("2001:0:1:2:3:4:5601:5601", DenialReason::LinkLocal),
            ("fd12::5efe:169.254.169.254", DenialReason::LinkLocal),
            ("fd12::200:5efe:169.254.169.254", DenialReason::LinkLocal),
            ("2002:a60:1::", DenialReason::ApiServer),
            ("2001::f59f:fffe", DenialReason::ApiServer),
            ("64:ff9b::168.63.129.16", DenialReason::MetadataService),
            ("64:ff9b::127.0.0.1", DenialReason::Loopback),
            ("64:ff9b::0.0.0.0", DenialReason::NotUnicast),
            ("64:ff9b:1::169.254.169.254", DenialReason::Translated),
            ("64:ff9b:1:a9fe:a9:fe00::", DenialReason::Translated),
            ("64:ff9b:1::10.0.0.1", DenialReason::Translated),
            ("2002:a00:1::1", DenialReason::Translated),
            ("2001::f5ff:fffe", DenialReason::Translated),
            ("fd12::5efe:10.0.0.1", DenialReason::Translated),
            ("fd12::200:5efe:10.0.0.1", DenialReason::Translated),
            ("::10.0.0.1", DenialReason::Translated),
            ("::ffff:0:10.0.0.1", DenialReason::Translated),
            ("100.100.100.200", DenialReason::MetadataService),
            ("168.63.129.16", DenialReason::MetadataService),
            ("192.0.0.192", DenialReason::MetadataService),
            ("10.96.0.1", DenialReason::ApiServer),
            ("::ffff:10.96.0.1", DenialReason::ApiServer),
            ("64:ff9b::10.96.0.1", DenialReason::ApiServer),
            ("127.0.0.1", DenialReason::Loopback),
            ("127.1.2.3", DenialReason::Loopback),
            ("::1", DenialReason::Loopback),
            ("::ffff:127.0.0.1", DenialReason::Loopback),
            ("0.0.0.0", DenialReason::NotUnicast),
            ("::", DenialReason::NotUnicast),
            ("224.0.0.1", DenialReason::NotUnicast),
            ("ff02::1", DenialReason::NotUnicast),
            ("255.255.255.255", DenialReason::NotUnicast),
        ] {
            assert_eq!(denial(&denied, address), Some(expected), "{address}");
        }
        // In whatever form the environment names it.
        let mapped = DeniedAddresses::in_cluster(["::ffff:10.96.0.9".parse().unwrap()]);
        assert_eq!(denial(&mapped, "10.96.0.9"), Some(DenialReason::ApiServer));
    }

    #[test]
    fn private_networks_are_where_stores_are() {
        let denied = DeniedAddresses::in_cluster(["10.96.0.1".parse().unwrap()]);
        for address in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "52.216.0.1",
            "fd12::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::52.216.0.1",
            // The neighbours of what is denied.
            "64:ff9b:2::1",
            "2001:1::1",
            "2003::1",
            "fd12::5eff:a00:1",
            "fd12::100:5efe:a00:1",
            "fd00:42::43",
            "169.253.0.1",
            "240.0.0.1",
        ] {
            assert_eq!(denial(&denied, address), None, "{address}");
        }
    }

    #[test]
    fn loopback_is_allowed_where_it_is_asked_for_and_nothing_else() {
        let denied = DeniedAddresses::default().allowing_loopback();
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(denial(&denied, address), None, "{address}");
        }
        assert_eq!(
            denial(&denied, "169.254.169.254"),
            Some(DenialReason::LinkLocal)
        );
        assert!(denied.allows_own());
        assert!(!DeniedAddresses::in_cluster([]).allows_own());
    }
}
