//! Decides whether a namespace is Velero's, before a review of a Pod may write its first bundle.
//!
//! The port of the webhook does not know who calls it, and a tenant's Pod may ask for the bundle. So
//! a review alone proves nothing: what is in the cluster decides.

use serde::Deserialize;

use super::bsl::BslStatus;
use super::lenient::{reported, wrong_is_default};
use super::pod::Pod;
use super::pod_kind;
use super::text::{Text, or_empty};
use crate::decision::NoBundle;

/// The facts about a namespace; `None` for those that were not looked up yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Whether it is velero-trust's own namespace.
    pub is_own: bool,
    /// The namespace itself.
    pub existence: Option<Existence>,
    /// Its `BackupStorageLocation`s.
    pub locations: Option<Locations>,
    /// Whether a Deployment or DaemonSet in it runs Velero.
    pub has_workload: Option<bool>,
}

/// Whether a namespace exists, and whether it has velero-trust's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It does not exist.
    Absent,
    /// It exists without the label.
    Unlabelled,
    /// It exists and has the label.
    Labelled,
}

/// The `BackupStorageLocation`s of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locations {
    /// There is none.
    None,
    /// There are some, and Velero reports none of them as available.
    Unavailable,
    /// Velero reports one as available, or there are more than were looked at.
    Available,
}

/// Something to look up about a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// [`NamespaceFacts::existence`].
    Existence,
    /// [`NamespaceFacts::locations`].
    Locations,
    /// [`NamespaceFacts::has_workload`].
    Workload,
}

/// Whether the first bundle of a namespace may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBundle {
    /// It may be written.
    Allowed {
        /// Whether a location works already, so that the namespace is held until the controllers
        /// have evaluated its locations.
        held: bool,
    },
    /// No bundle is made in this namespace.
    Refused(NoBundle),
    /// It is not known yet.
    Need(Question),
}

/// Decides from what is known so far. The cheapest look-up that may end the decision comes first.
pub const fn first_bundle(facts: NamespaceFacts) -> FirstBundle {
    if facts.is_own {
        return FirstBundle::Refused(NoBundle::OwnNamespace);
    }
    let is_labelled = match facts.existence {
        None => return FirstBundle::Need(Question::Existence),
        Some(Existence::Absent) => return FirstBundle::Refused(NoBundle::NoNamespace),
        Some(Existence::Unlabelled) => false,
        Some(Existence::Labelled) => true,
    };
    // Also in a namespace with the label: whether it is held depends on its locations.
    let Some(locations) = facts.locations else {
        return FirstBundle::Need(Question::Locations);
    };
    let held = matches!(locations, Locations::Available);
    if is_labelled || !matches!(locations, Locations::None) {
        return FirstBundle::Allowed { held };
    }
    // Helm creates the Deployment before the location.
    match facts.has_workload {
        None => FirstBundle::Need(Question::Workload),
        Some(true) => FirstBundle::Allowed { held },
        Some(false) => FirstBundle::Refused(NoBundle::NotVelero),
    }
}

/// One page of a list. Everything that a decision does not need is skipped.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

/// Returns what a page of `BackupStorageLocation`s in JSON says.
pub fn locations_in(page: &str) -> serde_json::Result<Locations> {
    #[derive(Deserialize)]
    struct Location<'a> {
        #[serde(borrow, default, deserialize_with = "reported")]
        status: BslStatus<'a>,
    }
    let page: Page<Location<'_>> = serde_json::from_str(page)?;
    let states = page.items.iter().map(|location| {
        if or_empty(location.status.phase.as_ref()) == "Available" {
            Locations::Available
        } else {
            Locations::Unavailable
        }
    });
    Ok(states.max().unwrap_or(Locations::None))
}

/// Returns whether the Pod template of an object on a page of Deployments or `DaemonSet`s in JSON
/// runs Velero.
pub fn has_workload(page: &str) -> serde_json::Result<bool> {
    #[derive(Deserialize)]
    struct Workload<'a> {
        #[serde(borrow, default, deserialize_with = "wrong_is_default")]
        spec: Spec<'a>,
    }
    #[derive(Default, Deserialize)]
    struct Spec<'a> {
        #[serde(borrow, default, deserialize_with = "wrong_is_default")]
        template: Pod<'a>,
    }
    let page: Page<Workload<'_>> = serde_json::from_str(page)?;
    let mut templates = page.items.iter().map(|workload| &workload.spec.template);
    Ok(templates.any(|template| pod_kind::kind(template).is_some()))
}

