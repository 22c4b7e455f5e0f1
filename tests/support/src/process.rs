//! One server as a child process, with a log, that never outlives the harness.
//!
//! Each server runs in a process group led by a shell that waits for the end of its standard input
//! and then kills the group. The harness holds the other end of that pipe, so the server *and every
//! process it started* (Velero starts plugins) end when the harness drops the [`Process`], panics,
//! or is killed. A parent-death signal would do less: it fires when the spawning *thread* ends and
//! does not reach grandchildren.

use crate::wait;
use anyhow::{Context as _, Result, anyhow, bail};
use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The search path of every child; nothing else is inherited.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Number of lines of a log in an error message.
const TAIL_LINES: usize = 25;

/// Longest time from a server's start until it is ready.
pub const START: Duration = wait::PATIENCE;

thread_local! {
    /// The ends of the logs of the servers that were dropped on this thread.
    static ENDED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Returns the ends of the logs of the servers that were dropped on this thread since the last
/// call: the trial that they belonged to may have failed, and their logs are removed with them.
pub fn take_ended() -> Vec<String> {
    ENDED.take()
}

/// Returns a command with nothing of our own environment: `PATH`, and `HOME` and `TMPDIR` set to
/// `home`.
pub fn clean_command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", home)
        .env("TMPDIR", home)
        .current_dir(home);
    command
}

/// The process group of a server and its children.
#[derive(Debug)]
struct Group {
    leader: Child,
}

impl Group {
    fn new() -> Result<Self> {
        let leader = Command::new("sh")
            .args(["-c", "read -r _; kill -KILL 0"])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { leader })
    }

    /// While the leader is alive, no other process can get this id.
    fn id(&self) -> Result<i32> {
        Ok(i32::try_from(self.leader.id())?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.leader.stdin.take());
        // An error here cannot be handled: the leader was ours and has ended.
        let _ = self.leader.wait();
    }
}

/// A running server. Dropping it kills it and everything it started.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    // Before `child`: fields are dropped in this order, and the group kills the child.
    group: Option<Group>,
    child: Child,
}

impl Process {
    /// Starts `command` with its output in `<folder>/<name>.log`.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let group = Group::new()?;
        let child = command
            .process_group(group.id()?)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            log,
            group: Some(group),
            child,
        })
    }

    /// Returns the process id of the server itself.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns everything the server has printed so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Repeats `probe` until it succeeds, for at most [`START`]. Fails at once if the server ends.
    /// The error contains the end of the server's log.
    pub fn ready<T>(&mut self, mut probe: impl FnMut(&Self) -> Result<T>) -> Result<T> {
        let name = self.name.clone();
        let outcome = wait::poll(&format!("{name} to be ready"), START, || {
            match self.child.try_wait()? {
                Some(status) => Ok(Err(anyhow!("{name} ended before it was ready: {status}"))),
                None => probe(self).map(Ok),
            }
        });
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) | Err(error) => Err(error.context(self.tail())),
        }
    }

    /// Sends a signal, by its name without `SIG`: `TERM`, `STOP`, `CONT`, `HUP`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        // The shell's `kill`: std cannot send signals, and this crate has no unsafe code.
        let status = Command::new("sh")
            .args(["-c", r#"kill -s "$0" "$1""#, signal])
            .arg(self.id().to_string())
            .status()?;
        if !status.success() {
            bail!("cannot send SIG{signal} to {}", self.name);
        }
        Ok(())
    }

    /// Whether the server has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for the server to end by itself, for example after SIGTERM.
    pub fn ended(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait::poll(&what, timeout, || {
            self.child.try_wait()?.context("still running")
        })
        .map_err(|error| error.context(self.tail()))
    }

    /// Returns the end of the log, for error messages.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(TAIL_LINES)..)
            .unwrap_or_default();
        format!("the log of {} ends with:\n{}\n", self.name, tail.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.group = None;
        // For the case that the leader was killed. An error means that the server has already
        // ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let tail = self.tail();
        ENDED.with_borrow_mut(|ended| ended.push(tail));
    }
}
