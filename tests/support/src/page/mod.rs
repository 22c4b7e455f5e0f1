//! A page of the documentation whose commands the tests run, in order, and whose output they compare.
//!
//! In each block of the language `console`, a line that begins with `$ ` is a command, which goes on in the next line
//! after a backslash. The lines below it are what it prints. A comment names the clusters that there are:
//!
//! ```text
//! <!-- clusters: lost = velero velero-trust; new = velero fresh -->
//! ```

mod values;

pub use values::Values;

use anyhow::{Context as _, Result, bail, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the pages that are run, from the root of the repository.
pub const FOLDER: &str = "docs/recovery";

const PROMPT: &str = "$ ";
const BEGIN: &str = "```console";
const END: &str = "```";
const CLUSTERS: &str = "<!-- clusters: ";

/// A page, in parts that together are its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The clusters that are there when the page begins, or that a command switches to.
    pub clusters: Vec<ClusterSpec>,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text for the reader, with its line breaks.
    Text(String),
    /// A command, and what the page shows of its output.
    Command {
        /// The command without the prompt; it may have several lines.
        line: String,
        /// The lines below it, each with its line break.
        output: String,
    },
}

/// A cluster of a page, by the name of its context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSpec {
    /// The context.
    pub name: String,
    /// Whether Velero is installed in it.
    pub velero: bool,
    /// Whether velero-trust is installed in it, too.
    pub velero_trust: bool,
    /// Whether it is empty each time that a command switches to it; then the other clusters are gone.
    pub fresh: bool,
    /// The bucket of its location.
    pub bucket: Option<String>,
}

impl Page {
    /// Reads a page.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| shown.to_string())?;
        Self::parse(&text).with_context(|| shown.to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut page = Self {
            clusters: Vec::new(),
            parts: Vec::new(),
        };
        let mut is_console = false;
        let mut goes_on = false;
        for line in text.split_inclusive('\n') {
            let bare = line.trim_end();
            match page.parts.last_mut() {
                Some(Part::Command { line: command, .. }) if goes_on => {
                    let _ = write!(command, "\n{bare}");
                    goes_on = bare.ends_with('\\');
                    continue;
                }
                _ => {}
            }
            if let Some(command) = bare.strip_prefix(PROMPT).filter(|_| is_console) {
                goes_on = bare.ends_with('\\');
                page.parts.push(Part::Command {
                    line: command.to_owned(),
                    output: String::new(),
                });
                continue;
            }
            match page.parts.last_mut() {
                Some(Part::Command { output, .. }) if is_console && bare != END => {
                    output.push_str(line);
                }
                Some(Part::Text(text)) => text.push_str(line),
                _ => page.parts.push(Part::Text(line.to_owned())),
            }
            is_console = match bare {
                BEGIN => true,
                END => false,
                _ => is_console,
            };
            if let Some(clusters) = bare.strip_prefix(CLUSTERS) {
                let clusters = clusters.trim_end_matches("-->").split(';');
                let clusters = clusters.map(ClusterSpec::parse).collect::<Result<Vec<_>>>();
                page.clusters = clusters?;
            }
        }
        ensure!(page.text() == text, "it cannot be written as it was read");
        ensure!(
            !page.clusters.is_empty(),
            "no line `{CLUSTERS}NAME = … -->`"
        );
        Ok(page)
    }

    /// Returns the text of the page.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Command { line, output } => {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{PROMPT}{line}\n{output}");
                }
            }
        }
        text
    }
}

impl ClusterSpec {
    fn parse(text: &str) -> Result<Self> {
        let (name, has) = text.split_once('=').context("no `NAME = …`")?;
        let mut spec = Self {
            name: name.trim().to_owned(),
            ..Self::default()
        };
        for word in has.split_whitespace() {
            match (word, word.strip_prefix("bucket:")) {
                ("velero", _) => spec.velero = true,
                ("velero-trust", _) => spec.velero_trust = true,
                ("fresh", _) => spec.fresh = true,
                (_, Some(bucket)) => spec.bucket = Some(bucket.to_owned()),
                (other, None) => bail!("unknown word `{other}` of cluster {}", spec.name),
            }
        }
        Ok(spec)
    }
}

/// Returns the paths of all pages, where `root` is that of the repository.
pub fn all(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join(FOLDER);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# Title

<!-- clusters: lost = velero velero-trust; new = velero fresh bucket:copy -->

```console
$ a --b \\
    c
one
$ d
```

```yaml
$ no: command
```
";

    #[test]
    fn commands_are_told_from_what_they_print() {
        let page = Page::parse(PAGE).unwrap();
        let commands = page.parts.iter().filter_map(|part| match part {
            Part::Command { line, output } => Some((line.as_str(), output.as_str())),
            Part::Text(_) => None,
        });
        let commands: Vec<_> = commands.collect();
        assert_eq!(commands, [("a --b \\\n    c", "one\n"), ("d", "")]);
        assert_eq!(page.text(), PAGE);
        let [lost, new] = &*page.clusters else {
            panic!("{:?}", page.clusters);
        };
        assert!(lost.velero && lost.velero_trust && !lost.fresh);
        assert!(new.velero && !new.velero_trust && new.fresh);
        assert_eq!(new.bucket.as_deref(), Some("copy"));
    }

    #[test]
    fn a_page_names_its_clusters_in_words_that_are_known() {
        let why = |text: &str| format!("{:#}", Page::parse(text).unwrap_err());
        assert!(why("# Title\n").contains("no line"));
        assert!(why("<!-- clusters: a = valero -->\n").contains("unknown word `valero`"));
    }
}
