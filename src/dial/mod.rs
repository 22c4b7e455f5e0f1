//! Connections to a target: its host is resolved and dialled, unless it has an address that is denied, or
//! a proxy is asked for it.

mod error;
mod no_proxy;
mod proxies;
mod tunnel;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::ca::endpoint::{DenialReason, DeniedAddresses, Target};

pub use error::{DialError, DialStage, NotByProxy, ProxyFault};
pub use no_proxy::NoProxy;
pub use proxies::{Proxies, Proxy};
pub use tunnel::{dial_proxy, open_tunnel};

/// Most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;

/// A connection.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Returns the host of `url` without brackets.
pub fn host_of(url: &Uri) -> &str {
    let host = url.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Connects to `target`. Fails if any address of its host is denied. The host is resolved once, so
/// that only addresses that were checked are dialled.
pub async fn dial(
    target: &Target,
    denied: &DeniedAddresses,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    dial_by(target, denied, deadline, look_up).await
}

/// [`dial`] with another resolver of names.
pub async fn dial_by(
    target: &Target,
    denied: &DeniedAddresses,
    deadline: Instant,
    look_up: impl AsyncFn(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Result<TcpStream, DialError> {
    let addresses = timeout_at(deadline, resolve(target, denied, look_up))
        .await
        .map_err(|_| DialError::Late(DialStage::Resolving))??;
    connect(&addresses, deadline).await
}

/// Looks the addresses of a name up, as the machine is configured to.
pub async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host, port)).await?.collect())
}

/// Resolves the host of `target` with one call of `look_up`. Fails if any of its addresses is
/// denied.
pub async fn resolve(
    target: &Target,
    denied: &DeniedAddresses,
    look_up: impl AsyncFn(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Result<Vec<SocketAddr>, DialError> {
    let host = &target.lookup;
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, target.port)],
        Err(_) => look_up(host, target.port)
            .await
            .map_err(|error| unresolvable(host, &error.to_string()))?,
    };
    if addresses.is_empty() {
        return Err(unresolvable(host, "it has no address"));
    }
    check_allowed(host, addresses, denied, is_own)
}

fn unresolvable(host: &str, why: &str) -> DialError {
    DialError::Unresolvable {
        host: host.to_owned(),
        why: why.to_owned(),
    }
}

/// Returns `addresses` if none of them is denied. A host that also has a denied address is
/// suspicious, so its other addresses are not dialled either.
fn check_allowed(
    host: &str,
    addresses: Vec<SocketAddr>,
    denied: &DeniedAddresses,
    is_own: impl Fn(IpAddr) -> bool,
) -> Result<Vec<SocketAddr>, DialError> {
    let own_reason = |address: IpAddr| {
        let is_own = !denied.allows_own() && is_own(address.to_canonical());
        is_own.then_some(DenialReason::OwnAddress)
    };
    let reason = |address| {
        denied
            .denial_reason(address)
            .or_else(|| own_reason(address))
    };
    let bad = addresses
        .iter()
        .find_map(|address| Some((address.ip(), reason(address.ip())?)));
    match bad {
        Some((address, reason)) => Err(DialError::DeniedAddress {
            host: host.to_owned(),
            address,
            reason,
        }),
        None => Ok(addresses),
    }
}

/// Whether `address` is one of this machine or Pod: only then can a socket be bound to it. Nothing
/// is sent. Unlike a variable of the downward API, this knows every address of a dual-stack Pod.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Connects to the first of `addresses` that accepts the connection. The time is shared between the
/// addresses, so that one that does not answer cannot use all of it.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, DialError> {
    let mut failure = DialError::Late(DialStage::Connecting);
    let mut left = addresses.len().min(MAX_ADDRESSES);
    for address in addresses.iter().take(MAX_ADDRESSES) {
        let share = u32::try_from(left).unwrap_or(1).max(1);
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / share;
        left -= 1;
        match timeout_at(until, TcpStream::connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                failure = DialError::Unreachable {
                    address: *address,
                    why: error.to_string(),
                }
            }
            Err(_) => {}
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let soon_closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = soon_closed.local_addr().unwrap();
        drop(soon_closed);
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = connect(&[closed, open], deadline).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        let failure = connect(&[closed], deadline).await.unwrap_err();
        assert!(
            matches!(failure, DialError::Unreachable { address, .. } if address == closed),
            "{failure}"
        );
    }

    #[test]
    fn an_address_of_the_pod_is_not_dialled_in_any_form() {
        let denied = DeniedAddresses::in_cluster([]);
        let own: IpAddr = "10.1.2.3".parse().unwrap();
        let check = |text: &str, denied: &DeniedAddresses| {
            let checked = check_allowed("a", addresses(&[text]), denied, |one| one == own);
            match checked {
                Err(DialError::DeniedAddress { reason, .. }) => Some(reason),
                _ => None,
            }
        };
        let reason = Some(DenialReason::OwnAddress);
        assert_eq!(check("10.1.2.3:443", &denied), reason);
        assert_eq!(check("[::ffff:10.1.2.3]:443", &denied), reason);
        assert_eq!(check("10.1.2.4:443", &denied), None);
        let outside = denied.allowing_loopback();
        assert_eq!(check("10.1.2.3:443", &outside), None);
    }

    #[test]
    fn only_an_address_of_this_machine_is_own() {
        let is_own = |text: &str| is_own(text.parse().unwrap());
        assert!(is_own("127.0.0.5"));
        assert!(!is_own("198.51.100.1") && !is_own("2001:db8::1"));
    }

    #[test]
    fn one_bad_address_spoils_the_name() {
        let denied = DeniedAddresses::in_cluster(["10.96.0.1".parse().unwrap()]);
        let good = addresses(&["10.0.0.1:443", "[2001:db8::1]:443"]);
        assert_eq!(
            check_allowed("a", good.clone(), &denied, |_| false),
            Ok(good)
        );
        let trick = addresses(&["10.0.0.1:443", "169.254.169.254:443"]);
        assert_eq!(
            check_allowed("a.example", trick, &denied, |_| false).unwrap_err(),
            DialError::DeniedAddress {
                host: "a.example".to_owned(),
                address: "169.254.169.254".parse().unwrap(),
                reason: DenialReason::LinkLocal,
            }
        );
    }
}
