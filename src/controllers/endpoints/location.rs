//! The endpoints of the BSLs of a namespace.

use std::collections::BTreeSet;

use crate::ca::endpoint::{self, Endpoint, EndpointSetting, SkippedSetting, Target};
use crate::controllers::event_deduper::{EventObject, PendingEvent};
use crate::controllers::locations::Locations;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::report;

/// Most endpoints of a namespace that are probed. What each of them presents is kept, up to 64 KiB;
/// and more have no turn within the interval of the probes.
pub(super) const MAX_TARGETS: usize = 500;

/// The endpoints of a BSL.
pub(super) struct LocationEndpoints {
    pub(super) name: String,
    uid: String,
    /// The phase that Velero set; empty before it checked the location.
    pub(super) phase: String,
    /// Whether its plugin reads `AWS_CA_BUNDLE`.
    is_aws: bool,
    pub(super) endpoints: Vec<Endpoint>,
    /// The settings that name no endpoint.
    pub(super) skipped: Vec<SkippedSetting>,
}

impl LocationEndpoints {
    /// Whether Velero's connection to this endpoint depends on `AWS_CA_BUNDLE`. This is the case
    /// for the store, but not for the URL that the `velero` command downloads from.
    pub(super) fn breaks_without(&self, endpoint: &Endpoint) -> bool {
        let is_public = endpoint.setting == EndpointSetting::PublicUrl;
        self.is_aws && endpoint.verified_by_velero && !is_public
    }

    /// Returns an Event about one of its endpoints.
    pub(super) fn event(&self, reason: EventReason, endpoint: &report::Endpoint) -> PendingEvent {
        let report::Endpoint {
            url, message, fix, ..
        } = endpoint;
        PendingEvent {
            about: EventObject::Location {
                name: self.name.clone(),
                uid: self.uid.clone(),
            },
            reason,
            note: format!("{url}: {message}; {fix}"),
        }
    }
}

/// Returns the endpoints of each BSL of `namespace`.
pub(super) fn read(namespace: &str, locations: &Locations) -> Vec<LocationEndpoints> {
    let bsls = locations.iter().map(|(name, entry)| {
        let bsl = &entry.bsl;
        let (mut endpoints, mut skipped) = (Vec::new(), Vec::new());
        for result in endpoint::read_endpoints(namespace, bsl) {
            match result {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(setting) => skipped.push(setting),
            }
        }
        LocationEndpoints {
            name: name.clone(),
            uid: bsl.uid().to_owned(),
            phase: bsl.phase().to_owned(),
            is_aws: !["azure", "gcp"].contains(&bsl.provider()),
            endpoints,
            skipped,
        }
    });
    bsls.collect()
}

/// Returns the targets that the probe connects to for these BSLs: the first [`MAX_TARGETS`], by the
/// names of the BSLs.
pub(super) fn targets(bsls: &[LocationEndpoints]) -> BTreeSet<Target> {
    let mut targets = BTreeSet::new();
    for endpoint in bsls.iter().flat_map(|bsl| &bsl.endpoints) {
        if targets.len() == MAX_TARGETS {
            break;
        }
        targets.insert(endpoint.target.clone());
    }
    targets
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::kubernetes::location::LocationEntry;

    #[test]
    fn a_public_url_breaks_nothing_without_the_bundle() {
        let text = r#"{"spec":{"provider":"aws","config":{
            "s3Url":"https://publicUrl:9000","publicUrl":"https://store.example"}}}"#;
        let entry = Arc::new(LocationEntry::from_json(text));
        let locations = BTreeMap::from([("default".to_owned(), entry)]);
        let bsls = read("velero", &Arc::new(locations));
        let breaks = bsls[0]
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.url.as_str(), bsls[0].breaks_without(endpoint)));
        assert_eq!(
            breaks.collect::<Vec<_>>(),
            [
                ("https://publicurl:9000", true),
                ("https://store.example", false)
            ]
        );
    }

    #[test]
    fn of_too_many_endpoints_the_first_are_probed() {
        let locations = (0..MAX_TARGETS + 10).map(|number| {
            let text = format!(
                r#"{{"spec":{{"config":{{"s3Url":"https://store:{}"}}}}}}"#,
                number + 1
            );
            let entry = Arc::new(LocationEntry::from_json(&text));
            (format!("{number:04}"), entry)
        });
        let bsls = read("velero", &Arc::new(locations.collect()));
        let targets = targets(&bsls);
        assert_eq!(targets.len(), MAX_TARGETS);
        let last = &bsls[MAX_TARGETS - 1].endpoints[0].target;
        assert!(targets.contains(last));
        assert!(!targets.contains(&bsls[MAX_TARGETS].endpoints[0].target));
    }
}
