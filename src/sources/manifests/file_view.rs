//! Manifests as one of their files sees them.

use std::path::{Path, PathBuf};

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::{Manifests, Stored};
use crate::decision::{Fact, Facts, FieldPath, Key, Lookup, LookupError, LookupErrorKind, Outcome};
use crate::sources::{Limits, Source};

/// Manifests as one of their files sees them: of several Secrets of one name, such as those of
/// several overlays, the nearest is its.
#[derive(Clone, Copy, Debug)]
pub struct FileView<'m> {
    pub(super) manifests: &'m Manifests,
    pub(super) file: &'m Path,
}

impl<'m> FileView<'m> {
    /// The file and the line with `key` of a Secret, or, where it is not said, of the Secret.
    pub fn locate(self, secret: &Key, key: &str) -> Option<(PathBuf, u64)> {
        let Stored { file, document, .. } = self.nearest(secret)?;
        let line = |map| document.line_of(&FieldPath::of(&[map]).key(key));
        // The line of what is not there is that of what would hold it.
        let line = line("stringData").max(line("data"));
        Some((file.clone(), line))
    }

    pub(super) fn look_up(self, lookup: &Lookup) -> Outcome {
        let Lookup::Secret(key) = lookup else {
            return Outcome::Absent;
        };
        let nearest = self.nearest(key);
        nearest.map_or(Outcome::Absent, |stored| match &stored.fact {
            Some(fact) => Outcome::Found(fact.clone()),
            None => Outcome::Unavailable(LookupError {
                kind: LookupErrorKind::Unreadable,
                message: "it stands beside it and is broken".to_owned(),
            }),
        })
    }

    fn nearest(self, secret: &Key) -> Option<&'m Stored> {
        let known = self.manifests.secrets.get(secret)?.iter();
        // Of equals the first: `max_by_key` would take the last. One that is to be read tells more
        // than one beside it that is sealed.
        known.rev().max_by_key(|stored| {
            let is_readable = matches!(stored.fact, Some(Fact::Secret(_)));
            (self.nearness(&stored.file), is_readable)
        })
    }

    /// The more, the nearer: how much of the way to it `other` shares with the file, and most if
    /// it is the file itself.
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
    fn resolve<'a>(&'a self, wants: &'a [Lookup], _: Limits) -> BoxFuture<'a, Facts> {
        let mut facts = Facts::default();
        for want in wants {
            facts.insert(want.clone(), self.look_up(want));
        }
        ready(facts).boxed()
    }
}
