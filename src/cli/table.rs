//! Tables in the style of kubectl.

use std::fmt::Write as _;

use crate::velero::printable::printable;

/// Rows under a header. Every column is as wide as its widest cell.
#[derive(Debug)]
pub(super) struct Table(Vec<Vec<String>>);

impl Table {
    /// Creates an empty table with these columns.
    pub(super) fn new(header: &[&str]) -> Self {
        Self(vec![header.iter().map(|&name| name.to_owned()).collect()])
    }

    /// Adds a row. An empty cell is shown as `<none>`.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0
            .push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    /// Returns whether the table has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() < 2
    }

    /// Returns the table as text, with one line per row.
    pub(super) fn text(&self) -> String {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.0 {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(line, "{cell:width$}   ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
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
}
