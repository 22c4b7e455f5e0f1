//! The `--listing` option.

use clap::ValueEnum;

use crate::sources::cluster::ListingTrust;

/// From which buckets a list is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Listing {
    /// From those of AWS itself, where nobody chooses ETag and time
    #[default]
    Auto,
    /// From none
    Never,
    /// From all; for a store of which you know that nobody can choose ETag and time
    Always,
}

impl From<Listing> for ListingTrust {
    fn from(listing: Listing) -> Self {
        match listing {
            Listing::Auto => Self::Auto,
            Listing::Never => Self::Never,
            Listing::Always => Self::Always,
        }
    }
}
