//! Why an endpoint could not be probed.

use crate::dial::DialError;

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
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server accepted the connection and sent nothing, or not enough.
    #[error("the connection was accepted, but no certificate was presented in time")]
    Late,
    /// The server answers with something other than TLS.
    #[error("the server does not speak TLS on this port; correct the port, or write http://")]
    NotTls,
    /// What the server presents has no room beside what others present.
    #[error(
        "what the server presents is not kept, because the endpoints of this namespace present very \
         much; name fewer endpoints"
    )]
    NoRoom,
    /// The server sent more bytes than any chain of certificates needs.
    #[error("the server sends more than a chain of certificates can need")]
    TooMuch,
}
