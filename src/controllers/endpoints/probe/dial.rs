//! Resolves the host of a target and connects to it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::failure::{Failure, Stage};
use crate::ca::endpoint::{DenialReason, DeniedAddresses, Target};

/// Most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;

/// Looks the addresses of a name up, as the machine is configured to.
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host, port)).await?.collect())
}

/// Resolves the host of `target` with one call of `look_up`. Fails if any of its addresses is
/// denied.
pub(super) async fn resolve(
    target: &Target,
    denied: &DeniedAddresses,
    look_up: impl AsyncFn(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Result<Vec<SocketAddr>, Failure> {
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

fn unresolvable(host: &str, why: &str) -> Failure {
    Failure::Unresolvable {
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
) -> Result<Vec<SocketAddr>, Failure> {
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
        Some((address, reason)) => Err(Failure::DeniedAddress {
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
pub(super) async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let mut failure = Failure::Late(Stage::Connecting);
    let mut left = addresses.len().min(MAX_ADDRESSES);
    for address in addresses.iter().take(MAX_ADDRESSES) {
        let share = u32::try_from(left).unwrap_or(1).max(1);
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / share;
        left -= 1;
        match timeout_at(until, TcpStream::connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                failure = Failure::Unreachable {
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
            matches!(failure, Failure::Unreachable { address, .. } if address == closed),
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
                Err(Failure::DeniedAddress { reason, .. }) => Some(reason),
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
            Failure::DeniedAddress {
                host: "a.example".to_owned(),
                address: "169.254.169.254".parse().unwrap(),
                reason: DenialReason::LinkLocal,
            }
        );
    }
}
