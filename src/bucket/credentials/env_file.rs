//! The file of credentials of the azure plugin: variables of an environment.
//!
//! The plugin reads it with `godotenv` 1.3.0. This reads it line by line as that does (`parseLine`,
//! `parseValue`, `expandVariables`), so that a secret with a `#` or a `$` is the same for both.

use std::collections::BTreeMap;

/// The variables by name.
pub(super) type Variables = BTreeMap<String, String>;

/// Reads the text of a file. Fails with the number of the first line that is no variable.
pub(super) fn read(text: &str) -> Result<Variables, usize> {
    let mut variables = Variables::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_matches([' ', '\t']);
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let line = without_comment(line);
        let (name, value) = line.split_once(['=', ':']).ok_or(number + 1)?;
        let name = name.strip_prefix("export").unwrap_or(name);
        let value = value_of(value.trim_matches(' '), &variables);
        variables.insert(name.trim_matches(' ').to_owned(), value);
    }
    Ok(variables)
}

/// Cuts off what follows a `#` outside of quotes.
fn without_comment(line: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_quoted = false;
    for segment in line.split('#') {
        let has_one = |quote| segment.matches(quote).count() == 1;
        if has_one('"') || has_one('\'') {
            if is_quoted {
                kept.push(segment);
            }
            is_quoted = !is_quoted;
        }
        if kept.is_empty() || is_quoted {
            kept.push(segment);
        }
    }
    kept.join("#")
}

fn value_of(text: &str, variables: &Variables) -> String {
    let quoted = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(literal) = quoted('\'') {
        return literal.to_owned();
    }
    match quoted('"') {
        Some(escaped) => expand(&unescape(&line_breaks(escaped)), variables),
        // One character is never expanded.
        None if text.len() < 2 => text.to_owned(),
        None => expand(text, variables),
    }
}

/// Replaces `\n` and `\r`.
fn line_breaks(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(one) = rest.next() {
        match (one, rest.clone().next()) {
            ('\\', Some(escaped)) => {
                rest.next();
                match escaped {
                    'n' => out.push('\n'),
                    'r' => out.push('\r'),
                    other => out.extend(['\\', other]),
                }
            }
            _ => out.push(one),
        }
    }
    out
}

/// Removes the backslash before every character but `$`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(one) = rest.next() {
        match (one, rest.clone().next()) {
            ('\\', Some(escaped)) if escaped != '$' => {
                rest.next();
                out.push(escaped);
            }
            _ => out.push(one),
        }
    }
    out
}

/// Replaces `$NAME` and `${NAME}` by variables of the lines above: `(\\)?(\$)(\()?\{?([A-Z0-9_]+)?\}?`.
fn expand(text: &str, variables: &Variables) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        let is_escaped = before.ends_with('\\');
        out.push_str(before.strip_suffix('\\').unwrap_or(before));
        let after = from.get(1..).unwrap_or_default();
        let after_mark = after.strip_prefix('(').unwrap_or(after);
        let after_brace = after_mark.strip_prefix('{').unwrap_or(after_mark);
        let is_part = |one: char| one.is_ascii_uppercase() || one.is_ascii_digit() || one == '_';
        let after_name = after_brace.trim_start_matches(is_part);
        let name = after_brace.strip_suffix(after_name).unwrap_or_default();
        let end = after_name.strip_prefix('}').unwrap_or(after_name);
        let matched = from.strip_suffix(end).unwrap_or(from);
        if is_escaped || name.is_empty() {
            out.push_str(matched);
        } else if let Some(value) = variables.get(name) {
            out.push_str(value);
        }
        rest = end;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> String {
        let variables = read(&format!("A=first\n{line}\n")).unwrap();
        let other = variables.into_iter().find(|(name, _)| name != "A");
        other
            .map(|(name, value)| format!("{name}|{value}"))
            .unwrap()
    }

    /// Each expectation is what godotenv 1.3.0 answers.
    #[test]
    fn lines_are_read_as_the_plugin_reads_them() {
        for (line, expected) in [
            ("K=v", "K|v"),
            ("K = v ", "K|v"),
            ("export K=v", "K|v"),
            ("K: v", "K|v"),
            ("K=a=b==", "K|a=b=="),
            ("K=a:b", "K|a:b"),
            ("K=v # comment", "K|v"),
            ("K=v#w", "K|v"),
            ("K=\"v#w\"", "K|v#w"),
            ("K='v#w' # x", "K|v#w"),
            ("K='a$A'", "K|a$A"),
            ("K=\"a\\nb\\\"c\\\\\"", "K|a\nb\"c\\"),
            ("K=a$A-${A}-$B.", "K|afirst-first-."),
            ("K=a\\$A", "K|a$A"),
            ("K=a$b", "K|a$b"),
            ("K=$(A)", "K|first)"),
            ("K=$", "K|$"),
            ("K=", "K|"),
            ("K=~Q8~x.y_z-1", "K|~Q8~x.y_z-1"),
        ] {
            assert_eq!(value(line), expected, "{line}");
        }
    }

    #[test]
    fn the_line_that_is_no_variable_is_named() {
        assert_eq!(read("# c\n\nA=1\r\nnonsense\n"), Err(4));
        let windows = read("A=1\r\nB=2\r\n").unwrap();
        assert_eq!(windows.get("A").map(String::as_str), Some("1"));
    }
}
