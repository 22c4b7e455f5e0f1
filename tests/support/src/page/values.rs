//! Compares what a page shows with what a run prints, where ids and times differ with each run.

use anyhow::{Result, bail, ensure};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A line of a page that stands for any number of lines. At the end of a line, it stands for the rest of it.
const LEFT_OUT: &str = "…";

/// What differs with each run. Of a `time`, `age` and `size` only the form is compared. An `id` is remembered: what
/// the page shows once stands for the same id of the run everywhere.
static VARYING: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?x)
        (?<time> \b\d{4}-\d\d-\d\d (?: [T\ ]\d\d:\d\d:\d\d (?: \.\d+ )? (?: Z | \ [+-]\d{4}\ \w+ )? )? )
        | (?<id> \b[0-9a-f]{8}(?: -[0-9a-f]{4}){3}-[0-9a-f]{12}\b | \b[0-9a-f]{4}(?: \ [0-9a-f]{4}){3,}\b
            | \b[0-9a-f]{12,}\b )
        | (?<age> \b(?: \d+(?: d|h|m|s|ms ))+\b )
        | (?<size> \b\d{4,}\b )";
    #[expect(clippy::expect_used, reason = "the pattern is constant")]
    Regex::new(pattern).expect("a valid pattern")
});

/// The kinds of what differs.
const KINDS: [&str; 4] = ["time", "id", "age", "size"];

/// What a page shows, and what the run has in its place.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// By what the page shows.
    of_run: BTreeMap<String, String>,
}

impl Values {
    /// Lets `shown` stand for `value`.
    pub fn set(&mut self, shown: &str, value: &str) {
        self.of_run.insert(shown.to_owned(), value.to_owned());
    }

    /// Returns a text of the page with the values of the run.
    pub fn of_run(&self, shown: &str) -> String {
        replace_all(shown, self.of_run.iter())
    }

    /// Returns a text of the run with the values of the page.
    pub fn of_page(&self, printed: &str) -> String {
        replace_all(printed, self.of_run.iter().map(|(to, from)| (from, to)))
    }

    /// Compares what the page shows with what the run printed, and remembers the new values.
    ///
    /// # Errors
    /// With the first line that differs.
    pub fn compare(&mut self, shown: &str, printed: &str) -> Result<()> {
        let (shown, printed) = (lines(shown), lines(printed));
        let mut parts = shown.split(|line| line == LEFT_OUT);
        // The part before the first mark is at the beginning, and the one after the last at the end.
        let mut rest = &*printed;
        let first = parts.next().unwrap_or_default();
        let parts: Vec<_> = parts.collect();
        rest = self.begins_with(first, rest)?;
        let Some((last, middle)) = parts.split_last() else {
            ensure!(
                rest.is_empty(),
                "the page does not show `{}`",
                rest.join("\n")
            );
            return Ok(());
        };
        for part in middle {
            rest = self.has(part, rest)?;
        }
        let skipped = rest.len().checked_sub(last.len());
        let end = skipped.and_then(|skipped| rest.get(skipped..));
        self.begins_with(last, end.unwrap_or_default()).map(drop)
    }

    /// Returns the lines after the first place with these.
    fn has<'a>(&mut self, part: &[String], printed: &'a [String]) -> Result<&'a [String]> {
        let mut first_error = None;
        for from in 0..=printed.len() {
            let mut values = self.clone();
            match values.begins_with(part, printed.get(from..).unwrap_or_default()) {
                Ok(rest) => {
                    *self = values;
                    return Ok(rest);
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        bail!("`{}` was not printed", part.join("\n"))
    }

    fn begins_with<'a>(&mut self, part: &[String], printed: &'a [String]) -> Result<&'a [String]> {
        for (number, shown) in part.iter().enumerate() {
            let Some(line) = printed.get(number) else {
                bail!("`{shown}` was not printed");
            };
            self.line(shown, line)?;
        }
        Ok(printed.get(part.len()..).unwrap_or_default())
    }

    fn line(&mut self, shown: &str, printed: &str) -> Result<()> {
        let differs = || format!("the page shows `{shown}`, and printed was `{printed}`");
        let is_cut = shown.ends_with(LEFT_OUT) && !printed.ends_with(LEFT_OUT);
        let (ours, theirs) = (pieces(shown), pieces(printed));
        ensure!(
            ours.len() == theirs.len() || (is_cut && ours.len() < theirs.len()),
            differs()
        );
        for (number, ((kind, shown), (other, value))) in ours.iter().zip(&theirs).enumerate() {
            ensure!(kind == other, differs());
            let start = shown.strip_suffix(LEFT_OUT);
            if let Some(start) = start.filter(|_| is_cut && number + 1 == ours.len()) {
                ensure!(value.starts_with(&self.of_run(start)), differs());
                continue;
            }
            match *kind {
                Some("id") => {
                    ensure!(shown.len() == value.len(), differs());
                    let before = self.of_run.entry((*shown).to_owned());
                    let before = before.or_insert_with(|| (*value).to_owned());
                    ensure!(
                        before == value,
                        "`{shown}` stands for {before}, not for {value}"
                    );
                }
                Some(_) => {}
                None => {
                    let expected = self.of_run(shown);
                    ensure!(expected == *value, differs());
                }
            }
        }
        Ok(())
    }
}

