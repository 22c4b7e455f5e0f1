//! The BSLs, as a table.

use k8s_openapi::jiff::Timestamp;

use super::super::model::{Location, Namespace};
use super::{age, certificates_until};
use crate::cli::table::Table;
use crate::decision::Severity;
use crate::kubernetes::report;

/// Returns the table without rows.
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

/// Adds a row for each location of a namespace. `placeholder` stands for unknown values. Ages are
/// relative to `now`.
pub(super) fn rows(table: &mut Table, namespace: &Namespace, now: Timestamp, placeholder: &str) {
    for location in &namespace.locations {
        row(table, namespace, location, now, placeholder);
    }
}

fn row(
    table: &mut Table,
    namespace: &Namespace,
    location: &Location,
    now: Timestamp,
    placeholder: &str,
) {
    let endpoints = match (&location.report, &namespace.no_report) {
        (Some(report), _) => endpoints(report, now),
        (None, Some(why)) => format!("unknown (no report: {why})"),
        (None, None) => "unknown (not reported yet)".to_owned(),
    };
    // Only the last column shows the reason.
    let column_or_unknown = |text: fn(&report::Location) -> String| match &location.report {
        Some(report) => text(report),
        None => "unknown".to_owned(),
    };
    table.row([
        namespace.name.clone(),
        location.name.clone(),
        location
            .phase
            .clone()
            .unwrap_or_else(|| placeholder.to_owned()),
        column_or_unknown(|report| report.sources.join(", ")),
        column_or_unknown(|report| certificates_until(&report.certificates)),
        column_or_unknown(findings),
        endpoints,
    ]);
}

fn endpoints(location: &report::Location, now: Timestamp) -> String {
    let texts = location.endpoints.iter().map(|one| endpoint(one, now));
    texts.collect::<Vec<_>>().join(", ")
}

fn findings(location: &report::Location) -> String {
    let count = |severity| {
        let findings = location.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    };
    // A finding that denies comes first, whatever the order in the report.
    let mut findings = location.findings.iter();
    let most_severe = findings
        .find(|finding| finding.severity == Severity::Deny)
        .or_else(|| location.findings.first());
    most_severe.map_or_else(String::new, |most_severe| {
        let counts = format!(
            "{} deny, {} warn",
            count(Severity::Deny),
            count(Severity::Warn)
        );
        format!("{counts}: {} {}", most_severe.rule, most_severe.message)
    })
}

fn endpoint(endpoint: &report::Endpoint, now: Timestamp) -> String {
    let age = age(endpoint, now).map_or_else(String::new, |age| format!(" ({age})"));
    match (endpoint.state, endpoint.message.as_str()) {
        (state, "") => format!("{state}{age}"),
        (state, message) => format!("{state}{age}: {message}"),
    }
}
