//! The settings of a BSL that name an endpoint.

use crate::decision::FieldPath;

/// A setting in a BSL's `spec.config` that names an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointSetting {
    /// `publicUrl`: where the `velero` command downloads from.
    PublicUrl,
    /// `region`: the endpoint of AWS in that region.
    Region,
    /// `s3Url`: the store.
    S3Url,
}

impl EndpointSetting {
    /// Returns its key in `spec.config`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::PublicUrl => "publicUrl",
            Self::Region => "region",
            Self::S3Url => "s3Url",
        }
    }

    /// Returns its place on the BSL.
    pub fn path(self) -> FieldPath {
        FieldPath::of(&["spec", "config", self.key()])
    }
}

/// A setting that gives no endpoint to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedSetting {
    /// The setting.
    pub setting: EndpointSetting,
    /// Why it gives none.
    pub reason: EndpointSettingError,
}

/// Why a setting gives no endpoint to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointSettingError {
    /// The URL uses plain HTTP.
    #[error("the URL is http://, which is not encrypted")]
    PlainHttp,
    /// It is not a URL, or it has another scheme.
    #[error("it is no https:// URL")]
    NotHttps,
    /// The host is neither a DNS name nor an IP address.
    #[error(
        "the URL's host is no DNS name and no IP address; write an international name in its ASCII form (xn--…)"
    )]
    InvalidHost,
    /// The port is not a valid port number.
    #[error("the URL's port is not between 1 and 65535")]
    InvalidPort,
    /// The region is not a valid AWS region name.
    #[error("the region is none that AWS could have")]
    InvalidRegion,
}
