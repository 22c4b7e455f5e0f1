//! What went wrong between us and the API server, in words.

use kube::Error;
use kube::runtime::watcher;

use crate::decision::{Reason, Trouble};

/// What `error` means for a look-up.
///
/// The text of an error that comes from decoding is never shown: it may quote what was read.
pub fn reason(error: &Error) -> Reason {
    let (trouble, message) = match error {
        Error::Api(status) if status.code == 403 => (Trouble::Forbidden, status.message.clone()),
        Error::Api(status) => {
            let message = format!(
                "the API server answered {}: {}",
                status.code, status.message
            );
            (Trouble::Unreachable, message)
        }
        Error::SerdeError(_) | Error::FromUtf8(_) => (
            Trouble::Unreadable,
            "what the API server answered cannot be understood".to_owned(),
        ),
        other => (
            Trouble::Unreachable,
            format!("the API server cannot be reached: {}", cause(other)),
        ),
    };
    Reason { trouble, message }
}

/// The innermost cause: it says what happened, the layers around it only where.
pub fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Whether we have no right to watch.
pub fn is_refused(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(Error::Api(status))
        | watcher::Error::WatchStartFailed(Error::Api(status))
        | watcher::Error::WatchFailed(Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => 0,
    };
    code == 403
}
