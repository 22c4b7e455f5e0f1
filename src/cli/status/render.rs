//! The status as tables.

mod certificates;

use k8s_openapi::jiff::Timestamp;

use super::model::{Bundle, BundleState, Leader, LeaderState, Location, Namespace, Source, Status};
use crate::ca::coverage::State;
use crate::cli::table::{Table, clean};
use crate::kubernetes::report;

/// Digits of a hash that tell one bundle from another.
const SHORT: usize = 12;

/// The status for a person, as it is at `now`.
pub(super) fn text(status: &Status, now: Timestamp) -> String {
    let mut parts = vec![format!("LEADER   {}\n", leader(&status.leader, now))];
    let mut namespaces = Table::new(&[
        "NAMESPACE",
        "VELERO",
        "BUNDLE",
        "CERTIFICATES",
        "FIRST EXPIRES",
        "LAST ADDED",
        "HELD",
        "PODS",
    ]);
    let mut locations = Table::new(&[
        "NAMESPACE",
        "LOCATION",
        "PHASE",
        "CA SOURCE",
        "CERTIFICATES",
        "FINDINGS",
        "ENDPOINTS",
    ]);
    let mut uncovered = Table::new(&["NAMESPACE", "POD OR TEMPLATE", "KIND", "STATE", "WHY"]);
    let mut certificates = certificates::table();
    for namespace in &status.namespaces {
        // What stands where nothing is known: files are no cluster, which would say it.
        let nothing = match status.source {
            Source::Cluster => "",
            Source::Objects => "unknown",
        };
        namespace_row(&mut namespaces, namespace, now, nothing);
        for location in &namespace.locations {
            location_row(&mut locations, namespace, location, nothing);
        }
        certificates::rows(&mut certificates, namespace);
        uncovered_rows(&mut uncovered, namespace);
    }
    let tables = [namespaces, certificates, locations, uncovered];
    parts.extend(
        tables
            .iter()
            .filter(|table| !table.is_empty())
            .map(Table::text),
    );
    parts.extend(unknown(status));
    parts.push(problems(status));
    parts.join("\n")
}

fn leader(leader: &Leader, now: Timestamp) -> String {
    let holder = clean(leader.holder.as_deref().unwrap_or_default());
    let renewed = leader.renewed.map_or_else(
        || "never renewed".to_owned(),
        |renewed| format!("renewed {} ago", span(now, renewed)),
    );
    match leader.state {
        LeaderState::Leading => format!("{holder}, {renewed}"),
        LeaderState::Stale => format!("stale: {holder}, {renewed}"),
        LeaderState::Absent => "nobody".to_owned(),
        LeaderState::Unknown => {
            let why = leader.message.as_deref().unwrap_or_default();
            format!("unknown ({})", clean(why))
        }
    }
}

fn namespace_row(table: &mut Table, of: &Namespace, now: Timestamp, nothing: &str) {
    let Namespace { bundle, pods, .. } = of;
    let mut covered = format!("{}/{}", pods.current, pods.wanted);
    if pods.opted_out > 0 {
        covered = format!("{covered} ({} opted out)", pods.opted_out);
    }
    let is_there = bundle.published.is_some() || bundle.state == BundleState::Published;
    let held = match bundle.held {
        Some(_) => "yes",
        None if is_there || nothing.is_empty() => "no",
        None => nothing,
    };
    table.row([
        of.name.clone(),
        of.velero.clone().unwrap_or_else(|| nothing.to_owned()),
        hash(bundle),
        count(bundle),
        bundle.earliest_expiry.map_or_else(String::new, |expiry| {
            if expiry < now {
                format!("{} (expired)", day(expiry))
            } else {
                format!("{} ({})", day(expiry), span(expiry, now))
            }
        }),
        bundle.last_added.map_or_else(
            || nothing.to_owned(),
            |added| format!("{} ago", span(now, added)),
        ),
        held.to_owned(),
        covered,
    ]);
}

fn hash(bundle: &Bundle) -> String {
    match bundle.state {
        BundleState::Published | BundleState::Computed => {
            let hash = short(bundle.hash.as_deref().unwrap_or_default());
            match &bundle.published {
                Some(there) if bundle.hash.as_ref() != Some(there) => {
                    format!("{hash} (there is {})", short(there))
                }
                _ => hash,
            }
        }
        BundleState::Absent => "absent".to_owned(),
        BundleState::Foreign => "foreign".to_owned(),
    }
}

fn short(hash: &str) -> String {
    let digits = hash.strip_prefix("sha256:").unwrap_or(hash);
    digits.chars().take(SHORT).collect()
}

fn count(bundle: &Bundle) -> String {
    match (bundle.certificates, &bundle.origins) {
        (Some(count), Some(origins)) => format!("{count} ({origins})"),
        (Some(count), None) => count.to_string(),
        (None, _) => String::new(),
    }
}

/// The day of a time that is RFC 3339.
fn date(time: &str) -> String {
    time.split('T').next().unwrap_or_default().to_owned()
}

fn location_row(table: &mut Table, namespace: &Namespace, location: &Location, nothing: &str) {
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
        .find(|finding| finding.severity == "deny")
        .or_else(|| location.findings.first());
    worst.map_or_else(String::new, |worst| {
        let counts = format!("{} deny, {} warn", count("deny"), count("warn"));
        format!("{counts}: {} {}", worst.rule, worst.message)
    })
}

fn endpoint(endpoint: &report::Endpoint) -> String {
    match (endpoint.state.as_str(), endpoint.message.as_str()) {
        (state, "") => state.to_owned(),
        (state, message) => format!("{state}: {message}"),
    }
}

fn uncovered_rows(table: &mut Table, namespace: &Namespace) {
    let current = State::Current.as_str();
    let pods = namespace.pods.items.iter();
    let pods = pods.filter(|pod| pod.state != current || !pod.why.is_empty());
    for covered in pods.chain(&namespace.templates) {
        table.row([
            namespace.name.clone(),
            covered.name.clone(),
            covered.kind.unwrap_or("asks for it").to_owned(),
            covered.state.to_owned(),
            covered.why.clone(),
        ]);
    }
}

/// What could not be known and is no fault.
fn unknown(status: &Status) -> Option<String> {
    let mut text = "NOT KNOWN\n".to_owned();
    let none = text.len();
    for namespace in &status.namespaces {
        for unknown in &namespace.unknown {
            text.push_str(&clean(&format!("{}: {unknown}", namespace.name)));
            text.push('\n');
        }
    }
    (text.len() > none).then_some(text)
}

fn problems(status: &Status) -> String {
    if status.clean {
        return "Nothing needs a person.\n".to_owned();
    }
    let mut text = "NEEDS A PERSON\n".to_owned();
    let mut add = |problem: String| {
        text.push_str(&clean(&problem));
        text.push('\n');
    };
    for problem in &status.problems {
        add(problem.clone());
    }
    for namespace in &status.namespaces {
        for problem in &namespace.problems {
            add(format!("{}: {problem}", namespace.name));
        }
    }
    text
}

fn day(time: Timestamp) -> String {
    date(&time.to_string())
}

/// The time from `earlier` to `later` in its largest unit, as kubectl gives ages.
fn span(later: Timestamp, earlier: Timestamp) -> String {
    let seconds = (later.as_second() - earlier.as_second()).max(0);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
