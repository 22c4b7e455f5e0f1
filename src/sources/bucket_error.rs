//! Errors of buckets as errors of look-ups.

use crate::bucket::{ErrorKind, LocationError, SettingsError};
use crate::decision::{LookupError, LookupErrorKind};
use crate::dial::DialError;
use crate::kubernetes::error;

/// Returns the error of a look-up. It names no location, since the look-up does.
pub(super) fn lookup_error(error: &LocationError) -> LookupError {
    let (LocationError::Unusable { error: cause, .. } | LocationError::Bucket(cause)) = error
    else {
        return match error {
            LocationError::Unread(error) | LocationError::BundleUnread(error) => {
                error::lookup_error(error)
            }
            _ => LookupError {
                kind: LookupErrorKind::Unreachable,
                message: error.to_string(),
            },
        };
    };
    let kind = match &cause.kind {
        ErrorKind::Settings(SettingsError::Provider(_)) => LookupErrorKind::Unsupported,
        ErrorKind::AccessDenied { .. }
        | ErrorKind::AccessOrCustomerKey { .. }
        | ErrorKind::Expired
        | ErrorKind::Kms { .. }
        | ErrorKind::UnknownKey { .. }
        | ErrorKind::WrongSecretKey => LookupErrorKind::Forbidden,
        ErrorKind::Dial(DialError::Late(_)) | ErrorKind::Late | ErrorKind::TooSlow => {
            LookupErrorKind::Timeout
        }
        ErrorKind::Malformed(_) | ErrorKind::OddName { .. } | ErrorKind::TooMany => {
            LookupErrorKind::Unreadable
        }
        _ => LookupErrorKind::Unreachable,
    };
    LookupError {
        kind,
        message: cause.with_fix(),
    }
}
