//! Classifies and describes errors of requests to the API server.

use kube::Error;
use kube::runtime::{wait, watcher};

use crate::decision::{LookupError, LookupErrorKind};

/// Converts `error` to the error of a look-up.
///
/// The text of a decoding error is never shown, because it may quote the data that was read.
pub fn lookup_error(error: &Error) -> LookupError {
    let (kind, message) = match error {
        Error::Api(status) if status.code == 403 => {
            (LookupErrorKind::Forbidden, status.message.clone())
        }
        Error::Api(status) => {
            let message = format!(
                "the API server answered {}: {}",
                status.code, status.message
            );
            (LookupErrorKind::Unreachable, message)
        }
        Error::SerdeError(_) | Error::FromUtf8(_) => (
            LookupErrorKind::Unreadable,
            "what the API server answered cannot be understood".to_owned(),
        ),
        other => (
            LookupErrorKind::Unreachable,
            format!("the API server cannot be reached: {}", root_cause(other)),
        ),
    };
    LookupError { kind, message }
}

/// Returns the text of the innermost cause, which says what happened. The errors around it only say
/// where.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Converts the error of a wait for a condition to the error of a look-up.
pub fn wait_error(error: &wait::Error) -> LookupError {
    match error {
        wait::Error::ProbeFailed(error) => watch_error(error),
    }
}

/// Converts the error of a watch to the error of a look-up, as [`lookup_error`] does.
pub fn watch_error(error: &watcher::Error) -> LookupError {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => lookup_error(error),
        watcher::Error::WatchError(status) => lookup_error(&Error::Api(status.clone())),
        watcher::Error::NoResourceVersion => LookupError {
            kind: LookupErrorKind::Unreadable,
            message: "the API server answered without a resource version".to_owned(),
        },
    }
}
