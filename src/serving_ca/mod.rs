//! velero-trust's own CA for its serving certificates: what its Secret holds, what it issues, and how
//! it is replaced.
//!
//! The Secret holds up to three CAs. One signs. The next one is trusted by the API server before it may
//! sign ([`rotation`]). The one before is trusted until the last certificate that it can have signed has
//! expired; its key is gone. Every function takes the time, in seconds since 1970.

mod authorities;
mod authority;
pub mod issue;
pub mod renewal;
pub mod rotation;

pub use authorities::{Authorities, AuthoritiesError, Data};
pub use authority::{Authority, AuthorityError, LEAF_LIFE_SECONDS, Leaf};
