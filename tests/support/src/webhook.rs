//! Our own server, run as a process.

use crate::limited::{self, MemoryLimit};
use crate::process::Process;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tempfile::TempDir;

/// The message of the line that `velero-trust serve --log-format=json` prints once it listens.
const LISTENING: &str = "listening";

/// A running `velero-trust serve`.
#[derive(Debug)]
pub struct Webhook {
    /// `https://127.0.0.1:PORT`
    pub url: String,
    /// `http://127.0.0.1:PORT`: health and metrics.
    pub ops: String,
    process: Process,
    limit: Option<MemoryLimit>,
    _folder: TempDir,
}

impl Webhook {
    /// Runs the command of a server, and waits until it listens. `folder` is the folder of the
    /// process.
    pub(crate) fn run(
        command: Command,
        folder: TempDir,
        limit: Option<MemoryLimit>,
    ) -> Result<Self> {
        let mut process = Process::start("velero-trust", command, folder.path())?;
        let (url, ops) = process.ready(|process| addresses(&process.log()))?;
        Ok(Self {
            url,
            ops,
            process,
            limit,
            _folder: folder,
        })
    }

    /// Returns the address of the port of the webhook.
    pub fn address(&self) -> Result<SocketAddr> {
        address(&self.url)
    }

    /// Returns the address of the port of health and metrics.
    pub fn ops_address(&self) -> Result<SocketAddr> {
        address(&self.ops)
    }

    /// Returns the process id of the server.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns everything the server has printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Returns the end of the log, for error messages.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Returns the events with this message in the log of a server with `--log-format=json`. A
    /// review is logged before it is answered.
    pub fn events(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let events = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let is_it = |event: &Value| event.get("message").is_some_and(|text| text == message);
        events.filter(is_it).collect()
    }

    /// Returns the metrics, as Prometheus would get them.
    pub fn metrics(&self) -> Result<String> {
        self.ask("/metrics")
    }

    /// Returns the answer to a readiness probe.
    pub fn readiness(&self) -> Result<String> {
        self.ask("/readyz")
    }

    fn ask(&self, path: &str) -> Result<String> {
        let mut connection = TcpStream::connect(self.ops_address()?)?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        connection.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Sends a signal, by its name without `SIG`: `TERM`, `STOP`, `CONT`, `HUP`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.process.signal(signal)
    }

    /// Whether the server runs: a server that needed more memory than its limit was killed.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// Returns the current and the peak memory in KiB.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let resident = limited::resident(self.process.id())?;
        Ok((resident.now >> 10, resident.peak >> 10))
    }

    /// Returns the peak memory in bytes as the memory limit counts it, else that of the resident
    /// set.
    pub fn peak(&self) -> Result<u64> {
        let id = self.process.id();
        match &self.limit {
            Some(limit) => limit.peak(id),
            None => Ok(limited::resident(id)?.peak),
        }
    }

    /// Returns the working set of its container in bytes; `None` without a memory cgroup.
    pub fn working_set(&self) -> Result<Option<u64>> {
        let limit = self.limit.as_ref();
        Ok(limit.map(MemoryLimit::working_set).transpose()?.flatten())
    }

    /// Waits for the server to end by itself, for example after SIGTERM.
    pub fn ended(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.process.ended(timeout)
    }
}

fn address(url: &str) -> Result<SocketAddr> {
    let (_, address) = url.split_once("://").context("no scheme")?;
    Ok(address.parse()?)
}

fn addresses(log: &str) -> Result<(String, String)> {
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut events = events.filter(|event| event.get("message").is_some_and(|it| it == LISTENING));
    let event = events.next().context("it does not listen yet")?;
    let address = |field: &str| {
        let address = event.get(field).and_then(Value::as_str).map(str::to_owned);
        address.with_context(|| format!("its line has no `{field}`"))
    };
    Ok((address("webhook")?, address("ops")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_addresses_between_other_lines() {
        let log = "{\"level\":\"INFO\"}\n{\"message\":\"listening\",\"webhook\":\"https://127.0.0.1:4711\",\"ops\":\"http://127.0.0.1:4712\"}\n";
        let want = (
            "https://127.0.0.1:4711".to_owned(),
            "http://127.0.0.1:4712".to_owned(),
        );
        assert_eq!(addresses(log).unwrap(), want);
        assert!(addresses("{\"message\":\"listening\"}\n").is_err());
    }
}
