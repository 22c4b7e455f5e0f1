//! How Backups went away, as facts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a Backup went away.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Departure {
    /// Somebody asked Velero to delete it.
    Deleted,
    /// Its time to live was over.
    Expired,
    /// Neither: its files went from the bucket, or somebody deleted the object.
    Vanished,
    /// Nobody of velero-trust saw it go.
    Unseen,
    /// Another Backup has its name.
    Replaced,
}

impl Departure {
    /// Returns the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "Deleted",
            Self::Expired => "Expired",
            Self::Vanished => "Vanished",
            Self::Unseen => "Unseen",
            Self::Replaced => "Replaced",
        }
    }

    /// Whether somebody wanted it to go, so that its files are not to be there.
    pub const fn is_wanted(self) -> bool {
        matches!(self, Self::Deleted | Self::Expired)
    }

    /// Whether a Schedule may lack it without anybody knowing.
    pub const fn is_loss(self) -> bool {
        matches!(self, Self::Vanished | Self::Unseen)
    }
}
