//! Files that hold what should be printed.

use std::fs;
use std::path::PathBuf;

/// The files that hold something else.
pub(crate) struct Golden {
    /// The variable with which they are written instead.
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

    /// Compares `said` with what `file` holds, or writes it.
    pub(crate) fn is(&mut self, file: PathBuf, said: &str) {
        if std::env::var_os(self.update).is_some() {
            fs::write(file, said).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != said {
            let wrong = format!("{} differs from:\n{said}", file.display());
            self.wrong.push(wrong);
        }
    }

    /// All were the same; otherwise the tests of this name write them.
    pub(crate) fn end(self, tests: &str) {
        assert!(
            self.wrong.is_empty(),
            "{}\n`{}=1 cargo test --test offline {tests}` writes them",
            self.wrong.join("\n"),
            self.update
        );
    }
}
