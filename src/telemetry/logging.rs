//! The log: one line per event, on standard error.

use std::io::stderr;
use std::panic::PanicHookInfo;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::json_lines::JsonLines;
use super::printable_writer::PrintableWriter;

/// The target whose events quote whole answers of the API server that could not be parsed, which
/// may be Secrets. No filter can enable it; the caller of the request logs what went wrong.
const UNREDACTED_TARGET: &str = "kube_client::client";

/// Filters out the warnings of kube's watcher about every attempt that is refused: our own watches
/// log such a failure once. A filter that names this target wins.
const QUIET_WATCHER: &str = "kube_runtime::watcher=error";

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line, for programs.
    Json,
    /// Text, for people.
    #[default]
    Text,
}

impl FromStr for Format {
    type Err = LogError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(LogError::Format(s.to_owned())),
        }
    }
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be parsed.
    #[error(
        "`{0}` is not a log filter; say `info`, or single targets such as `info,velero_trust=debug`"
    )]
    Filter(String, #[source] tracing_subscriber::filter::ParseError),
    /// The format does not exist.
    #[error("`{0}` is not a log format; say `text` or `json`")]
    Format(String),
    /// A log was already set up in this process.
    #[error("the log was started twice")]
    Started(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts the log. `filter` uses the syntax of [`EnvFilter`], such as `info`.
///
/// From now on a panic is logged as one event with its location but without its message: the
/// message may quote the text being processed, which may be a Secret's.
pub fn start(format: Format, filter: &str) -> Result<(), LogError> {
    let parsed = EnvFilter::try_new(format!("{QUIET_WATCHER},{filter}"))
        .map_err(|error| LogError::Filter(filter.to_owned(), error))?;
    let log = tracing_subscriber::fmt()
        .with_writer(PrintableWriter::new(stderr, format))
        // A line that cannot be written, for example because the disk is full or a collector died,
        // is lost. Reporting that on the same stderr would panic.
        .log_internal_errors(false)
        .with_env_filter(parsed)
        // Colors are escape sequences, and none of those passes the writer.
        .with_ansi(false);
    let silenced = filter_fn(|event| event.target() != UNREDACTED_TARGET);
    match format {
        Format::Json => {
            let log = log.fmt_fields(JsonFields::new());
            let log = log.event_format(JsonLines::default()).finish();
            log.with(silenced).try_init()
        }
        Format::Text => log.finish().with(silenced).try_init(),
    }
    .map_err(LogError::Started)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Logs a panic, inside the spans in which it happens.
pub fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(place = place.as_deref().unwrap_or("unknown"), "panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_says_what_would_be_right() {
        let error = "xml".parse::<Format>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`xml` is not a log format; say `text` or `json`"
        );
        assert!(start(Format::Text, "velero_trust=loud").is_err());
    }
}
