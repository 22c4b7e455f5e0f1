//! A server under measurement, as a child process.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// A server under measurement; ends with the benchmark.
pub(super) struct Server {
    child: Child,
    pub(super) address: String,
}

impl Server {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        use std::io::BufRead as _;

        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a server")?;
        let out = child.stdout.take().context("no output")?;
        let line = std::io::BufReader::new(out)
            .lines()
            .next()
            .context("it said nothing")??;
        let address = line.rsplit("//").next().unwrap_or_default().to_owned();
        Ok(Self { child, address })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