/// Replaces longer texts first, because one may be a part of another.
fn replace_all<'a>(text: &str, pairs: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
    pairs
        .into_iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Returns the lines with single spaces, without empty ones and those in which a command only shows that it waits.
fn lines(text: &str) -> Vec<String> {
    let squeezed = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    squeezed
        .filter(|line| line.contains(|char| char != '.'))
        .collect()
}

/// Splits a line into what differs with each run, by its kind, and the rest.
fn pieces(line: &str) -> Vec<(Option<&'static str>, &str)> {
    let mut pieces = Vec::new();
    let mut end = 0;
    for found in VARYING.captures_iter(line) {
        let Some((kind, varying)) = KINDS
            .iter()
            .find_map(|kind| Some((*kind, found.name(kind)?)))
        else {
            continue;
        };
        pieces.push((None, line.get(end..varying.start()).unwrap_or_default()));
        pieces.push((Some(kind), varying.as_str()));
        end = varying.end();
    }
    pieces.push((None, line.get(end..).unwrap_or_default()));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differs(shown: &str, printed: &str) -> String {
        let outcome = Values::default().compare(shown, printed);
        format!("{:#}", outcome.unwrap_err())
    }

    #[test]
    fn ids_times_ages_and_widths_may_differ() {
        let mut values = Values::default();
        let shown = "velero-trust-3f0c9a1d5e7b2468  Active 2026-11-28T20:14:03Z 12s\n  3f0c 9a1d 5e7b 2468\n";
        let printed = "velero-trust-9b1d5e7b24683f0c   Active   2026-11-29T01:00:00Z   3m5s\n  9b1d 5e7b 2468 3f0c\n";
        values.compare(shown, printed).unwrap();
        let command = "keys show velero-trust-3f0c9a1d5e7b2468 '3f0c 9a1d 5e7b 2468'";
        let run = "keys show velero-trust-9b1d5e7b24683f0c '9b1d 5e7b 2468 3f0c'";
        assert_eq!(values.of_run(command), run);
        assert_eq!(values.of_page(run), command);
    }

    #[test]
    fn everything_else_is_compared() {
        assert!(
            differs("velero 2 of 2\n", "velero 1 of 2\n").contains("printed was `velero 1 of 2`")
        );
        assert!(differs("a\n", "a\nb\n").contains("does not show `b`"));
        assert!(differs("a\nb\n", "a\n").contains("`b` was not printed"));
        assert!(differs("", "Error\n").contains("does not show `Error`"));
        assert!(differs("a 2026-11-28\n", "a 3f0c9a1d5e7b2468\n").contains("printed was"));
    }

    #[test]
    fn one_id_of_the_page_is_one_of_the_run() {
        let shown = "3f0c9a1d5e7b2468\n3f0c9a1d5e7b2468\n";
        let told = differs(shown, "9b1d5e7b24683f0c\n0b1d5e7b24683f0c\n");
        assert!(
            told.contains("stands for 9b1d5e7b24683f0c, not for 0b1d"),
            "{told}"
        );
    }

    #[test]
    fn lines_are_left_out_where_the_page_says_so() {
        let mut values = Values::default();
        values.compare("…\nb\n…\n", "a\nb\nc\n").unwrap();
        values.compare("a\n…\nd\n", "a\nb\nc\nd\n").unwrap();
        values.compare("…\n", "").unwrap();
        values.compare("a\n", "a\n\n....\n").unwrap();
        values
            .compare(
                "Restore completed. You may…\n",
                "Restore completed. You may check 2026-11-28\n",
            )
            .unwrap();
        values.compare("a.…\n", "a.…\n").unwrap();
        assert!(differs("a b…\n", "a c\n").contains("printed was"));
        assert!(differs("…\nb\n…\n", "a\nc\n").contains("`b` was not printed"));
        assert!(differs("…\nb\n", "b\nc\n").contains("printed was `c`"));
        assert!(differs("a\n…\na\n", "a\n").contains("`a` was not printed"));
    }
}
