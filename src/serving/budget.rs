//! The time limits of a review.

use std::time::Duration;

use tokio::time::Instant;

/// The API server's own default for `timeoutSeconds`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum `timeoutSeconds` that the API server accepts.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// The deadlines of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// When a source must have answered, whether it found something or not: four fifths of the API
    /// server's timeout.
    pub(super) source: Instant,
    /// When we answer, whatever a source does: nine tenths of the timeout, so that the answer
    /// arrives.
    pub(super) answer: Instant,
}

impl Budget {
    /// Returns the budget of a request that began at `began`. The API server puts its timeout into
    /// the URL query, as `timeout=5s`.
    pub(super) fn of(query: Option<&str>, began: Instant) -> Self {
        let timeout = query
            .unwrap_or_default()
            .split('&')
            .find_map(|pair| pair.strip_prefix("timeout="))
            .and_then(go_duration)
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or(DEFAULT_TIMEOUT)
            .min(MAX_TIMEOUT);
        Self {
            source: began + timeout * 4 / 5,
            answer: began + timeout * 9 / 10,
        }
    }
}

/// Parses a duration in Go's format: `5s`, `1m30s`, `1.5s`, `500ms`.
fn go_duration(mut text: &str) -> Option<Duration> {
    let mut total = 0.0;
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(digits);
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(letters);
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "%C2%B5s" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        text = rest;
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(query: Option<&str>) -> Duration {
        let began = Instant::now();
        let budget = Budget::of(query, began);
        assert!(budget.source < budget.answer);
        (budget.answer - began) * 10 / 9
    }

    #[test]
    fn the_query_says_how_long_the_api_server_waits() {
        assert_eq!(timeout(Some("timeout=5s")), Duration::from_secs(5));
        assert_eq!(timeout(Some("a=b&timeout=25s")), Duration::from_secs(25));
        assert_eq!(timeout(Some("timeout=500ms")), Duration::from_millis(500));
        assert_eq!(timeout(Some("timeout=1.5s")), Duration::from_millis(1500));
    }

    #[test]
    fn no_or_nonsensical_patience_is_the_default_and_none_is_endless() {
        for query in [
            None,
            Some(""),
            Some("timeout="),
            Some("timeout=0s"),
            Some("timeout=5"),
            Some("timeout=-5s"),
            Some("timeout=5x"),
            Some("timeout=..s"),
        ] {
            assert_eq!(timeout(query), DEFAULT_TIMEOUT, "{query:?}");
        }
        assert_eq!(timeout(Some("timeout=1m30s")), MAX_TIMEOUT);
        assert_eq!(
            timeout(Some("timeout=99999999999999999999h")),
            DEFAULT_TIMEOUT
        );
    }
}
