//! Who a client is, as far as its address tells.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The address that the connections of one client have in common.
///
/// It is the whole IPv4 address, because each Pod has one. Of an IPv6 address it is the first 64
/// bits: a host may use every address of its subnet, and a subnet has 64 bits (RFC 4291, 2.5.1). An
/// IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2), which a listener on `[::]` reports for IPv4, is
/// the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SourceAddress(IpAddr);

impl SourceAddress {
    /// Returns the address, or the first one of the subnet.
    pub(super) const fn ip(self) -> IpAddr {
        self.0
    }

    /// The source of a request that came over no connection.
    pub(super) const UNKNOWN: Self = Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
}

impl From<IpAddr> for SourceAddress {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }
}

impl fmt::Display for SourceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(subnet) => write!(f, "{subnet}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_subnet_of_64_bits() {
        for (address, source) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("fe80::1", "fe80::/64"),
            // Only the mapped form is IPv4: IPv4-compatible addresses are deprecated.
            ("::10.0.0.1", "::/64"),
        ] {
            let of = SourceAddress::from(address.parse::<IpAddr>().unwrap());
            assert_eq!(of.to_string(), source, "{address}");
        }
    }
}
