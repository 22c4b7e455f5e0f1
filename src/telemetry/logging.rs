//! The log: one line an event, on standard error.

use std::io::{IsTerminal as _, stderr};
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A target that quotes whole answers of the API server when it cannot read them: they may be
/// Secrets. No filter can ask for it; what went wrong is told by whoever made the request.
const QUOTES_ANSWERS: &str = "kube_client::client";

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For a program: one JSON object a line.
    Json,
    /// For a person.
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

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error(
        "`{0}` is not a log filter; say `info`, or single targets such as `info,velero_trust=debug`"
    )]
    Filter(String, #[source] tracing_subscriber::filter::ParseError),
    /// There is no such format.
    #[error("`{0}` is not a log format; say `text` or `json`")]
    Format(String),
    /// Something else in the process has set up a log already.
    #[error("the log was started twice")]
    Started(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts the log. `filter` is in the syntax of [`EnvFilter`], such as `info`.
///
/// From now on a panic is told as one event that names its place but not its words: the words of
/// a panic may quote the text that was being worked on, and that may be a Secret's.
pub fn start(format: Format, filter: &str) -> Result<(), LogError> {
    let parsed =
        EnvFilter::try_new(filter).map_err(|error| LogError::Filter(filter.to_owned(), error))?;
    let log = tracing_subscriber::fmt()
        .with_writer(stderr)
        // A line that cannot be written, to a full disk or a collector that died, is lost. Saying
        // so on the same stderr would panic.
        .log_internal_errors(false)
        .with_env_filter(parsed)
        .with_ansi(stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let silenced = filter_fn(|event| event.target() != QUOTES_ANSWERS);
    match format {
        Format::Json => {
            let log = log.json().flatten_event(true).finish();
            log.with(silenced).try_init()
        }
        Format::Text => log.finish().with(silenced).try_init(),
    }
    .map_err(LogError::Started)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place = place.as_deref().unwrap_or("unknown"), "panic");
    }));
    Ok(())
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
