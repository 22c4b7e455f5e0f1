//! Command-line tools that talk to a cluster: kubectl and velero.

use crate::process::clean_command;
use crate::{rig, scratch};
use anyhow::{Result, ensure};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// A tool with its kubeconfig and a home directory of its own.
#[derive(Debug)]
pub struct Cli {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
    environment: Vec<(String, String)>,
    home: TempDir,
}

/// The output of one run of a tool.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Describes the end of the run for people. A program that a signal ended prints nothing about
    /// it.
    fn end(&self) -> String {
        match self.code {
            // The exit code of `timeout`.
            Some(124) => "code 124, which may mean that its time was up".to_owned(),
            Some(code) => format!("code {code}"),
            None => "by a signal".to_owned(),
        }
    }
}

impl Cli {
    /// Returns kubectl with this kubeconfig.
    pub fn kubectl(kubeconfig: &Path) -> Result<Self> {
        Self::new(rig::binary("kubectl")?, Some(kubeconfig))
    }

    /// Returns any program. Without a kubeconfig it cannot reach a cluster.
    pub fn new(program: PathBuf, kubeconfig: Option<&Path>) -> Result<Self> {
        Ok(Self {
            program,
            kubeconfig: kubeconfig.map(Path::to_owned),
            environment: Vec::new(),
            home: scratch::folder("home")?,
        })
    }

    /// Returns the same program with these variables in its environment.
    #[must_use]
    pub fn with_environment(mut self, environment: &[(&str, &str)]) -> Self {
        let variables = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.environment.extend(variables);
        self
    }

    /// Returns a folder for the tool's files, which is also its home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs the tool and returns the output, whether it succeeds or not.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output> {
        self.run_with_input(arguments, "")
    }

    /// Runs the tool with `input` on its standard input.
    pub fn run_with_input<A: AsRef<OsStr>>(&self, arguments: &[A], input: &str) -> Result<Output> {
        let mut command = clean_command(&self.program, self.home.path());
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let environment = self.environment.iter();
        command.envs(environment.map(|(name, value)| (name, value)));
        let output = command.args(arguments).stdin(self.input(input)?).output()?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs the tool and returns its standard output.
    ///
    /// # Errors
    /// When it does not exit with 0; the message contains what it printed.
    pub fn ok<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<String> {
        self.ok_with_input(arguments, "")
    }

    /// Runs `kubectl apply -f -` with manifests as YAML or JSON text.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.ok_with_input(&["apply", "-f", "-"], manifests)
    }

    /// Runs `kubectl create -f -`, whether it succeeds or not: for objects that a webhook may
    /// refuse.
    pub fn create(&self, manifests: &str) -> Result<Output> {
        self.run_with_input(&["create", "-f", "-"], manifests)
    }

    /// Returns one object or list as JSON, by the arguments of `kubectl get`.
    pub fn get(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let text = self.ok(&[&["get", "-o", "json"], arguments].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    fn ok_with_input<A: AsRef<OsStr>>(&self, arguments: &[A], input: &str) -> Result<String> {
        let output = self.run_with_input(arguments, input)?;
        let shown: Vec<_> = arguments
            .iter()
            .map(|argument| argument.as_ref().to_string_lossy())
            .collect();
        ensure!(
            output.code == Some(0),
            "`{} {}` failed ({}): {}{}",
            self.program.file_name().unwrap_or_default().display(),
            shown.join(" "),
            output.end(),
            output.stderr,
            output.stdout,
        );
        Ok(output.stdout)
    }

    /// A file instead of a pipe: a tool that never reads could block the writer of a long text.
    fn input(&self, text: &str) -> Result<Stdio> {
        if text.is_empty() {
            return Ok(Stdio::null());
        }
        let mut file = tempfile::NamedTempFile::new_in(self.home.path())?;
        file.write_all(text.as_bytes())?;
        Ok(File::open(file.path())?.into())
    }
}
