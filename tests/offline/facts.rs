//! The source of facts for the golden cases: YAML, with some look-ups that always fail.

use std::path::Path;

use futures::future::{BoxFuture, FutureExt as _, ready};
use velero_trust::decision::{Facts, Lookup, LookupError, LookupErrorKind, Outcome};
use velero_trust::sources::objects::Objects;
use velero_trust::sources::{LookupOptions, Source};

/// The objects of one case.
pub(crate) struct CaseFacts {
    objects: Objects,
    unreadable: Vec<String>,
}

impl CaseFacts {
    /// Reads the objects in `text`. The look-ups in `unreadable`, such as `Secret velero/minio-ca`,
    /// always fail.
    /// Buckets are in the `folder` of the case.
    pub(crate) fn new(text: &str, folder: &Path, unreadable: Vec<String>) -> Self {
        let mut objects = Objects::default();
        objects.add(Path::new("objects.yaml"), text).unwrap();
        objects.add_buckets(folder.join("buckets"));
        Self {
            objects,
            unreadable,
        }
    }
}

impl Source for CaseFacts {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        let mut facts = Facts::default();
        for want in wants {
            let outcome = if self.unreadable.contains(&want.to_string()) {
                Outcome::Unavailable(LookupError {
                    kind: LookupErrorKind::Forbidden,
                    message: "nobody may read it".to_owned(),
                })
            } else {
                self.objects.look_up(want)
            };
            facts.insert(want.clone(), outcome);
        }
        ready(facts).boxed()
    }
}
