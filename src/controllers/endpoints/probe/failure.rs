//! Why an endpoint could not be probed.

use std::net::{IpAddr, SocketAddr};

use crate::ca::endpoint::DenialReason;

/// Why an endpoint could not be probed. It does not mean that the endpoint is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server ended the handshake.
    #[error(
        "the server refused the TLS handshake ({0}); see its log, and whether it wants TLS 1.2 or later"
    )]
    Alert(String),
    /// The server's TLS is not understood.
    #[error("the server's TLS is not understood ({0})")]
    Broken(String),
    /// The connection was closed or failed.
    #[error("the server closed the connection before it presented a certificate")]
    Closed,
    /// The deadline has passed.
    #[error("{0} in time")]
    Late(Stage),
    /// The server answers with something other than TLS.
    #[error("the server does not speak TLS on this port; correct the port, or write http://")]
    NotTls,
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
    /// What the server presents has no room beside what others present.
    #[error(
        "what the server presents is not kept, because the endpoints of this namespace present very \
         much; name fewer endpoints"
    )]
    NoRoom,
    /// The server sent more bytes than any chain of certificates needs.
    #[error("the server sends more than a chain of certificates can need")]
    TooMuch,
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
pub enum Stage {
    /// TCP: no address accepted the connection.
    #[error("no connection was made")]
    Connecting,
    /// DNS.
    #[error("the host was not resolved")]
    Resolving,
    /// TLS: the server accepted the connection and sent nothing, or not enough.
    #[error("the connection was accepted, but no certificate was presented")]
    Handshaking,
}
