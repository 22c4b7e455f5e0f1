//! JSON on standard output.

use std::io::{self, Write};

use serde::Serialize;

use crate::velero::printable::printable_json;

/// Writes `value` as indented JSON and a newline, without characters that nobody sees: scripts print
/// single values to terminals.
pub(super) fn write(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    writeln!(out, "{}", printable_json(&json))
}
