//! Renders the status as tables.

mod backups;
mod certificates;
mod extra_cas;
mod locations;
mod namespaces;
mod records;
mod restores;
mod retained;
mod uncovered;

use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;

use super::model::{
    FIX_SEPARATOR, ServingCertificateState, ServingCertificateStatus, Source, StatusReport,
};
use crate::admission::webhook_state::{WebhookState, WebhookStatus};
use crate::cli::snapshot::{Leader, LeaderState};
use crate::cli::table::{Table, clean};
use crate::cli::wrap::wrap_indented;
use crate::kubernetes::published_activation::ServingCaReport;
use crate::kubernetes::report;

/// Number of digits of a hash that are shown. They are enough to distinguish bundles.
const SHORT_HASH_DIGITS: usize = 12;

/// What the second line of a problem starts with.
const INDENT: &str = "    ";

/// Renders the status for people, in `columns`, except for fixes, which can be copied from one
/// line. Ages and durations are relative to `now`.
pub(super) fn text(status: &StatusReport, now: Timestamp, columns: usize) -> String {
    let mut header = format!("LEADER   {}\n", leader(&status.leader, now));
    header.push_str(&webhooks(&status.webhooks));
    let certificate = status.serving_certificate.as_ref();
    header.push_str(&certificate.map_or_else(String::new, |one| certificate_line(one, now)));
    let activation = status.activation.as_ref();
    let ca = activation.and_then(|report| report.serving_ca.as_ref());
    header.push_str(&ca.map_or_else(String::new, |ca| ca_line(ca, now)));
    if let Some(records) = status
        .records
        .as_ref()
        .filter(|one| one.installed.is_none())
    {
        let why = records.message.as_deref().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(header, "RECORDS  unknown ({})", clean(why));
    }
    let mut parts = vec![header];
    let mut namespaces = namespaces::table();
    let mut locations = locations::table();
    let mut uncovered = uncovered::table();
    let mut backups = backups::table();
    let mut recorded = records::table();
    let mut waiting = restores::table();
    let mut is_some_late = false;
    let mut certificates = certificates::table();
    let mut retained = retained::table();
    for namespace in &status.namespaces {
        // The text for values that are not known. An empty value is only certain in a cluster.
        let placeholder = match status.source {
            Source::Cluster => "",
            Source::Objects => "unknown",
        };
        namespaces::row(&mut namespaces, namespace, now, placeholder);
        locations::rows(&mut locations, namespace, now, placeholder);
        certificates::rows(&mut certificates, namespace);
        retained::rows(&mut retained, namespace);
        uncovered::rows(&mut uncovered, namespace);
        backups::row(&mut backups, namespace);
        restores::rows(&mut waiting, namespace);
        is_some_late |= records::row(&mut recorded, namespace);
    }
    let extra_cas = extra_cas::table(&status.namespaces);
    let mut add = |table: &Table, note: &str| {
        if !table.is_empty() {
            parts.push(format!("{}{note}", table.text_within(columns)));
        }
    };
    add(&namespaces, "");
    add(&certificates, "");
    add(&locations, "");
    add(&backups, &backups::before_enforcing(&status.namespaces));
    add(&waiting, "");
    add(&recorded, if is_some_late { records::LATE } else { "" });
    add(&extra_cas, "");
    add(&retained, "");
    add(&uncovered, "");
    parts.extend(unknown(status, columns));
    parts.push(problems(status, columns));
    parts.join("\n")
}

