//! A location as the controllers keep it.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use serde::Deserialize;

use crate::names::PREFIX;
use crate::velero::bsl::{Bsl, ObjectStorage, SecretKeySelector};
use crate::velero::text::{Text, or_empty, seconds};

/// Most bytes of a text that is kept. Names of Kubernetes have at most 253, URLs are rarely longer
/// than 100.
const MAX_TEXT_BYTES: usize = 256;

/// Most bytes of settings, and of annotations, that are kept. The plugins know about twenty
/// settings, and a location rarely has ten.
const MAX_PAIRS_BYTES: usize = 2 << 10;

/// Memory for a setting beside its texts.
const PAIR_BYTES: usize = 64;

/// Memory for a location beside its texts: here, in its evaluation, and in the report.
const LOCATION_BYTES: usize = 2 << 10;

/// How often a text of a location is kept: here, in its evaluation or its endpoints, and in the
/// report.
const COPIES: usize = 3;

/// Settings that are kept before others: the controllers read them without reading the location
/// again.
const READ_SETTINGS: [&str; 5] = [
    "insecureSkipTLSVerify",
    "publicUrl",
    "region",
    "s3Url",
    "secretRef",
];

/// A location as the controllers keep it: 8 KiB at most, because every location of the cluster
/// is kept, and the API server stores up to 1.5 MiB of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationEntry {
    /// The part that the controllers depend on, without CA bundles and without what is too large.
    /// Labels, the annotations of others and the status message are left out too, so that two
    /// versions of a location are equal if no relevant field changed. This matters because Velero
    /// writes the status once a minute.
    pub bsl: Bsl<'static>,
    /// When it was created, in seconds since 1970.
    pub created: Option<i64>,
    /// SHA-256 of the CA bundles, and of what is too large; `None` if there is nothing of both, so
    /// that `bsl` is complete.
    pub left_out: Option<[u8; 32]>,
    /// About how much memory the controllers need for it, in bytes.
    pub memory: usize,
}

/// The creation time of an object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Created<'a> {
    #[serde(borrow)]
    metadata: CreationTimestamp<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CreationTimestamp<'a> {
    #[serde(borrow)]
    creation_timestamp: Option<Text<'a>>,
}

impl LocationEntry {
    /// Reads the JSON of a location, leniently: if its spec cannot be read, the entry contains only
    /// the name, the uid and the status.
    pub fn from_json(text: &str) -> Self {
        let Created { metadata } = serde_json::from_str(text).unwrap_or_default();
        let created = seconds(or_empty(metadata.creation_timestamp.as_ref()));
        let mut entry = Self::of(Bsl::from_json(text));
        entry.created = created;
        entry
    }

    fn of(bsl: Bsl<'_>) -> Self {
        let mut left_out = LeftOut::default();
        let Bsl {
            mut metadata,
            mut spec,
            mut status,
        } = bsl;
        metadata.labels = None;
        metadata.annotations = metadata.annotations.map(|annotations| {
            let own = annotations.into_iter();
            let own = own.filter(|(key, _)| key.starts_with(PREFIX));
            left_out.keep_pairs(own.collect(), &[])
        });
        status.message = None;
        status.phase = left_out.keep(status.phase);
        spec.provider = left_out.keep(spec.provider);
        spec.credential = left_out.keep_selector(spec.credential);
        spec.config = spec.config.map(|mut config| {
            left_out.add(config.remove(&Text::from("caCert")));
            left_out.keep_pairs(config, &READ_SETTINGS)
        });
        spec.object_storage = spec.object_storage.map(|storage| ObjectStorage {
            bucket: left_out.keep(storage.bucket),
            prefix: left_out.keep(storage.prefix),
            ca_cert: {
                left_out.add(storage.ca_cert);
                None
            },
            ca_cert_ref: left_out.keep_selector(storage.ca_cert_ref),
        });
        let kept = Bsl {
            metadata,
            spec,
            status,
        };
        Self {
            memory: LOCATION_BYTES + COPIES * (kept.name().len() + left_out.kept_bytes),
            bsl: kept.into_owned(),
            created: None,
            left_out: left_out.finish(),
        }
    }
}

/// The digest of what is left out, and the size of what is kept.
#[derive(Default)]
struct LeftOut {
    digest: Option<Context>,
    kept_bytes: usize,
}

