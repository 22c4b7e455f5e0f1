//! Looks up facts in a folder of YAML files, in place of a cluster.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::objects::{self, BadObjects, Objects};
use super::{LookupOptions, Source};
use crate::decision::{Facts, Lookup};

/// Answers look-ups from the files at or below some paths, which are read again when they change.
#[derive(Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    /// Minimum time between two checks for changes: a check of the file system costs more than a
    /// whole review.
    interval: Duration,
    last: Mutex<State>,
}

#[derive(Debug)]
struct State {
    checked: Instant,
    objects: Arc<Objects>,
    seen: Stamp,
}

/// Identifies one state of the files without reading their contents.
type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

impl Files {
    /// Reads the files at or below `paths`. They are checked for changes at most once per
    /// `interval`.
    pub fn open(paths: Vec<PathBuf>, interval: Duration) -> Result<Self, BadObjects> {
        let checked = Instant::now();
        let seen = stamp(&paths)?;
        let objects = Arc::new(Objects::read(&paths)?);
        Ok(Self {
            paths,
            last: Mutex::new(State {
                checked,
                objects,
                seen,
            }),
            interval,
        })
    }

    /// Returns the current objects. While the files are broken, returns the last good ones.
    pub fn objects(&self) -> Arc<Objects> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.checked.elapsed() < self.interval {
            return Arc::clone(&last.objects);
        }
        last.checked = Instant::now();
        match stamp(&self.paths) {
            Ok(seen) if seen == last.seen => {}
            Ok(seen) => {
                last.seen = seen;
                match Objects::read(&self.paths) {
                    Ok(objects) => last.objects = Arc::new(objects),
                    Err(error) => {
                        tracing::error!(%error, "the last good objects stay");
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "the last good objects stay");
            }
        }
        Arc::clone(&last.objects)
    }
}

impl Source for Files {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        ready(self.objects().facts(wants)).boxed()
    }
}

impl Source for Objects {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        ready(self.facts(wants)).boxed()
    }
}

fn stamp(paths: &[PathBuf]) -> Result<Stamp, BadObjects> {
    let stamp = objects::files(paths).into_iter().map(|path| {
        let path = path?;
        let metadata = std::fs::metadata(&path).ok();
        let modified = metadata
            .as_ref()
            .and_then(|metadata| metadata.modified().ok());
        let size = metadata.map_or(0, |metadata| metadata.len());
        Ok((path, modified, size))
    });
    stamp.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Outcome, SecretKeyRef};

    const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: ca, namespace: velero}\n";

    fn knows(files: &Files, name: &str) -> bool {
        let lookup = Lookup::Secret(SecretKeyRef::new("velero", name, "ca.crt"));
        matches!(files.objects().look_up(&lookup), Outcome::Found(_))
    }

    #[test]
    fn files_are_read_again_when_they_change_and_kept_while_they_are_broken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.yaml");
        std::fs::write(&file, SECRET).unwrap();
        let files = Files::open(vec![folder.path().to_owned()], Duration::ZERO).unwrap();
        assert!(knows(&files, "ca"));
        assert!(!knows(&files, "other"));
        std::fs::write(
            folder.path().join("other.yaml"),
            SECRET.replace("ca,", "other,"),
        )
        .unwrap();
        assert!(knows(&files, "other"));
        std::fs::write(&file, "a: [").unwrap();
        assert!(knows(&files, "ca"));
        std::fs::remove_file(&file).unwrap();
        assert!(!knows(&files, "ca"));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_document_and_line() {
        let said = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("x.yaml"), text).unwrap();
            let error = Files::open(vec![folder.path().to_owned()], Duration::ZERO)
                .unwrap_err()
                .to_string();
            error.split_once("x.yaml: ").unwrap().1.to_owned()
        };
        assert_eq!(
            said(&format!("{SECRET}---\n{SECRET}")),
            "document 2, line 5: Secret velero/ca stands here a second time; keep one of them"
        );
        assert_eq!(
            said(&format!("{SECRET}data: {{ca.crt: '%%'}}\n")),
            "document 1, line 1: data.ca.crt is not base64"
        );
        assert!(said("a: [\n").starts_with("document 1, line "));
    }

    #[test]
    fn links_in_a_circle_and_pipes_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("ca.yaml"), SECRET).unwrap();
        std::os::unix::fs::symlink(".", path("self")).unwrap();
        std::os::unix::fs::symlink(folder.path(), path("up.yaml")).unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(path("pipe.yaml"))
            .status();
        assert!(pipe.unwrap().success());
        let files = Files::open(vec![folder.path().to_owned()], Duration::ZERO).unwrap();
        assert!(knows(&files, "ca"));
    }

    #[test]
    fn kinds_that_are_not_ours_are_left_out_with_a_note() {
        let mut objects = Objects::default();
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n";
        objects.add(std::path::Path::new("x.yaml"), text).unwrap();
        objects
            .add(std::path::Path::new("y.yaml"), "replicas: 2\n")
            .unwrap();
        assert_eq!(
            objects.notes,
            [
                "x.yaml:1: Service of v1 is left out",
                "y.yaml:1: what has no apiVersion and kind is left out"
            ]
        );
    }
}
