//! Writes one JSON object. `docs/lint.md` describes its schema. Fields may be added. Any change to
//! an existing field increments [`VERSION`].

use std::io::{self, Write};

use serde::Serialize;

use super::super::outcome::{LocatedFinding, Outcome};
use crate::sources::manifests::Remark;

const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    version: u32,
    summary: Summary,
    findings: Vec<FindingJson<'a>>,
    notes: Vec<RemarkJson<'a>>,
    errors: Vec<RemarkJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    locations: usize,
    denials: usize,
    warnings: usize,
    notes: usize,
    errors: usize,
    documents_left_out: usize,
    templates_left_out: usize,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    file: String,
    line: u64,
    severity: String,
    rule: &'a str,
    title: &'a str,
    namespace: &'a str,
    name: &'a str,
    path: String,
    message: &'a str,
    fix: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<PlaceJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct PlaceJson {
    file: String,
    line: u64,
}

#[derive(Serialize)]
struct RemarkJson<'a> {
    file: String,
    line: Option<u64>,
    message: &'a str,
}

pub(super) fn write(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let json = Json {
        version: VERSION,
        summary: Summary {
            locations: outcome.locations,
            denials: outcome.denials(),
            warnings: outcome.warnings(),
            notes: outcome.notes.len(),
            errors: outcome.errors.len(),
            documents_left_out: outcome.skipped,
            templates_left_out: outcome.templates,
        },
        findings: outcome.findings.iter().map(finding).collect(),
        notes: outcome.notes.iter().map(remark).collect(),
        errors: outcome.errors.iter().map(remark).collect(),
    };
    crate::cli::json::write(&json, out)
}

fn finding(found: &LocatedFinding) -> FindingJson<'_> {
    let finding = &found.finding;
    FindingJson {
        file: found.file.display().to_string(),
        line: found.line,
        severity: found.severity.to_string(),
        rule: finding.rule.id,
        title: finding.rule.title,
        namespace: &found.key.namespace,
        name: &found.key.name,
        path: found.path.to_string(),
        message: &finding.message,
        fix: &finding.fix,
        secret: found.secret.as_ref().map(|(file, line)| PlaceJson {
            file: file.display().to_string(),
            line: *line,
        }),
        hint: found.hint.as_deref(),
    }
}

fn remark(remark: &Remark) -> RemarkJson<'_> {
    RemarkJson {
        file: remark.file.display().to_string(),
        line: remark.line,
        message: &remark.message,
    }
}
