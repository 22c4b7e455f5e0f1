//! Why there is no connection.

use std::net::{IpAddr, SocketAddr};

use super::Proxy;
use crate::ca::endpoint::DenialReason;

/// Why there is no connection to a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The host has an address at which no store can be.
    #[error("{host} has the address {address}, which is {reason}, and is not dialled")]
    DeniedAddress {
        /// The name that was looked up.
        host: String,
        /// The address that is denied.
        address: IpAddr,
        /// Why it is denied.
        reason: DenialReason,
    },
    /// The deadline has passed.
    #[error("{0} in time")]
    Late(DialStage),
    /// No proxy is asked for this host.
    #[error("{host} is {reason}, and no proxy is asked for it")]
    NotByProxy {
        /// The host.
        host: String,
        /// Why.
        reason: NotByProxy,
    },
    /// The proxy gives no connection.
    #[error("the proxy {proxy} {fault}")]
    Proxy {
        /// The host and the port of the proxy.
        proxy: String,
        /// What is wrong.
        fault: ProxyFault,
    },
    /// No address accepts the connection.
    #[error("no connection to {address} ({why})")]
    Unreachable {
        /// The address that was tried last.
        address: SocketAddr,
        /// The error of the operating system.
        why: String,
    },
    /// The host does not exist.
    #[error("{host} cannot be resolved ({why})")]
    Unresolvable {
        /// The name that was looked up.
        host: String,
        /// The error of the resolver.
        why: String,
    },
}

/// The step that did not end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialStage {
    /// TCP: no address accepted the connection.
    #[error("no connection was made")]
    Connecting,
    /// DNS.
    #[error("the host was not resolved")]
    Resolving,
}

/// Why no proxy is asked for a host. Messages put it after "is".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotByProxy {
    /// A name of the machine that resolves it.
    #[error("the proxy's own machine")]
    ItsOwnMachine,
    /// An IPv4 address in an old form, or one with a dot at its end.
    #[error("an IP address in an odd form")]
    OddAddress,
}

/// Why a proxy gives no connection. Messages put it after the proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// It answers with this status code.
    #[error("{}", describe_status(*.0))]
    Answer(u16),
    /// It closed the connection.
    #[error("closed the connection before it answered")]
    CutOff,
    /// There is no connection to it.
    #[error("cannot be reached: {0}")]
    Dial(Box<DialError>),
    /// It does not answer.
    #[error("did not answer in time")]
    Late,
    /// Its answer is none of HTTP.
    #[error("does not speak HTTP on this port")]
    NoHttp,
    /// It has another protocol.
    #[error("is not an http:// one, and no other is supported for object stores")]
    Unsupported,
}

fn describe_status(status: u16) -> String {
    match status {
        407 => "wants another user and password (407)".to_owned(),
        502..=504 => format!("does not reach the store ({status})"),
        status => format!("refuses the connection to the store ({status})"),
    }
}

impl Proxy {
    /// Returns an error of this proxy.
    pub fn fails(&self, fault: ProxyFault) -> DialError {
        let host = self.host();
        let port = self.port();
        let proxy = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        DialError::Proxy { proxy, fault }
    }
}

impl DialError {
    /// Whether it may pass without anybody doing something.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::DeniedAddress { .. } | Self::NotByProxy { .. } => false,
            Self::Late(_) | Self::Unreachable { .. } | Self::Unresolvable { .. } => true,
            Self::Proxy { fault, .. } => match fault {
                ProxyFault::Answer(status) => *status >= 500,
                ProxyFault::CutOff | ProxyFault::Dial(_) | ProxyFault::Late => true,
                ProxyFault::NoHttp | ProxyFault::Unsupported => false,
            },
        }
    }

    /// Whether the next attempt may succeed a second later.
    pub const fn may_pass_soon(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Proxy { fault, .. } => match fault {
                ProxyFault::Answer(status) => *status >= 500,
                ProxyFault::CutOff => true,
                _ => false,
            },
            _ => false,
        }
    }
}
