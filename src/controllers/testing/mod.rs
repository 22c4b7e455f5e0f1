//! What the tests of several controllers share.

pub(super) mod api;
pub(super) mod gate;

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimePrinter;

/// Returns the current time as servers tell it.
pub(super) fn date_now() -> String {
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&Timestamp::now())
        .unwrap()
}