fn leader(leader: &Leader, now: Timestamp) -> String {
    let holder = clean(leader.holder.as_deref().unwrap_or_default());
    let renewed = leader.renewed.map_or_else(
        || "never renewed".to_owned(),
        |renewed| format!("renewed {} ago", format_duration(now, renewed)),
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

/// Renders the state of each webhook, on one line, and why a state is not known.
fn webhooks(webhooks: &[WebhookStatus]) -> String {
    let states = webhooks
        .iter()
        .map(|one| format!("{} {}", one.webhook, one.state.as_str()));
    let states: Vec<_> = states.collect();
    if states.is_empty() {
        return String::new();
    }
    let unknown = webhooks
        .iter()
        .find(|one| one.state == WebhookState::Unknown);
    let why = unknown.map(|one| format!(" ({})", clean(&one.message)));
    format!(
        "WEBHOOKS {}{}\n",
        states.join(", "),
        why.unwrap_or_default()
    )
}

/// Renders when the serving certificate expires.
fn certificate_line(certificate: &ServingCertificateStatus, now: Timestamp) -> String {
    let text = match (certificate.state, certificate.not_after) {
        (ServingCertificateState::Unknown, _) | (_, None) => {
            let why = certificate.message.as_deref().unwrap_or_default();
            format!("unknown ({})", clean(why))
        }
        (ServingCertificateState::Expired, Some(until)) => format!("expired {}", day(until)),
        (_, Some(until)) => format!("expires {} ({})", day(until), format_duration(until, now)),
    };
    format!("SERVING CERTIFICATE {text}\n")
}

/// Renders when velero-trust's own CA expires, and how far its rotation is.
fn ca_line(ca: &ServingCaReport, now: Timestamp) -> String {
    let Some(until) = ca.not_after else {
        return "SERVING CA there is none yet\n".to_owned();
    };
    if until < now {
        return format!("SERVING CA expired {}\n", day(until));
    }
    let mut text = format!("expires {} ({})", day(until), format_duration(until, now));
    if ca.has_next {
        text.push_str("; the next one signs once every webhook has trusted it for 2 minutes");
    }
    if let Some(until) = ca.previous_until.filter(|until| *until > now) {
        let left = format_duration(until, now);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "; the one before is trusted until {} ({left})",
            day(until)
        );
    }
    format!("SERVING CA {text}\n")
}

/// Renders the values that are not known although nothing is wrong; `None` if there are none.
fn unknown(status: &StatusReport, columns: usize) -> Option<String> {
    let mut text = "NOT KNOWN\n".to_owned();
    let header_length = text.len();
    for namespace in &status.namespaces {
        for unknown in &namespace.unknown {
            let unknown = clean(&format!("{}: {unknown}", namespace.name));
            text.push_str(&wrap_indented(&unknown, columns, INDENT));
        }
    }
    (text.len() > header_length).then_some(text)
}

fn problems(status: &StatusReport, columns: usize) -> String {
    if status.clean {
        return "Nothing needs a person.\n".to_owned();
    }
    let mut text = "NEEDS A PERSON\n".to_owned();
    let mut add = |problem: String| {
        let (problem, fix) = problem
            .split_once(FIX_SEPARATOR)
            .map_or((problem.as_str(), None), |(problem, fix)| {
                (problem, Some(fix))
            });
        text.push_str(&wrap_indented(&clean(problem), columns, INDENT));
        if let Some(fix) = fix {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{INDENT}-> {}", clean(fix));
        }
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

/// Returns the subjects of certificates, each with its expiry.
fn certificates_until(certificates: &[report::Certificate]) -> String {
    let texts = certificates.iter().map(|certificate| {
        let until = date(&certificate.not_after);
        format!("{} (until {until})", certificate.subject)
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Returns the first digits of a hash.
fn short_hash(hash: &str) -> String {
    let digits = hash.strip_prefix("sha256:").unwrap_or(hash);
    digits.chars().take(SHORT_HASH_DIGITS).collect()
}

/// Returns the date of an RFC 3339 time.
fn date(time: &str) -> String {
    time.split('T').next().unwrap_or_default().to_owned()
}

fn day(time: Timestamp) -> String {
    date(&time.to_string())
}

/// Returns how long ago an endpoint was probed, such as `3m ago`; `None` if that is not known.
pub(super) fn age(endpoint: &report::Endpoint, now: Timestamp) -> Option<String> {
    let probed_at: Timestamp = endpoint.probed_at.as_deref()?.parse().ok()?;
    Some(format!("{} ago", format_duration(now, probed_at)))
}

/// Formats the time from `earlier` to `later` in its largest unit, as kubectl formats ages.
fn format_duration(later: Timestamp, earlier: Timestamp) -> String {
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
