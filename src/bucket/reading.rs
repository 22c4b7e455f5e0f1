//! A file that is being read.

use std::time::Duration;

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::time::{Instant, timeout_at};

use super::connector::describe;
use super::error::{Action, Error, ErrorKind};
use super::settings::Provider;
use crate::digest::Hasher;

/// Time in which [`MIN_BYTES`] have to arrive, or the rest of the file.
const PERIOD: Duration = Duration::from_mins(1);

/// The bytes of a [`PERIOD`]: 256 KiB a second, or 1 GB in an hour. The size that a store lists bounds
/// nothing, since it may list any.
const MIN_BYTES: u64 = 60 * (256 << 10);

/// A file that is being read: pieces of at most 128 KiB, in order, and exactly as many bytes as were
/// listed. If it ends with an error, nothing of it may be used.
pub struct Reading {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    action: Action,
    provider: Provider,
    size: u64,
    read: u64,
    pace: Pace,
}

/// Whether bytes arrive fast enough.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// When the period ends.
    deadline: Instant,
    /// What is left to arrive in it.
    left: u64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            deadline: now + PERIOD,
            left: MIN_BYTES,
        }
    }

    /// Counts what arrived. What is more than enough for a period does not count for the next one.
    fn advance(&mut self, bytes: u64, now: Instant) {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            *self = Self::new(now);
        }
    }
}

impl Reading {
    /// Reads a file of `size` bytes from `stream`.
    pub(super) fn new(
        stream: BoxStream<'static, object_store::Result<Bytes>>,
        action: Action,
        provider: Provider,
        size: u64,
    ) -> Self {
        Self {
            stream,
            action,
            provider,
            size,
            read: 0,
            pace: Pace::new(Instant::now()),
        }
    }

    /// Returns the next piece; `None` after the last byte.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = self.next_piece().await;
        piece.map_err(|kind| kind.during(self.action.clone()).of(self.provider))
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, ErrorKind> {
        let piece = timeout_at(self.pace.deadline, self.stream.next()).await;
        let piece = match piece.map_err(|_| ErrorKind::TooSlow)? {
            Some(piece) => piece.map_err(|error| describe(&error))?,
            None if self.read < self.size => return Err(ErrorKind::CutOff),
            None => return Ok(None),
        };
        self.read += piece.len() as u64;
        self.pace.advance(piece.len() as u64, Instant::now());
        if self.read > self.size {
            return Err(ErrorKind::Size {
                listed: self.size,
                sent: self.read,
            });
        }
        Ok(Some(piece))
    }

    /// Reads the rest and returns the SHA-256 of the whole file, if nothing was read before.
    /// `on_piece` is called with the number of bytes of each piece.
    pub async fn sha256(
        mut self,
        mut on_piece: impl FnMut(u64),
    ) -> Result<[u8; SHA256_OUTPUT_LEN], Error> {
        let mut hasher = Hasher::default();
        while let Some(piece) = self.next().await? {
            hasher.update(&piece);
            on_piece(piece.len() as u64);
        }
        Ok(hasher.finish().into())
    }

    /// Reads the rest into memory. Fails before the first byte if the file has more than `max`.
    pub async fn bytes(mut self, max: u64) -> Result<Vec<u8>, Error> {
        if self.size > max {
            return Err(ErrorKind::Size {
                listed: max,
                sent: self.size,
            }
            .during(self.action)
            .of(self.provider));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
        while let Some(piece) = self.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn reading(pieces: &[&'static str], size: u64) -> Reading {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect();
        Reading::new(
            stream::iter(pieces).boxed(),
            Action::Open,
            Provider::Aws,
            size,
        )
    }

    #[tokio::test]
    async fn only_as_many_bytes_as_were_listed_are_a_file() {
        let digest = reading(&["ab", "c"], 3).sha256(|_| ()).await.unwrap();
        assert!(digest.starts_with(&[0xba, 0x78, 0x16, 0xbf]), "{digest:?}");
        let kind = |error: Error| error.kind;
        let few = reading(&["ab"], 3).sha256(|_| ()).await.unwrap_err();
        assert_eq!(kind(few), ErrorKind::CutOff);
        let many = reading(&["ab", "cd"], 3).bytes(3).await.unwrap_err();
        assert_eq!(kind(many), ErrorKind::Size { listed: 3, sent: 4 });
        assert_eq!(reading(&[], 0).bytes(0).await.unwrap(), b"");
        let large = reading(&["ab"], 2).bytes(1).await.unwrap_err();
        assert_eq!(kind(large), ErrorKind::Size { listed: 1, sent: 2 });
        let mut seen = Vec::new();
        let digest = reading(&["ab", "c"], 3)
            .sha256(|bytes| seen.push(bytes))
            .await;
        assert!(digest.is_ok());
        assert_eq!(seen, [2, 1]);
    }

    #[tokio::test]
    async fn a_store_that_sends_crumbs_is_given_up() {
        let crumbs = stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        });
        let mut reading = Reading::new(crumbs.boxed(), Action::Open, Provider::Aws, u64::MAX);
        reading.pace.deadline = Instant::now() + Duration::from_millis(20);
        let error = reading.sha256(|_| ()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooSlow);
    }

    /// A store that lists an exabyte, or sent fast before, gets no more time for that.
    #[test]
    fn every_minute_has_to_bring_its_bytes() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        for seconds in [0, 29, 58] {
            pace.advance(1, after(seconds));
            assert_eq!(pace.deadline, after(60));
        }
        pace.advance(15 << 20, after(59));
        assert_eq!(pace.deadline, after(119));
        pace.advance(1 << 40, after(60));
        assert_eq!(pace.deadline, after(120));
        pace.advance((15 << 20) - 1, after(61));
        assert_eq!(pace.deadline, after(120));
        pace.advance(1, after(62));
        assert_eq!(pace.deadline, after(122));
    }
}
