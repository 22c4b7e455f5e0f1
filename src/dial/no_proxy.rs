//! What is reached without a proxy: `NO_PROXY`, as Go reads it (`golang.org/x/net/http/httpproxy`).
//!
//! curl, and with it hyper-util, reads it otherwise: an entry has no port, and one with a leading dot
//! also covers the domain itself. `tests/real/proxies` compares this with Go.

use std::net::IpAddr;

/// The hosts that are reached without a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// `*`
    All,
    /// `10.0.0.0/8`
    Network { address: IpAddr, bits: u32 },
    /// `10.1.2.3` or `10.1.2.3:443`
    Address {
        address: IpAddr,
        port: Option<String>,
    },
    /// `example.com`, or `.example.com` for subdomains only; each may have a port.
    Domain {
        /// The name after a dot.
        suffix: String,
        covers_itself: bool,
        port: Option<String>,
    },
}

impl NoProxy {
    /// Reads the value of the variable. Like Go, it ignores what it does not understand.
    pub fn parse(text: &str) -> Self {
        Self(text.split(',').filter_map(Entry::parse).collect())
    }

    /// Whether Go connects to `host`, without brackets, and `port` without a proxy. Hosts of this machine
    /// never have one.
    pub fn exempts(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let address = address.map(|address| address.to_canonical());
        let port = port.to_string();
        host == "localhost"
            || address.is_some_and(|address| address.is_loopback())
            || self
                .0
                .iter()
                .any(|entry| entry.covers(&host, address, &port))
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        if text == "*" {
            return Some(Self::All);
        }
        if let Some(network) = parse_network(&text) {
            return Some(network);
        }
        let (host, port) = match split_port(&text) {
            Some((host, port)) => (host, Some(port.to_owned()).filter(|port| !port.is_empty())),
            None => (text.as_str(), None),
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            return Some(Self::Address { address, port });
        }
        if host.is_empty() {
            return None;
        }
        let parent = if host.starts_with("*.") {
            host.strip_prefix('*')
        } else {
            Some(host).filter(|host| host.starts_with('.'))
        };
        Some(Self::Domain {
            suffix: parent.map_or_else(|| format!(".{host}"), str::to_owned),
            covers_itself: parent.is_none(),
            port,
        })
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let is_port = |only: &Option<String>| only.as_deref().is_none_or(|only| only == port);
        match self {
            Self::All => true,
            Self::Network {
                address: network,
                bits,
            } => address.is_some_and(|address| is_in_network(address, *network, *bits)),
            Self::Address {
                address: own,
                port: only,
            } => address == Some(*own) && is_port(only),
            Self::Domain {
                suffix,
                covers_itself,
                port: only,
            } => {
                let is_itself = *covers_itself && suffix.strip_prefix('.') == Some(host);
                address.is_none() && (host.ends_with(suffix) || is_itself) && is_port(only)
            }
        }
    }
}

/// Reads an address with the length of its prefix.
fn parse_network(text: &str) -> Option<Entry> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    // `parse` also takes a plus sign.
    let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u32 = bits.parse().ok().filter(|_| is_number)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    if bits > longest {
        return None;
    }
    Some(match address.to_canonical() {
        // An IPv4 network in the form of IPv6.
        IpAddr::V4(network) if address.is_ipv6() && bits >= 96 => Entry::Network {
            address: network.into(),
            bits: bits - 96,
        },
        _ => Entry::Network { address, bits },
    })
}

/// Splits as Go's `net.SplitHostPort` does; `None` if there is no port.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':')?)
        }
        None => text
            .rsplit_once(':')
            .filter(|(host, _)| !host.contains(':'))?,
    };
    let is_odd = host.contains(['[', ']']) || port.contains([':', '[', ']']);
    (!is_odd).then_some((host, port))
}

fn is_in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| bits == 0 || (a ^ b) >> (width - bits) == 0;
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_past_the_proxy_is_what_goes_past_it_in_go() {
        for (host, no_proxy, is_exempt) in [
            ("localhost", "", true),
            ("localhost.", "", false),
            ("127.0.0.1", "", true),
            ("::1", "", true),
            ("::ffff:127.0.0.1", "", true),
            ("s3.corp", "", false),
            ("s3.corp", "*", true),
            ("10.1.2.3", "other, *", true),
            ("s3.corp", "corp", true),
            ("s3.corp", ".corp", true),
            ("s3.corp", "*.corp", true),
            ("s3.corp", "*corp", false),
            ("corp", ".corp", false),
            ("corp", "*.corp", false),
            ("S3.Corp", "other, s3.CORP", true),
            ("as3.corp", "s3.corp", false),
            ("s3.corp.", "s3.corp", false),
            ("s3.corp", "s3.corp:9000", true),
            ("s3.corp", ".corp:9000", true),
            ("s3.corp", "s3.corp:443", false),
            ("s3.corp", "s3.corp:", true),
            ("s3.corp", "s3.corp:http", false),
            ("s3.corp", ":9000", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("10.1.2.3", "10.200.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.0.0.0/+8", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3:9000", true),
            ("10.1.2.3", "10.1.2.3:443", false),
            ("10.1.2.3", "10.1.2.30", false),
            ("10.1.2.3", ".3", false),
            ("10.1.2.3", "::ffff:10.1.2.3", true),
            ("10.1.2.3", "::ffff:10.0.0.0/104", true),
            ("10.1.2.3", "::/0", false),
            ("::ffff:10.1.2.3", "10.0.0.0/8", true),
            ("fd00::1", "fd00::/8", true),
            ("fd00::1", "fd00::1", true),
            ("fd00::1", "[fd00::1]:9000", true),
            ("fd00::1", "[fd00::1]", false),
            ("1.2.3.4", "0.0.0.0/0", true),
            ("s3.corp", "10.0.0.0/99", false),
        ] {
            assert_eq!(
                NoProxy::parse(no_proxy).exempts(host, 9000),
                is_exempt,
                "{host} in {no_proxy}"
            );
        }
    }
}
