//! The resource usage of a process, as the kernel accounts it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Returns the CPU time of this thread so far (`/proc/thread-self/schedstat`, the first field).
pub(super) fn thread_cpu() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().context("schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// The resource usage of a process so far.
pub(super) struct Usage {
    /// User and system time.
    pub(super) cpu: Duration,
    /// Current resident memory, in KiB.
    pub(super) resident: u64,
    /// Peak resident memory, in KiB.
    pub(super) peak: u64,
}

/// Length of the kernel's tick in `/proc/PID/stat`: 100 per second on every Linux.
const TICK: Duration = Duration::from_millis(10);

impl Usage {
    /// Returns the usage of the process `id`.
    pub(super) fn of(id: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in parentheses may contain blanks; utime and stime are the 12th and 13th fields
        // after it.
        let (_, rest) = stat.rsplit_once(')').context("stat")?;
        let ticks: u32 = rest
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u32>().unwrap_or_default())
            .sum();
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.split_ascii_whitespace().next());
            value
                .and_then(|value| value.parse().ok())
                .unwrap_or_default()
        };
        Ok(Self {
            cpu: TICK * ticks,
            resident: of("VmRSS:"),
            peak: of("VmHWM:"),
        })
    }
}
