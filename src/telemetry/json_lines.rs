//! The JSON format of the log.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{self, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats an event as one line with one JSON object. The fields of the event and of all spans
/// around it are at the top level, so that a filter by one field, such as `uid`, finds every line
/// of a review. Of fields with the same name, the event wins, then the innermost span.
#[derive(Debug)]
pub struct JsonLines(Format<format::Json>);

impl Default for JsonLines {
    fn default() -> Self {
        // Spans are added here: the built-in formatter nests them, and overwrites their field
        // `name`.
        let json = format::format().json().flatten_event(true);
        Self(json.with_current_span(false).with_span_list(false))
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(spans) = context.event_scope() else {
            return self.0.format_event(context, writer, event);
        };
        let mut fields = Map::new();
        for span in spans.from_root() {
            let extensions = span.extensions();
            let text = extensions.get::<FormattedFields<N>>();
            let own = text.and_then(|text| serde_json::from_str::<Map<_, _>>(text).ok());
            fields.extend(own.into_iter().flatten());
        }
        let own = event.metadata().fields();
        fields.retain(|name, _| own.field(name).is_none());

        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let open = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writer.write_str(open)?;
        for (name, value) in fields {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writeln!(writer, "}}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::fmt::format::JsonFields;

    use super::*;

    #[test]
    fn fields_of_spans_are_beside_those_of_the_event() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines::default())
            .with_writer(Arc::new(log.reopen().unwrap()))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let outer = tracing::info_span!("outer", name = "a", both = 1, namespace = "x");
            let inner = tracing::info_span!(parent: &outer, "inner", both = 2);
            inner.in_scope(|| tracing::info!(namespace = "y", "inside"));
            tracing::info!("outside");
        });
        let log = std::fs::read_to_string(log.path()).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert!(lines[0].starts_with(r#"{"timestamp":""#), "{log}");
        assert!(
            lines[0].ends_with(
                r#""message":"inside","namespace":"y","target":"velero_trust::telemetry::json_lines::tests","both":2,"name":"a"}"#
            ),
            "{log}"
        );
        assert!(lines[1].ends_with(r#"json_lines::tests"}"#), "{log}");
    }
}
