//! Reads a Secret, and of its values only those that were asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::api::GetParams;
use kube::core::Request;
use kube::{Api, Client, Error};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::fetch::fetch_opt;
use crate::decision::{Key, Secret};
use crate::velero::text::Text;

/// Reads the values of `keys` in the Secret `secret`; `None` if there is no such Secret.
pub(super) async fn read(
    client: &Client,
    secret: &Key,
    keys: &BTreeSet<&str>,
) -> kube::Result<Option<Secret>> {
    let secrets = Api::<KubeSecret>::namespaced(client.clone(), &secret.namespace);
    let request = Request::new(secrets.resource_url());
    let request = request.get(&secret.name, &GetParams::default());
    let request = request.map_err(Error::BuildRequest)?;
    let answer = fetch_opt(client, request).await?;
    let secret = answer.map(|answer| parse(&answer, keys));
    secret.transpose().map_err(Error::SerdeError)
}

/// Parses a Secret. The values of all other keys are skipped and never decoded.
fn parse(answer: &[u8], keys: &BTreeSet<&str>) -> serde_json::Result<Secret> {
    let mut deserializer = serde_json::Deserializer::from_slice(answer);
    let secret = ObjectSeed(keys).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(secret)
}

/// Reads the whole object.
struct ObjectSeed<'k>(&'k BTreeSet<&'k str>);

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = Secret;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Secret, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Secret")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let mut is_secret = false;
        let mut data = BTreeMap::new();
        while let Some(field) = map.next_key::<Text<'_>>()? {
            match &*field {
                "kind" => is_secret = *map.next_value::<Text<'_>>()? == *"Secret",
                "data" => data = map.next_value_seed(DataSeed(self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if is_secret {
            Ok(Secret { data })
        } else {
            Err(A::Error::custom("the object is no Secret"))
        }
    }
}

/// Reads `data`.
struct DataSeed<'k>(&'k BTreeSet<&'k str>);

impl<'de> DeserializeSeed<'de> for DataSeed<'_> {
    type Value = BTreeMap<String, Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DataSeed<'_> {
    type Value = BTreeMap<String, Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the data of a Secret")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut data = BTreeMap::new();
        while let Some(key) = map.next_key::<Text<'_>>()? {
            if !self.0.contains(&*key) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<Option<Text<'_>>>()?.unwrap_or_default();
            // The error must not quote the value.
            let value = STANDARD.decode(value.as_bytes());
            let value = value.map_err(|_| A::Error::custom("a value is not base64"))?;
            data.insert(key.0.into_owned(), value);
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = r#"{"kind": "Secret", "metadata": {"data": {"a": 1}},
        "data": {"ca.crt": "Y2E=", "password": "top secret", "empty": "", "null": null}}"#;

    fn keys(answer: &str, wanted: &[&str]) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let wanted = wanted.iter().copied().collect();
        let secret = parse(answer.as_bytes(), &wanted);
        secret
            .map(|secret| secret.data)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_keys_that_were_asked_for_are_kept() {
        let found = keys(SECRET, &["ca.crt", "absent"]).unwrap();
        assert_eq!(found, [("ca.crt".to_owned(), b"ca".to_vec())].into());
        let found = keys(SECRET, &["empty", "null"]).unwrap();
        let empty = |key: &str| (key.to_owned(), Vec::new());
        assert_eq!(found, [empty("empty"), empty("null")].into());
    }

    #[test]
    fn what_is_no_secret_is_an_error_that_quotes_nothing() {
        assert_eq!(keys(r#"{"kind": "Secret"}"#, &["a"]).unwrap().len(), 0);
        let null = r#"{"kind": "Secret", "data": null}"#;
        assert_eq!(keys(null, &["a"]).unwrap().len(), 0);
        for (answer, why) in [
            (SECRET, "a value is not base64"),
            (r#"{"data": {}}"#, "the object is no Secret"),
            (r#"{"kind": "Status"}"#, "the object is no Secret"),
            (r#"{"kind": "Secret"} x"#, "trailing characters"),
            ("<html>", "expected value"),
        ] {
            let said = keys(answer, &["password"]).unwrap_err();
            assert!(
                said.starts_with(why) && !said.contains("top secret"),
                "{said}"
            );
        }
    }
}
