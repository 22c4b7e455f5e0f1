//! Standard output. Its reader may close it early, as `head` does, and may be a terminal, so that
//! nothing unprintable is written but line breaks and tabs.

use std::io::{self, Error, ErrorKind, IsTerminal as _, Write};

use super::color::{self, Palette};
use super::wrap::wrap_lines;
use crate::velero::printable::printable_lines;

/// Width of tables and lines for people.
pub(super) const MAX_COLUMNS: usize = 120;

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stdout {
    ignore_closed: bool,
}

/// Standard output is closed.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct Closed;

impl Stdout {
    /// Returns standard output for a command that only prints. When it is closed, writes fail with
    /// an error that [`is_closed`] detects, so that the command ends.
    pub(super) const fn fail_when_closed() -> Self {
        Self {
            ignore_closed: false,
        }
    }

    /// Returns standard output for a command that does more than print. Writes succeed when it is
    /// closed, so that the command does not stop halfway.
    pub(super) const fn ignore_when_closed() -> Self {
        Self {
            ignore_closed: true,
        }
    }

    /// Writes `text` as [`Stdout::write_lines`] does, on a terminal in at most [`MAX_COLUMNS`]. What
    /// another program reads keeps its lines.
    pub(super) fn write_wrapped(self, text: &str, palette: Palette) -> io::Result<()> {
        if io::stdout().is_terminal() {
            self.write_lines(&wrap_lines(text, MAX_COLUMNS), palette)
        } else {
            self.write_lines(text, palette)
        }
    }

    /// Writes `text`, on a terminal with the colours of `palette`.
    pub(super) fn write_lines(mut self, text: &str, palette: Palette) -> io::Result<()> {
        if !color::is_wanted() {
            return self.write_all(text.as_bytes());
        }
        let painted = color::paint(text, palette);
        self.handle_closed(io::stdout().write_all(painted.as_bytes()), ())
    }

    fn handle_closed<T>(self, result: io::Result<T>, done: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                let closed = Error::new(ErrorKind::BrokenPipe, Closed);
                self.ignore_closed.then_some(done).ok_or(closed)
            }
            other => other,
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match std::str::from_utf8(bytes) {
            Ok(text) => {
                let text = printable_lines(text);
                io::stdout()
                    .write_all(text.as_bytes())
                    .map(|()| bytes.len())
            }
            Err(_) => io::stdout().write(bytes),
        };
        self.handle_closed(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.handle_closed(io::stdout().flush(), ())
    }
}

/// Returns whether a command failed because standard output is closed. A broken connection to a
/// cluster does not count.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|it| it.downcast_ref::<Error>());
    causes.any(|error| {
        let inner = error.get_ref();
        inner.is_some_and(|inner| inner.downcast_ref::<Closed>().is_some())
    })
}
