//! Standard output, which its reader may close early, as `head` does.

use std::io::{self, Error, ErrorKind, Write};

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stdout {
    ignore_closed: bool,
}

/// Nobody reads it any more.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct Closed;

impl Stdout {
    /// Of a command that only prints: it ends when nobody reads, and [`is_closed`] tells why.
    pub(super) const fn fail_when_closed() -> Self {
        Self {
            ignore_closed: false,
        }
    }

    /// Of a command that does something else, which is not left half done because nobody reads.
    pub(super) const fn ignore_when_closed() -> Self {
        Self {
            ignore_closed: true,
        }
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
        self.handle_closed(io::stdout().write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.handle_closed(io::stdout().flush(), ())
    }
}

/// Whether a command ended because nobody reads what it prints. A connection to a cluster that
/// breaks is not that.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|it| it.downcast_ref::<Error>());
    causes.any(|error| {
        let inner = error.get_ref();
        inner.is_some_and(|inner| inner.downcast_ref::<Closed>().is_some())
    })
}
