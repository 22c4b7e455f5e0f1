//! Time and size limits of the servers. The defaults are for production; tests shorten them.

use std::time::Duration;

/// Time limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accepting a connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// From there to the end of the head of its first request.
    pub first_request: Duration,
    /// From one request of a connection to the end of the head of the next one.
    pub idle: Duration,
    /// From the head of a request to the end of its body.
    pub body: Duration,
    /// From the first byte of an answer that has to wait until all of it is written.
    pub write: Duration,
    /// Age at which a connection is asked to end, plus or minus a fifth. It ends with the answer to
    /// its next request.
    pub age: Duration,
    /// Age at which a connection is closed, whatever it is doing.
    pub hard_age: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // An API server needs only milliseconds; these limits are for clients that occupy a
            // place without using it.
            handshake: Duration::from_secs(5),
            first_request: Duration::from_secs(5),
            body: Duration::from_secs(5),
            write: Duration::from_secs(5),
            // The API server closes a connection that was idle for 90 s. If we closed it earlier,
            // that could race with a request that the API server is just writing, and it does not
            // repeat a POST.
            idle: Duration::from_mins(3),
            // Persistent connections pin an API server to one replica; this lets it choose again.
            age: Duration::from_mins(5),
            // The maximum age with its jitter, one idle timeout, one review and some slack.
            hard_age: Duration::from_mins(10),
        }
    }
}

/// Size limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Open connections to the webhook's port.
    pub connections: usize,
    /// As many of them, of one source address, are never closed to make room for another source.
    pub protected_connections: usize,
    /// Open connections to the port of health and metrics.
    pub ops_connections: usize,
    /// Requests on one connection, plus or minus a fifth, before it is asked to end.
    pub requests: u32,
    /// Bytes of memory that all reviews may need together, from the first byte of a body until the
    /// answer is written.
    pub memory: usize,
    /// Bytes of memory on top that only small reviews may need, those of up to a quarter of it.
    pub small_memory: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            connections: 1024,
            // An API server keeps 25 idle ones, and has as many more as it waits for reviews.
            protected_connections: 64,
            // kubelet and Prometheus have one each, for a moment.
            ops_connections: 64,
            // A handshake costs about as much as ten reviews: 1 % at this number.
            requests: 1000,
            // Two of the largest reviews, or more than five hundred of real ones; less than half of
            // the Deployment's limit, because connections and the controllers need memory too.
            memory: 96 << 20,
            // Reviews of Pods of 60 KB and of other objects of 120 KB: real ones have less.
            small_memory: 4 << 20,
        }
    }
}

/// Times of the drain at shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The drain ends once no connection was open for this long, because by then no client is sent
    /// here any longer.
    pub quiet: Duration,
    /// The drain ends after this long in any case.
    pub limit: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            // Changes of Endpoints reach every kube-proxy and API server within a few seconds.
            quiet: Duration::from_secs(5),
            // Longer than the 90 s after which an API server closes an idle connection by itself,
            // and shorter than the Pod's grace period of 120 s.
            limit: Duration::from_secs(95),
        }
    }
}