impl LeftOut {
    fn update(&mut self, text: &str) {
        let digest = self.digest.get_or_insert_with(|| Context::new(&SHA256));
        digest.update(&text.len().to_le_bytes());
        digest.update(text.as_bytes());
    }

    /// Leaves `text` out, unless it is empty or not set.
    fn add(&mut self, text: Option<Text<'_>>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.update(&text);
        }
    }

    /// Returns `text`, and leaves it out if it is too large.
    fn keep<'a>(&mut self, text: Option<Text<'a>>) -> Option<Text<'a>> {
        let text = text?;
        if text.len() <= MAX_TEXT_BYTES {
            self.kept_bytes += text.len();
            return Some(text);
        }
        self.update(&text);
        None
    }

    fn keep_selector<'a>(
        &mut self,
        selector: Option<SecretKeySelector<'a>>,
    ) -> Option<SecretKeySelector<'a>> {
        let SecretKeySelector { name, key } = selector?;
        Some(SecretKeySelector {
            name: self.keep(name),
            key: self.keep(key),
        })
    }

    /// Returns those `pairs` that are small, as far as there are not too many; those with a `first`
    /// key are kept before the others.
    fn keep_pairs<'a>(
        &mut self,
        pairs: BTreeMap<Text<'a>, Text<'a>>,
        first: &[&str],
    ) -> BTreeMap<Text<'a>, Text<'a>> {
        let is_first = |key: &Text<'_>| first.contains(&&**key);
        let mut room = MAX_PAIRS_BYTES;
        let mut kept = BTreeMap::new();
        for (key, value) in pairs {
            let is_small = key.len() <= MAX_TEXT_BYTES && value.len() <= MAX_TEXT_BYTES;
            let rest = if is_first(&key) {
                Some(room)
            } else {
                room.checked_sub(PAIR_BYTES + key.len() + value.len())
            };
            if let Some(rest) = rest.filter(|_| is_small) {
                room = rest;
                self.kept_bytes += PAIR_BYTES + key.len() + value.len();
                kept.insert(key, value);
            } else {
                self.update(&key);
                self.update(&value);
            }
        }
        kept
    }

    fn finish(self) -> Option<[u8; 32]> {
        self.digest?.finish().as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(change: impl FnOnce(&mut Value)) -> LocationEntry {
        let mut object = json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
            "metadata": {
                "name": "default", "namespace": "velero", "uid": "u",
                "creationTimestamp": "1970-01-01T00:01:00Z",
                "labels": {"l": "1"},
                "annotations": {"velero-trust.io/ca-secret": "a/b", "other": "1"},
            },
            "spec": {"provider": "aws", "config": {"region": "r"}, "objectStorage": {"bucket": "b"}},
            "status": {"phase": "Unavailable", "message": "m"},
        });
        change(&mut object);
        LocationEntry::from_json(&object.to_string())
    }

    #[test]
    fn only_what_the_controllers_depend_on_makes_a_difference() {
        let before = object(|_| ());
        assert_eq!((before.created, before.left_out), (Some(60), None));
        let is_same = |change: fn(&mut Value)| object(change) == before;
        assert!(is_same(
            |object| object["metadata"]["labels"]["l"] = "2".into()
        ));
        assert!(is_same(|object| {
            object["metadata"]["annotations"]["other"] = "2".into();
            object["metadata"]["resourceVersion"] = "5".into();
            object["spec"]["default"] = true.into();
            object["status"]["message"] = "n".into();
            object["status"]["lastSyncedTime"] = "2026-01-01T00:00:00Z".into();
        }));
        let differences: [fn(&mut Value); 6] = [
            |object| object["metadata"]["annotations"]["velero-trust.io/ca-secret"] = "a/c".into(),
            |object| object["metadata"]["uid"] = "v".into(),
            |object| object["spec"]["config"]["region"] = "s".into(),
            |object| object["status"]["phase"] = "Available".into(),
            |object| object["spec"]["objectStorage"]["caCert"] = "YQ==".into(),
            |object| object["spec"]["config"]["caCert"] = "a".into(),
        ];
        for difference in differences {
            assert!(!is_same(difference));
        }
    }

    #[test]
    fn a_ca_bundle_is_left_out_and_every_change_of_it_is_seen() {
        let with = |field: &str, text: &str| {
            object(|object| object["spec"]["objectStorage"][field] = text.into())
        };
        let of = |text: &str| with("caCert", text).left_out;
        assert!(of("YQ==").is_some());
        assert_eq!(of("YQ=="), of("YQ=="));
        assert_ne!(of("YQ=="), of("YQ=a"));
        assert_eq!(with("caCert", "YQ==").bsl, object(|_| ()).bsl);
        // An empty text counts as not set, as for Velero.
        assert_eq!(of(""), None);
        let pem = object(|object| object["spec"]["config"]["caCert"] = "a".into());
        assert_eq!(pem.bsl, object(|_| ()).bsl);
        assert!(pem.left_out.is_some());
    }

    #[test]
    fn what_is_too_large_is_left_out_and_the_rest_stays() {
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let just = "x".repeat(MAX_TEXT_BYTES);
        let fields: [fn(&mut Value) -> &mut Value; 8] = [
            |object| &mut object["metadata"]["annotations"]["velero-trust.io/ca-secret"],
            |object| &mut object["spec"]["provider"],
            |object| &mut object["spec"]["config"]["other"],
            |object| &mut object["spec"]["config"]["s3Url"],
            |object| &mut object["spec"]["credential"]["name"],
            |object| &mut object["spec"]["objectStorage"]["bucket"],
            |object| &mut object["spec"]["objectStorage"]["caCertRef"]["key"],
            |object| &mut object["status"]["phase"],
        ];
        for field in fields {
            let with = |text: &str| object(|object| *field(object) = text.into());
            assert_eq!(with(&just).left_out, None);
            assert!(format!("{:?}", with(&just)).contains(&just));
            let entry = with(&long);
            assert!(entry.left_out.is_some());
            assert!(!format!("{entry:?}").contains(&long));
            assert_ne!(entry.left_out, with(&format!("{long}y")).left_out);
            assert_eq!(entry.bsl.name(), "default");
        }
    }

    #[test]
    fn the_memory_of_a_location_grows_with_what_is_kept_of_it() {
        let before = object(|_| ()).memory;
        assert!(before > LOCATION_BYTES && before < LOCATION_BYTES + 1000);
        let more = |change: fn(&mut Value)| object(change).memory - before;
        let bucket = more(|object| object["spec"]["objectStorage"]["bucket"] = "12345".into());
        assert_eq!(bucket, COPIES * 4);
        let name = more(|object| object["metadata"]["name"] = "default12".into());
        assert_eq!(name, COPIES * 2);
        let setting = more(|object| object["spec"]["config"]["ab"] = "123".into());
        assert_eq!(setting, COPIES * (PAIR_BYTES + 5));
        // Of what is left out, only a hash is kept.
        let ca = more(|object| object["spec"]["config"]["caCert"] = "x".repeat(5000).into());
        assert_eq!(ca, 0);
    }

    #[test]
    fn of_many_settings_those_that_the_controllers_read_stay() {
        let many = |count: usize| {
            object(|object| {
                let settings = (0..count).map(|number| (format!("a{number}"), "1".into()));
                let config: serde_json::Map<_, _> = settings.collect();
                object["spec"]["config"] = config.into();
                object["spec"]["config"]["s3Url"] = "https://store".into();
            })
        };
        let entry = many(20);
        assert_eq!(entry.left_out, None);
        let entry = many(100);
        let kept = entry.bsl.spec.config.as_ref().unwrap();
        let bytes = kept
            .iter()
            .map(|(key, value)| PAIR_BYTES + key.len() + value.len());
        let bytes = bytes.sum::<usize>();
        assert!(
            bytes <= MAX_PAIRS_BYTES + 128 && bytes > MAX_PAIRS_BYTES,
            "{bytes}"
        );
        assert_eq!(entry.bsl.config("s3Url"), Some("https://store"));
        assert!(entry.left_out.is_some());
        assert_ne!(entry.left_out, many(101).left_out);
    }

    #[test]
    fn a_location_whose_spec_cannot_be_read_has_its_name_and_its_status() {
        let entry = object(|object| object["spec"]["provider"] = 5.into());
        let actual = (entry.bsl.name(), entry.bsl.uid(), entry.bsl.phase());
        assert_eq!(actual, ("default", "u", "Unavailable"));
        assert_eq!(entry.created, Some(60));
    }
}
