//! The lines of a file of credentials, read as the AWS SDK for Go reads them (`config/internal/ini`).
//!
//! A general reader of INI files would read other values out of it: comments, quotes, colons and
//! continuations differ.

use std::collections::BTreeMap;

/// A setting, and in which line it is.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) line: usize,
    pub(super) value: &'a str,
}

/// The settings of a section by name.
pub(super) type Section<'a> = BTreeMap<String, Entry<'a>>;

/// The sections by name.
pub(super) type Sections<'a> = BTreeMap<String, Section<'a>>;

/// Reads the sections of a file.
pub(super) fn read(text: &str) -> Sections<'_> {
    let mut sections = Sections::new();
    let mut current: Option<String> = None;
    // The property that an indented line may belong to.
    let mut last: Option<String> = None;
    for (line, text) in (1..).zip(text.lines()) {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = section_name(text) {
            sections.entry(name.clone()).or_default();
            current = Some(name);
            last = None;
            continue;
        }
        let Some(section) = current.as_ref().and_then(|name| sections.get_mut(name)) else {
            continue;
        };
        if text.starts_with([' ', '\t']) {
            let Some((key, value)) = property(trimmed) else {
                // A continuation, which none of the settings that are read here has.
                continue;
            };
            // Below an empty value it is a setting of that; elsewhere it is one of the section.
            let is_nested = last
                .as_ref()
                .is_some_and(|last| section.get(last).is_some_and(|it| it.value.is_empty()));
            if !is_nested {
                last = Some(key.clone());
                let value = without_comment(value).trim();
                section.insert(key, Entry { line, value });
            }
            continue;
        }
        if let Some((key, value)) = property(without_comment(text).trim_end()) {
            last = Some(key.clone());
            section.insert(key, Entry { line, value });
        }
    }
    sections
}

/// Returns the name of a section, with one space between its two words: `[ profile  a ] # comment`.
fn section_name(line: &str) -> Option<String> {
    let text = line.split(['#', ';']).next()?.trim();
    let name = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut words = name.splitn(2, [' ', '\t']);
    let first = words.next()?;
    Some(match words.next() {
        Some(second) => format!("{first} {}", second.trim_start()),
        None => first.to_owned(),
    })
}

fn without_comment(text: &str) -> &str {
    let starts = [" #", " ;", "\t#", "\t;"];
    let ends = starts.iter().filter_map(|start| text.find(start));
    let end = ends.min().unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// Splits at the first equals sign or colon. Keys are compared in lower case, and quotes around the
/// value are removed.
fn property(text: &str) -> Option<(String, &str)> {
    let (key, value) = text.split_once(['=', ':'])?;
    let value = value.trim();
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = quoted('\'').or_else(|| quoted('"')).unwrap_or(value);
    Some((key.trim().to_lowercase(), value))
}
