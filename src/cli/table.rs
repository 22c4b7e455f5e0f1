//! Tables in the style of kubectl.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::velero::printable::printable;

/// What separates two columns.
const GAP: &str = "   ";

/// Width below which no column is cut.
const MIN_WIDTH: usize = 8;

/// Rows under a header. Every column is as wide as its widest cell.
#[derive(Debug)]
pub(super) struct Table(Vec<Vec<String>>);

impl Table {
    /// Creates an empty table with these columns.
    pub(super) fn new(header: &[&str]) -> Self {
        Self(vec![header.iter().map(|&name| name.to_owned()).collect()])
    }

    /// Adds a row. An empty cell is shown as `<none>`.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0
            .push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    /// Returns whether the table has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() < 2
    }

    /// Returns the table as text, with one line per row.
    pub(super) fn text(&self) -> String {
        self.text_within(usize::MAX)
    }

    /// Returns the table in at most `columns`: cells of the widest columns are cut, with `…` at
    /// their end. A column is never cut below [`MIN_WIDTH`].
    pub(super) fn text_within(&self, limit: usize) -> String {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths = fit((0..columns).map(width).collect(), limit);
        let mut text = String::new();
        for row in &self.0 {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let cell = cut(cell, *width);
                // Writing to a string cannot fail.
                let _ = write!(line, "{cell:width$}{GAP}");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Lowers the widths of the widest columns until they fit into `limit` together with the gaps.
fn fit(mut widths: Vec<usize>, limit: usize) -> Vec<usize> {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > limit {
        match widths.iter_mut().max() {
            Some(widest) if *widest > MIN_WIDTH => *widest -= 1,
            _ => break,
        }
    }
    widths
}

fn cut(cell: &str, width: usize) -> Cow<'_, str> {
    if cell.chars().count() <= width {
        return cell.into();
    }
    let start: String = cell.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", start.trim_end()).into()
}

/// Returns text from a cluster so that it is safe to print to a terminal, on one line.
pub(super) fn clean(text: &str) -> String {
    if text.is_empty() {
        return "<none>".to_owned();
    }
    printable(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_its_columns_and_lets_nothing_steer_the_terminal() {
        let mut table = Table::new(&["NAME", "WHY"]);
        assert!(table.is_empty());
        table.row(["a-long-name".to_owned(), String::new()]);
        table.row(["ä".to_owned(), "\u{1b}[2Jx\ny\u{200b}z".to_owned()]);
        let want = "NAME          WHY\n\
                    a-long-name   <none>\n\
                    ä              [2Jx y z\n";
        assert_eq!(table.text(), want);
    }

    #[test]
    fn what_does_not_fit_is_cut_where_it_is_widest() {
        let mut table = Table::new(&["NAME", "WHY", "LAST"]);
        let long = "spec.objectStorage.caCertRef: Secret store-ca does not exist, ä and so on";
        table.row(["default".to_owned(), long.to_owned(), "trusted".to_owned()]);
        let text = table.text_within(40);
        let want = "NAME      WHY                    LAST\n\
                    default   spec.objectStorage.…   trusted\n";
        assert_eq!(text, want);
        assert!(table.text().contains(long));
        // A table of many narrow columns stays readable.
        assert!(table.text_within(1).contains("default"));
    }
}
