//! The manifests from the viewpoint of one file.

use std::path::{Path, PathBuf};

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::{Manifests, Stored};
use crate::decision::{Facts, FieldPath, Key, Lookup, LookupError, LookupErrorKind, Outcome};
use crate::sources::sealed::{ANY_NAMESPACE, StoredSecret};
use crate::sources::{LookupOptions, Source};

/// The manifests from the viewpoint of one file: of several Secrets with the same name, such as
/// those of several overlays, the nearest one counts.
#[derive(Clone, Copy, Debug)]
pub struct FileView<'m> {
    pub(super) manifests: &'m Manifests,
    pub(super) file: &'m Path,
    /// Whether the location names no namespace, so that Secrets of every namespace match.
    pub(super) any_namespace: bool,
}

impl<'m> FileView<'m> {
    /// Returns the file and line of `key` in a Secret, or of the Secret itself if it has no such
    /// key.
    pub fn locate(self, secret: &Key, key: &str) -> Option<(PathBuf, u64)> {
        let Stored { file, document, .. } = self.nearest(secret)?;
        let line = |map| document.line_of(&FieldPath::of(&[map]).key(key));
        // The line of a missing value is that of its nearest parent.
        let line = line("stringData").max(line("data"));
        Some((file.clone(), line))
    }

    pub(super) fn look_up(self, lookup: &Lookup) -> Outcome {
        let Lookup::Secret(reference) = lookup else {
            return Outcome::Absent;
        };
        let nearest = self.nearest(&reference.secret);
        nearest.map_or(Outcome::Absent, |stored| match &stored.secret {
            Some(secret) => Outcome::Found(secret.fact(&reference.key)),
            None => Outcome::Unavailable(LookupError {
                kind: LookupErrorKind::Unreadable,
                message: "it is in these files but malformed".to_owned(),
            }),
        })
    }

    fn nearest(self, secret: &Key) -> Option<&'m Stored> {
        let known = self.manifests.secrets.get(&secret.name)?.iter();
        let is_exact = |stored: &Stored| stored.namespace == secret.namespace;
        let matching = known.filter(|stored| {
            is_exact(stored) || stored.namespace == ANY_NAMESPACE || self.any_namespace
        });
        // The first of equals: `max_by_key` alone would return the last. A readable Secret is
        // preferred to a sealed one next to it, because it says more.
        matching.rev().max_by_key(|stored| {
            let secret = stored.secret.as_ref();
            let is_readable = secret.is_some_and(StoredSecret::is_readable);
            (self.nearness(&stored.file), is_exact(stored), is_readable)
        })
    }

    /// Whether there is no such Secret, and a ConfigMap has its name.
    pub fn is_config_map(self, secret: &Key) -> bool {
        let mut maps = self.manifests.config_maps.iter();
        self.nearest(secret).is_none()
            && maps.any(|map| {
                map.name == secret.name
                    && (map.namespace == secret.namespace
                        || map.namespace == ANY_NAMESPACE
                        || self.any_namespace)
            })
    }

    /// Returns how near `other` is, higher for nearer: the number of path components it shares with
    /// the file, and the maximum for the file itself.
    fn nearness(self, other: &Path) -> usize {
        if other == self.file {
            return usize::MAX;
        }
        let own = self
            .file
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .components();
        let theirs = other.parent().unwrap_or_else(|| Path::new("")).components();
        own.zip(theirs)
            .take_while(|(own, other)| own == other)
            .count()
    }
}

impl Source for FileView<'_> {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        let mut facts = Facts::default();
        for want in wants {
            facts.insert(want.clone(), self.look_up(want));
        }
        ready(facts).boxed()
    }
}
