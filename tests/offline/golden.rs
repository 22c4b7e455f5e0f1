//! Comparison of output with golden files.

use std::fs;
use std::path::PathBuf;

/// A comparison of outputs with golden files, which collects all differences.
pub(crate) struct Golden {
    /// Environment variable that updates the files instead of comparing them.
    update: &'static str,
    wrong: Vec<String>,
}

impl Golden {
    pub(crate) const fn new(update: &'static str) -> Self {
        Self {
            update,
            wrong: Vec::new(),
        }
    }

    /// Compares `said` with the content of `file`, or writes `file`.
    pub(crate) fn is(&mut self, file: PathBuf, said: &str) {
        if std::env::var_os(self.update).is_some() {
            fs::write(file, said).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != said {
            let wrong = format!("{} differs from:\n{said}", file.display());
            self.wrong.push(wrong);
        }
    }

    /// Asserts that there was no difference. Otherwise the message names `tests` as the tests that
    /// update the files.
    pub(crate) fn end(self, tests: &str) {
        assert!(
            self.wrong.is_empty(),
            "{}\n`{}=1 cargo test --test offline {tests}` writes them",
            self.wrong.join("\n"),
            self.update
        );
    }
}
