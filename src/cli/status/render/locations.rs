//! What each BSL is like, as a table.

use super::super::model::{Location, Namespace};
use super::date;
use crate::cli::table::Table;
use crate::decision::Severity;
use crate::kubernetes::report;

/// The table without a row.
pub(super) fn table() -> Table {
    Table::new(&[
        "NAMESPACE",
        "LOCATION",
        "PHASE",
        "CA SOURCE",
        "CERTIFICATES",
        "FINDINGS",
        "ENDPOINTS",
    ])
}

/// One for each of its locations; `nothing` stands where nothing is known.
pub(super) fn rows(table: &mut Table, namespace: &Namespace, nothing: &str) {
    for location in &namespace.locations {
        row(table, namespace, location, nothing);
    }
}

fn row(table: &mut Table, namespace: &Namespace, location: &Location, nothing: &str) {
    let of =
        |column: fn(&report::Location) -> String| match (&location.report, &namespace.no_report) {
            (Some(report), _) => column(report),
            (None, Some(why)) => format!("unknown (no report: {why})"),
            (None, None) => "unknown (not reported yet)".to_owned(),
        };
    // The reason once, not in every column.
    let brief = |column: fn(&report::Location) -> String| match &location.report {
        Some(report) => column(report),
        None => "unknown".to_owned(),
    };
    table.row([
        namespace.name.clone(),
        location.name.clone(),
        location.phase.clone().unwrap_or_else(|| nothing.to_owned()),
        brief(|report| report.sources.join(", ")),
        brief(|report| joined(&report.certificates, certificate)),
        brief(findings),
        of(|report| joined(&report.endpoints, endpoint)),
    ]);
}

fn joined<T>(items: &[T], text: fn(&T) -> String) -> String {
    let texts: Vec<_> = items.iter().map(text).collect();
    texts.join(", ")
}

fn certificate(certificate: &report::Certificate) -> String {
    let report::Certificate {
        subject, not_after, ..
    } = certificate;
    format!("{subject} (until {})", date(not_after))
}

fn findings(location: &report::Location) -> String {
    let count = |severity| {
        let findings = location.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    };
    // What denies comes first, whatever the order of the report.
    let mut findings = location.findings.iter();
    let worst = findings
        .find(|finding| finding.severity == Severity::Deny)
        .or_else(|| location.findings.first());
    worst.map_or_else(String::new, |worst| {
        let counts = format!(
            "{} deny, {} warn",
            count(Severity::Deny),
            count(Severity::Warn)
        );
        format!("{counts}: {} {}", worst.rule, worst.message)
    })
}

fn endpoint(endpoint: &report::Endpoint) -> String {
    match (endpoint.state, endpoint.message.as_str()) {
        (state, "") => state.to_string(),
        (state, message) => format!("{state}: {message}"),
    }
}
