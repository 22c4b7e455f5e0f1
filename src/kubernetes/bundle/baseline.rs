//! Writes the first bundle of a namespace when a Pod in it is reviewed.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams};
use kube::core::{Request, Resource as _};
use kube::{Api, Client, Error};

use super::{BundleStatus, annotation, config_map, is_ours};
use crate::ca::common_roots::CommonRoots;
use crate::decision::NoBundle;
use crate::kubernetes::location;
use crate::names;
use crate::velero::namespace::{
    Existence, FirstBundle, Locations, NamespaceFacts, Question, first_bundle, has_workload,
    locations_in, next_page,
};

/// Whether the Pods of a namespace can mount its bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnsureOutcome {
    /// The bundle exists.
    Exists {
        /// Whether the namespace is held.
        held: bool,
    },
    /// A ConfigMap of the bundle's name exists, but velero-trust did not write it.
    NotOwned,
    /// No bundle exists, and none is made here.
    Refused(NoBundle),
    /// No bundle exists, and there is no certificate to put into one. Velero cannot start with an
    /// empty file.
    NoRoots,
}

/// The reason for the hold of a namespace that the publisher has not evaluated yet.
const NOT_EVALUATED: &str = "its BackupStorageLocations were not looked at yet";

/// Number of objects in one page of a list. Each may be as large as etcd stores, about 1.5 MiB.
const PAGE_SIZE: u32 = 10;

/// Most pages of a list that are read. What is beyond is not looked at.
const MAX_PAGES: usize = 5;

/// Ensures that `namespace` has a bundle, if it is Velero's. If it has none, this writes the baseline,
/// which needs no Secret. If a location of the namespace works already, the namespace is held until
/// the publisher has evaluated its locations. The write never takes a field from another field
/// manager, so that the publisher always wins. A dry run writes nothing. `own` is velero-trust's own
/// namespace.
pub async fn ensure(
    client: &Client,
    own: &str,
    namespace: &str,
    dry_run: bool,
    base: &CommonRoots,
) -> kube::Result<EnsureOutcome> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    if let Some(map) = config_maps.get_metadata_opt(names::BUNDLE).await? {
        return Ok(if is_ours(&map.metadata) {
            let held = annotation(&map.metadata, names::bundle::HOLD).is_some();
            EnsureOutcome::Exists { held }
        } else {
            EnsureOutcome::NotOwned
        });
    }
    let held = match is_held(client, own, namespace).await? {
        Ok(held) => held,
        Err(why) => return Ok(EnsureOutcome::Refused(why)),
    };
    let baseline = base.bundle();
    if baseline.certificates.is_empty() {
        return Ok(EnsureOutcome::NoRoots);
    }
    if dry_run {
        return Ok(EnsureOutcome::Exists { held });
    }
    let params = PatchParams::apply(names::BOOTSTRAP_FIELD_MANAGER);
    let status = BundleStatus {
        last_added: None,
        hold: held.then_some(NOT_EVALUATED),
    };
    let baseline = config_map(namespace, &baseline, status);
    match config_maps
        .patch(names::BUNDLE, &params, &Patch::Apply(baseline))
        .await
    {
        Ok(_) => Ok(EnsureOutcome::Exists { held }),
        // The publisher wrote the bundle first.
        Err(Error::Api(status)) if status.code == 409 => Ok(EnsureOutcome::Exists { held }),
        Err(error) => Err(error),
    }
}

/// Returns whether `namespace` is held, or why no bundle is made in it.
async fn is_held(
    client: &Client,
    own: &str,
    namespace: &str,
) -> kube::Result<Result<bool, NoBundle>> {
    let mut facts = NamespaceFacts {
        is_own: namespace == own,
        ..NamespaceFacts::default()
    };
    loop {
        match first_bundle(facts) {
            FirstBundle::Allowed { held } => return Ok(Ok(held)),
            FirstBundle::Refused(why) => return Ok(Err(why)),
            FirstBundle::Need(Question::Existence) => {
                facts.existence = Some(existence(client, namespace).await?);
            }
            FirstBundle::Need(Question::Locations) => {
                facts.locations = Some(locations(client, namespace).await?);
            }
            FirstBundle::Need(Question::Workload) => {
                facts.has_workload = Some(runs_velero(client, namespace).await?);
            }
        }
    }
}

/// Looks the namespace up by a list, which needs no other right than its watch.
async fn existence(client: &Client, namespace: &str) -> kube::Result<Existence> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let params = ListParams::default().fields(&format!("metadata.name={namespace}"));
    let list = namespaces.list_metadata(&params.limit(1)).await?;
    let label = |found: &PartialObjectMeta<Namespace>| {
        let labels = found.metadata.labels.as_ref()?;
        labels.get(names::VELERO_NAMESPACE_LABEL).cloned()
    };
    Ok(match list.items.first().map(label) {
        None => Existence::Absent,
        Some(Some(value)) if value == "true" => Existence::Labelled,
        Some(_) => Existence::Unlabelled,
    })
}

async fn locations(client: &Client, namespace: &str) -> kube::Result<Locations> {
    let path = DynamicObject::url_path(&location::resource(), Some(namespace));
    let mut seen = Locations::None;
    let is_complete = read_pages(client, &path, |page| {
        seen = seen.max(locations_in(page)?);
        Ok(seen == Locations::Available)
    });
    match is_complete.await {
        Ok(true) => Ok(seen),
        // One of those that were not looked at may be available.
        Ok(false) => Ok(Locations::Available),
        // Velero's CRDs are not installed.
        Err(Error::Api(status)) if status.code == 404 => Ok(Locations::None),
        Err(error) => Err(error),
    }
}

async fn runs_velero(client: &Client, namespace: &str) -> kube::Result<bool> {
    for path in [
        Deployment::url_path(&(), Some(namespace)),
        DaemonSet::url_path(&(), Some(namespace)),
    ] {
        let mut is_found = false;
        read_pages(client, &path, |page| {
            is_found = has_workload(page)?;
            Ok(is_found)
        })
        .await?;
        if is_found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Passes the pages of the list at `path`, in JSON, to `is_enough` until it says so. Returns whether
/// nothing is left that it might have wanted.
async fn read_pages(
    client: &Client,
    path: &str,
    mut is_enough: impl FnMut(&str) -> serde_json::Result<bool>,
) -> kube::Result<bool> {
    let mut params = ListParams::default().limit(PAGE_SIZE);
    for _ in 0..MAX_PAGES {
        let request = Request::new(path)
            .list(&params)
            .map_err(Error::BuildRequest)?;
        let page = client.request_text(request).await?;
        if is_enough(&page).map_err(Error::SerdeError)? {
            return Ok(true);
        }
        match next_page(&page).map_err(Error::SerdeError)? {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(true),
        }
    }
    Ok(false)
}
