//! A writer for the log that leaves out what nobody sees.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::velero::printable::{printable, printable_json};

use super::Format;

/// Makes writers for events: each is written as one line, without characters that nobody sees. Events
/// of dependencies pass here as well, and quote servers.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrintableWriter<M> {
    make: M,
    format: Format,
}

impl<M> PrintableWriter<M> {
    /// Writes events in `format` to the writers of `make`.
    pub(super) const fn new(make: M, format: Format) -> Self {
        Self { make, format }
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for PrintableWriter<M> {
    type Writer = Printable<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Printable {
            out: self.make.make_writer(),
            format: self.format,
        }
    }
}

/// Writes one event.
#[derive(Debug)]
pub(super) struct Printable<W> {
    out: W,
    format: Format,
}

impl<W: Write> Write for Printable<W> {
    /// Writes all of `event`. The subscriber passes a whole event, which ends with a newline.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.trim_end_matches('\n');
        let line = match self.format {
            Format::Json => printable_json(text),
            Format::Text => printable(text).into_owned(),
        };
        self.out.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::format::JsonFields;

    use super::*;
    use crate::telemetry::JsonLines;

    const POISON: &str = "a\u{1b}[31m\u{9b}2J\u{202e}\u{200b}\u{e0041}\r\nb";

    /// Logs text of a server as a dependency might. Returns the lines.
    fn logged(format: Format) -> Vec<String> {
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = PrintableWriter::new(Mutex::new(log.reopen().unwrap()), format);
        let builder = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(writer);
        let subscriber: Arc<dyn tracing::Subscriber + Send + Sync> = match format {
            Format::Text => Arc::new(builder.finish()),
            Format::Json => Arc::new(
                builder
                    .fmt_fields(JsonFields::new())
                    .event_format(JsonLines::default())
                    .finish(),
            ),
        };
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", name = POISON);
            span.in_scope(|| tracing::info!(shown = %POISON, quoted = ?POISON, "{POISON}"));
        });
        let text = std::fs::read_to_string(log.path()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_event_is_one_line_of_what_can_be_seen_whoever_logs_it() {
        for format in [Format::Text, Format::Json] {
            let lines = logged(format);
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_eq!(printable(&lines[0]), lines[0], "{lines:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&logged(Format::Json)[0]).unwrap();
        assert_eq!(json["message"], "a [31m 2J    \nb");
        assert_eq!(json["name"], json["message"]);
        assert_eq!(json["shown"], json["message"]);
    }
}
