//! The times and amounts that serving keeps to. The defaults are for production; tests shorten
//! them.

use std::time::Duration;

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accepting a connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// From there to the end of the head of its first request.
    pub first_request: Duration,
    /// From one request of a connection to the end of the next one's head.
    pub idle: Duration,
    /// From the head of a request to the end of its body.
    pub body: Duration,
    /// Age at which a connection is asked to end, give or take a fifth. It ends with the answer
    /// to its next request.
    pub age: Duration,
    /// Age at which a connection is cut whatever it does.
    pub hard_age: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // An API server is done in milliseconds; these bound those who hold a place for nothing.
            handshake: Duration::from_secs(5),
            first_request: Duration::from_secs(5),
            body: Duration::from_secs(5),
            // The API server closes a connection after 90 s without use. Closing before it does
            // would race with a request that it is just writing, and it does not repeat a POST.
            idle: Duration::from_mins(3),
            // MergedBundle connections pin an API server to one replica; this lets it choose again.
            age: Duration::from_mins(5),
            // Age with its jitter, one idle time, one review and some slack: only a client that
            // does not read its answers lives to see it.
            hard_age: Duration::from_mins(10),
        }
    }
}

/// How much there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Open connections; those above are closed at once. An API server keeps 25 idle ones.
    pub connections: usize,
    /// Requests on one connection, give or take a fifth, before it is asked to end.
    pub requests: u32,
    /// Bytes in one body.
    pub body: usize,
    /// Bytes in all bodies that are being read or reviewed.
    pub bodies: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            connections: 1024,
            // A handshake costs about as much as ten reviews: 1 % at this number.
            requests: 1000,
            // An UPDATE carries two objects of 3 MiB at the most, and their JSON escapes.
            body: 8 << 20,
            // Eight of the largest.
            bodies: 64 << 20,
        }
    }
}

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// It ends once no connection was open for so long, because by then nobody is sent here any
    /// more.
    pub quiet: Duration,
    /// It ends after so long in any case.
    pub limit: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            // Endpoints reach every kube-proxy and API server within a few seconds.
            quiet: Duration::from_secs(5),
            // Longer than the 90 s after which an API server closes an idle connection by
            // itself, shorter than the pod's grace period of 120 s.
            limit: Duration::from_secs(95),
        }
    }
}
