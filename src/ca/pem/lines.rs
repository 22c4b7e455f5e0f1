//! The lines of a PEM text, and what single lines say.

/// Where a line begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// The number of the line.
    pub(super) line: usize,
    /// Its offset.
    pub(super) start: usize,
}

/// A line of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The line's number, starting at one.
    pub(super) number: usize,
    /// Offset of the line.
    pub(super) start: usize,
    /// The text as Go sees it, without the newline and the blanks before it.
    pub(super) text: &'a [u8],
    /// Offset of the next line.
    pub(super) next: usize,
}

impl Line<'_> {
    pub(super) const fn position(&self) -> Position {
        Position {
            line: self.number,
            start: self.start,
        }
    }

    /// Returns where the next line begins.
    pub(super) const fn end(&self) -> Position {
        Position {
            line: self.number + 1,
            start: self.next,
        }
    }
}

/// Returns the lines of `bytes`.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .map(move |(index, whole)| {
            // A carriage return only counts as part of a line end if a newline follows.
            let text = match whole {
                [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] | text => text,
            };
            let blanks = text
                .iter()
                .rev()
                .take_while(|byte| matches!(byte, b' ' | b'\t'));
            let length = text.len() - blanks.count();
            let line = Line {
                number: index + 1,
                start,
                text: text.get(..length).unwrap_or(text),
                next: start + whole.len(),
            };
            start = line.next;
            line
        })
}

/// Whether `text` has something like the BEGIN or END line of a private key, also a damaged one.
pub(super) fn names_private_key(text: &[u8]) -> bool {
    find(text, b"PRIVATE KEY").is_some()
        && (find(text, b"-----").is_some()
            || find(text, b"--").is_some()
                && (find(text, b"BEGIN").is_some() || find(text, b"END").is_some()))
}

/// Whether a line is a comment. PEM has none: what is in such a line is text to Go, and whoever
/// wrote the sign means it to be.
pub fn is_comment(line: &[u8]) -> bool {
    let text = line.trim_ascii_start();
    text.starts_with(b"#") || text.starts_with(b";") || text.starts_with(b"//")
}

pub(super) fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

/// Returns the offset of `needle` in `text`.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let at = from + rest.iter().position(|byte| byte == first)?;
        if text.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}