/// Returns the token for the page after a page in JSON; `None` if it is the last one.
pub fn next_page(page: &str) -> serde_json::Result<Option<String>> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow, default)]
        metadata: Metadata<'a>,
    }
    #[derive(Default, Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow, default, rename = "continue")]
        next: Option<Text<'a>>,
    }
    let list: List<'_> = serde_json::from_str(page)?;
    let next = or_empty(list.metadata.next.as_ref());
    Ok(Some(next.to_owned()).filter(|next| !next.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Existence::{Absent, Labelled, Unlabelled};
    use super::*;

    #[test]
    fn only_a_location_the_label_or_a_workload_makes_a_namespace_veleros() {
        let facts = |existence, locations, has_workload| NamespaceFacts {
            is_own: false,
            existence: Some(existence),
            locations: Some(locations),
            has_workload: Some(has_workload),
        };
        let held = |held| FirstBundle::Allowed { held };
        let refused = FirstBundle::Refused;
        for (existence, locations, workload, expected) in [
            (
                Unlabelled,
                Locations::None,
                false,
                refused(NoBundle::NotVelero),
            ),
            (Unlabelled, Locations::None, true, held(false)),
            (Unlabelled, Locations::Unavailable, false, held(false)),
            (Unlabelled, Locations::Available, false, held(true)),
            (Labelled, Locations::None, false, held(false)),
            (Labelled, Locations::Available, false, held(true)),
            (
                Absent,
                Locations::Available,
                true,
                refused(NoBundle::NoNamespace),
            ),
        ] {
            let facts = facts(existence, locations, workload);
            assert_eq!(first_bundle(facts), expected, "{facts:?}");
            let own = NamespaceFacts {
                is_own: true,
                ..facts
            };
            assert_eq!(first_bundle(own), refused(NoBundle::OwnNamespace));
        }
    }

    #[test]
    fn nothing_is_looked_up_that_cannot_change_the_decision() {
        let mut facts = NamespaceFacts::default();
        let mut asked = Vec::new();
        while let FirstBundle::Need(question) = first_bundle(facts) {
            asked.push(question);
            match question {
                Question::Existence => facts.existence = Some(Unlabelled),
                Question::Locations => facts.locations = Some(Locations::None),
                Question::Workload => facts.has_workload = Some(false),
            }
        }
        let all = [Question::Existence, Question::Locations, Question::Workload];
        assert_eq!(asked, all);
        let own = NamespaceFacts {
            is_own: true,
            ..NamespaceFacts::default()
        };
        assert!(matches!(first_bundle(own), FirstBundle::Refused(_)));
    }

    #[test]
    fn reads_pages_and_skips_what_it_does_not_need() {
        let bsl =
            |status| json!({"metadata": {"name": 5}, "spec": {"provider": []}, "status": status});
        let read = |items: &[serde_json::Value]| {
            locations_in(&json!({"items": items}).to_string()).unwrap()
        };
        assert_eq!(read(&[]), Locations::None);
        assert_eq!(read(&[bsl(json!(null))]), Locations::Unavailable);
        assert_eq!(
            read(&[bsl(json!({"phase": "Unavailable"})), bsl(json!(1))]),
            Locations::Unavailable
        );
        let available = bsl(json!({"phase": "Available"}));
        assert_eq!(read(&[available, bsl(json!({}))]), Locations::Available);

        let workload = |command| {
            let container = json!({"name": "c", "command": command, "env": [{"name": "A"}]});
            json!({"spec": {"template": {"spec": {"containers": [container]}}}})
        };
        let read = |items: &[serde_json::Value]| {
            has_workload(&json!({"items": items}).to_string()).unwrap()
        };
        let velero = workload(json!(["/velero", "server"]));
        assert!(!read(&[workload(json!(["/app"])), json!({"spec": null})]));
        assert!(read(&[json!({"spec": {"template": 5}}), velero]));

        let next = |metadata| next_page(&json!({"metadata": metadata}).to_string()).unwrap();
        assert_eq!(next(json!({"continue": "a\"b"})).as_deref(), Some("a\"b"));
        assert_eq!(next(json!({"continue": ""})), None);
        assert_eq!(next(json!({"resourceVersion": "1"})), None);
    }
}
