//! Connections through an HTTP proxy.

use std::net::IpAddr;
use std::pin::pin;

use bytes::Bytes;
use futures::future::{Either, select};
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::{self, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{DialError, NotByProxy, Proxy, ProxyFault, check_allowed, dial, is_own};
use crate::ca::endpoint::{DeniedAddresses, Target};

/// Most bytes in the head of a proxy's answer.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Connects to `proxy`, for requests that name their target in full. Whoever installed velero-trust
/// chose it, so that it may be anywhere, also in the same Pod.
pub async fn dial_proxy(
    proxy: &Proxy,
    target: &Target,
    denied: &DeniedAddresses,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    check_target(target, denied)?;
    if !proxy.is_http() {
        return Err(proxy.fails(ProxyFault::Unsupported));
    }
    let address = Target {
        host: proxy.host().to_owned(),
        lookup: proxy.host().to_owned(),
        port: proxy.port(),
    };
    let dialled = dial(&address, &DeniedAddresses::nothing(), deadline).await;
    dialled.map_err(|error| proxy.fails(ProxyFault::Dial(Box::new(error))))
}

/// Opens a tunnel to `target` through `proxy`.
pub async fn open_tunnel(
    proxy: &Proxy,
    target: &Target,
    denied: &DeniedAddresses,
    deadline: Instant,
) -> Result<TokioIo<Upgraded>, DialError> {
    let stream = dial_proxy(proxy, target, denied, deadline).await?;
    let opened = timeout_at(deadline, connect(proxy, stream, target)).await;
    let late = Err(ProxyFault::Late);
    opened
        .unwrap_or(late)
        .map(TokioIo::new)
        .map_err(|fault| proxy.fails(fault))
}

/// Asks for a tunnel, and waits for it.
async fn connect(
    proxy: &Proxy,
    stream: TcpStream,
    target: &Target,
) -> Result<Upgraded, ProxyFault> {
    let authority = authority(target);
    let url: Uri = authority.parse().map_err(|_| ProxyFault::NoHttp)?;
    let mut request = Request::connect(url).header(HOST, authority);
    if let Some(credentials) = proxy.authorization() {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|_| ProxyFault::NoHttp)?;
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    let handshake = builder
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| fault(&error))?;
    let exchange = async move {
        let answer = sender.send_request(request).await;
        let answer: Response<Incoming> = answer.map_err(|error| fault(&error))?;
        if !answer.status().is_success() {
            return Err(ProxyFault::Answer(answer.status().as_u16()));
        }
        upgrade::on(answer).await.map_err(|error| fault(&error))
    };
    // The connection has to be driven until it is handed over.
    match select(pin!(exchange), pin!(connection.with_upgrades())).await {
        Either::Left((opened, _)) => opened,
        Either::Right((_, exchange)) => exchange.await,
    }
}

fn fault(error: &hyper::Error) -> ProxyFault {
    if error.is_parse() {
        ProxyFault::NoHttp
    } else {
        ProxyFault::CutOff
    }
}

fn authority(target: &Target) -> String {
    let Target { host, port, .. } = target;
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Checks as much of a target as can be known where a proxy resolves its name.
fn check_target(target: &Target, denied: &DeniedAddresses) -> Result<(), DialError> {
    let host = &target.host;
    if let Ok(address) = host.parse::<IpAddr>() {
        let addresses = vec![(address, target.port).into()];
        return check_allowed(host, addresses, denied, is_own).map(drop);
    }
    match not_by_proxy(host) {
        Some(reason) if !denied.allows_own() => Err(DialError::NotByProxy {
            host: host.clone(),
            reason,
        }),
        _ => Ok(()),
    }
}

/// Returns why a proxy is not asked for `host`, which is no address in its usual form.
fn not_by_proxy(host: &str) -> Option<NotByProxy> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x");
    let is_number = match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if is_number {
        Some(NotByProxy::OddAddress)
    } else if last == "localhost" {
        Some(NotByProxy::ItsOwnMachine)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_asked_for_no_address_that_is_denied_in_no_form() {
        let denied = DeniedAddresses::in_cluster(["10.96.0.1".parse().unwrap()]);
        let check = |host: &str| {
            let target = Target {
                host: host.to_owned(),
                lookup: host.to_owned(),
                port: 443,
            };
            check_target(&target, &denied)
        };
        for host in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "10.96.0.1",
            "fd00:ec2::254",
        ] {
            let found = check(host);
            assert!(
                matches!(found, Err(DialError::DeniedAddress { .. })),
                "{host}"
            );
        }
        for (host, expected) in [
            // All are 169.254.169.254 to many resolvers.
            ("2852039166", NotByProxy::OddAddress),
            ("0xa9fea9fe", NotByProxy::OddAddress),
            ("169.16689662", NotByProxy::OddAddress),
            ("169.254.169.254.", NotByProxy::OddAddress),
            ("0251.0376.0251.0376", NotByProxy::OddAddress),
            ("169.254.169.0xFE", NotByProxy::OddAddress),
            ("localhost.", NotByProxy::ItsOwnMachine),
            ("a.LOCALHOST", NotByProxy::ItsOwnMachine),
        ] {
            let error = check(host).unwrap_err();
            let DialError::NotByProxy { reason, .. } = error else {
                panic!("{host}: {error}");
            };
            assert_eq!(reason, expected, "{host}");
        }
        for host in [
            "s3.amazonaws.com",
            "10.1.2.3",
            "1.store",
            "0x.store",
            "minio",
        ] {
            assert_eq!(check(host), Ok(()), "{host}");
        }
    }
}
