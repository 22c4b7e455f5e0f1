//! The extensions that hold general names: subjectAltName and nameConstraints.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::der::{Der, tag};
use super::uri;

/// A name of a kind that Go reads. It ignores the other kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeneralName<'a> {
    /// `dNSName`, ASCII.
    DnsName(&'a str),
    /// `rfc822Name`, ASCII.
    EmailAddress(&'a str),
    /// `iPAddress`.
    IpAddress(IpAddr),
    /// `uniformResourceIdentifier`.
    Uri(&'a str),
}

mod kind {
    pub(super) const EMAIL_ADDRESS: u8 = 0x81;
    pub(super) const DNS_NAME: u8 = 0x82;
    pub(super) const URI: u8 = 0x86;
    pub(super) const IP_ADDRESS: u8 = 0x87;
}

/// Reads a subjectAltName.
pub(super) fn read_alt_names(mut value: Der<'_>) -> Option<Vec<GeneralName<'_>>> {
    let mut sequence = value.take(tag::SEQUENCE)?;
    let mut names = Vec::new();
    while !sequence.is_empty() {
        let name = sequence.element()?;
        let text = || std::str::from_utf8(name.content).ok();
        names.push(match name.tag {
            kind::EMAIL_ADDRESS => {
                GeneralName::EmailAddress(text().filter(|text| text.is_ascii())?)
            }
            kind::DNS_NAME => GeneralName::DnsName(text().filter(|text| text.is_ascii())?),
            kind::URI => GeneralName::Uri(text().filter(|text| uri::is_uri(text))?),
            kind::IP_ADDRESS => GeneralName::IpAddress(parse_address(name.content)?),
            _ => continue,
        });
    }
    Some(names)
}

fn parse_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(octets).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

/// Checks a nameConstraints. Its subtrees are not returned: only webpki applies them.
pub(super) fn check_name_constraints(mut value: Der<'_>) -> Option<()> {
    let mut sequence = value.take(tag::SEQUENCE)?;
    let permitted = sequence.optional(tag::constructed(0))?;
    let excluded = sequence.optional(tag::constructed(1))?;
    let is_empty = |subtrees: Option<Der<'_>>| subtrees.is_none_or(Der::is_empty);
    if !value.is_empty() || !sequence.is_empty() || is_empty(permitted) && is_empty(excluded) {
        return None;
    }
    for mut subtrees in [permitted, excluded].into_iter().flatten() {
        while !subtrees.is_empty() {
            let base = subtrees.take(tag::SEQUENCE)?.element()?;
            let is_valid = match base.tag {
                kind::EMAIL_ADDRESS | kind::DNS_NAME | kind::URI => {
                    std::str::from_utf8(base.content)
                        .is_ok_and(|text| text.is_ascii() && is_constraint(base.tag, text))
                }
                kind::IP_ADDRESS => is_network(base.content),
                _ => true,
            };
            is_valid.then_some(())?;
        }
    }
    Some(())
}

fn is_constraint(tag: u8, text: &str) -> bool {
    match tag {
        kind::EMAIL_ADDRESS if text.contains('@') => uri::is_mailbox(text),
        kind::URI if text.parse::<IpAddr>().is_ok() => false,
        _ => uri::is_domain(text, true),
    }
}

/// Returns whether the octets are an address and a mask of ones followed by zeros.
fn is_network(octets: &[u8]) -> bool {
    let mask = match octets.len() {
        8 => octets.get(4..),
        32 => octets.get(16..),
        _ => None,
    };
    mask.is_some_and(|mask| {
        let mut tail = mask.iter().skip_while(|octet| **octet == 0xff);
        let edge = tail
            .next()
            .is_none_or(|octet| octet.leading_ones() == octet.count_ones());
        edge && tail.all(|octet| *octet == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_ones_followed_by_zeros() {
        assert!(is_network(&[10, 0, 0, 0, 255, 0, 0, 0]));
        assert!(is_network(&[10, 0, 0, 0, 255, 240, 0, 0]));
        assert!(is_network(&[0; 32]));
        assert!(!is_network(&[10, 0, 0, 0, 255, 0, 255, 0]));
        assert!(!is_network(&[10, 0, 0, 0, 255, 15, 0, 0]));
        assert!(!is_network(&[10, 0, 0, 0]));
    }

    #[test]
    fn reads_the_names_of_the_kinds_that_go_reads() {
        let read = |names: &[u8]| {
            let length = u8::try_from(names.len()).unwrap();
            let value = [&[0x30, length], names].concat();
            let read = read_alt_names(Der(&value));
            read.map(|names| format!("{names:?}"))
        };
        assert_eq!(
            read(&[0x82, 1, b'a', 0x88, 1, 42, 0x87, 4, 10, 0, 0, 1]).unwrap(),
            r#"[DnsName("a"), IpAddress(10.0.0.1)]"#
        );
        assert_eq!(
            read(&[0x81, 1, b'@', 0x86, 2, b'/', b'a']).unwrap(),
            r#"[EmailAddress("@"), Uri("/a")]"#
        );
        assert_eq!(read(&[]).unwrap(), "[]");
        assert_eq!(read(&[0x82, 1, 0xff]), None);
        assert_eq!(read(&[0x82, 2, 0xc3, 0xa9]), None);
        assert_eq!(read(&[0x87, 3, 10, 0, 0]), None);
        assert_eq!(read(&[0x86, 1, b':']), None);
    }
}
