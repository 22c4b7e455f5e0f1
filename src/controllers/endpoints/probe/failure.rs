//! Why an endpoint could not be looked at.

use std::net::{IpAddr, SocketAddr};

use crate::ca::endpoint::DenialReason;

/// Why an endpoint could not be looked at. It says nothing of whether it is trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server ended the handshake.
    #[error(
        "the server refused the TLS handshake ({0}); see its log, and whether it wants TLS 1.2 or later"
    )]
    Alert(String),
    /// The TLS that it speaks is not one that we understand.
    #[error("the server's TLS is not understood ({0})")]
    Broken(String),
    /// The connection was closed or broken.
    #[error("the server closed the connection before it presented a certificate")]
    Closed,
    /// The deadline has passed.
    #[error("{0} in time")]
    Late(Stage),
    /// It answers with something else.
    #[error("the server does not speak TLS on this port; correct the port, or write http://")]
    NotTls,
    /// The name leads where nobody's store is.
    #[error("{host} has the address {address}, which is {reason}, and is not dialled")]
    DeniedAddress {
        /// The name that was looked up.
        host: String,
        /// The address.
        address: IpAddr,
        /// What it is.
        reason: DenialReason,
    },
    /// More than any chain of certificates needs.
    #[error("the server sends more than a chain of certificates can need")]
    TooMuch,
    /// No address takes the connection.
    #[error("no connection to {address} ({why})")]
    Unreachable {
        /// The address that was tried last.
        address: SocketAddr,
        /// What the operating system says.
        why: String,
    },
    /// There is no such name.
    #[error("{host} cannot be resolved ({why})")]
    Unresolvable {
        /// The name that was looked up.
        host: String,
        /// What the resolver says.
        why: String,
    },
}

/// What was not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stage {
    /// Nobody takes the connection.
    #[error("no connection was made")]
    Connecting,
    /// DNS.
    #[error("the host was not resolved")]
    Resolving,
    /// The server takes the connection and says nothing, or not enough.
    #[error("the connection was accepted, but no certificate was presented")]
    Shaking,
}
