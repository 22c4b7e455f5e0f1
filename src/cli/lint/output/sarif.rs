//! Writes SARIF 2.1.0 (OASIS) with the properties that GitHub code scanning requires.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::super::outcome::{LocatedFinding, Outcome};
use super::message;
use super::uri::uri;
use crate::admission::UNREADABLE;
use crate::admission::schema::DROPPED;
use crate::decision::{Rule, Severity};
use crate::sources::manifests::Remark;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    invocations: [Invocation; 1],
    results: Vec<SarifResult>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    version: &'static str,
    semantic_version: &'static str,
    rules: Vec<Descriptor>,
}

/// A `reportingDescriptor`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    short_description: Text,
    full_description: Text,
    help: Text,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    tool_execution_notifications: Vec<Notification>,
}

#[derive(Serialize)]
struct Notification {
    level: &'static str,
    message: Text,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<Location>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: &'static str,
    message: Text,
    locations: [Location; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_locations: Vec<Location>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
    physical_location: PhysicalLocation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u64,
}

pub(super) fn write(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let rules = rules();
    let log = Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run {
            results: outcome
                .findings
                .iter()
                .map(|found| result(found, &rules))
                .collect(),
            tool: Tool {
                driver: Driver {
                    name: "velero-trust",
                    version: env!("CARGO_PKG_VERSION"),
                    semantic_version: env!("CARGO_PKG_VERSION"),
                    rules: rules.into_iter().map(descriptor).collect(),
                },
            },
            invocations: [invocation(outcome)],
        }],
    };
    crate::cli::json::write(&log, out)
}

/// Returns the rules that lint can report, sorted by ID.
fn rules() -> Vec<&'static Rule> {
    let mut rules: Vec<_> = [&UNREADABLE, &DROPPED]
        .into_iter()
        .chain(crate::ca::rules::all())
        .collect();
    rules.sort_by_key(|rule| rule.id);
    rules
}

fn descriptor(rule: &'static Rule) -> Descriptor {
    Descriptor {
        id: rule.id,
        short_description: text(rule.title),
        full_description: text(rule.about),
        help: text(rule.about),
        default_configuration: Configuration {
            level: level(rule.severity),
        },
    }
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Deny => "error",
        Severity::Warn => "warning",
        Severity::Off => "none",
    }
}

fn result(found: &LocatedFinding, rules: &[&'static Rule]) -> SarifResult {
    let rule = found.finding.rule;
    let mut message = message(found);
    if let Some(hint) = &found.hint {
        message = format!("{message}\n\n{hint}");
    }
    SarifResult {
        rule_id: rule.id,
        rule_index: rules.iter().position(|known| *known == rule),
        level: level(found.severity),
        message: text(message),
        locations: [location(&found.file, Some(found.line))],
        related_locations: found
            .secret
            .iter()
            .map(|(file, line)| Location {
                message: Some(text("the Secret")),
                ..location(file, Some(*line))
            })
            .collect(),
    }
}

fn invocation(outcome: &Outcome) -> Invocation {
    let notification = |level,
                        Remark {
                            file,
                            line,
                            message,
                        }: &Remark| Notification {
        level,
        message: text(message.as_str()),
        locations: vec![location(file, *line)],
    };
    let errors = outcome.errors.iter().map(|it| notification("error", it));
    let notes = outcome.notes.iter().map(|it| notification("note", it));
    let skipped = outcome
        .skipped_notes()
        .into_iter()
        .map(|note| Notification {
            level: "note",
            message: text(note),
            locations: Vec::new(),
        });
    Invocation {
        execution_successful: outcome.errors.is_empty(),
        tool_execution_notifications: errors.chain(notes).chain(skipped).collect(),
    }
}

fn text(text: impl Into<String>) -> Text {
    let text = text.into();
    Text { text }
}

fn location(file: &Path, line: Option<u64>) -> Location {
    Location {
        message: None,
        physical_location: PhysicalLocation {
            artifact_location: Artifact { uri: uri(file) },
            region: line.map(|start_line| Region { start_line }),
        },
    }
}
