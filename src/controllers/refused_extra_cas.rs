//! Tells of the objects in our own namespace that are labelled as extra CAs and not taken, by an Event
//! on each.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::{Instant, sleep};

use super::ControllerContext;
use super::event_deduper::EventDeduper;
use crate::ca::bundle_issue::BundleIssue;
use crate::ca::common_roots::RestoredExtra;
use crate::kubernetes::events::EventReason;

/// Pause between Events on many objects.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Emits the Events while this replica leads. Ends when the roots are no longer followed.
pub(super) async fn run(controllers: Arc<ControllerContext>) {
    let mut common_roots = controllers.common_roots.clone();
    let mut events = EventDeduper::default();
    loop {
        let restored = match common_roots.borrow_and_update().as_deref() {
            Some(roots) => roots.extra.restored.clone(),
            None => std::collections::BTreeSet::new(),
        };
        for object in events.take_due(restored.iter().cloned(), Instant::now()) {
            let note = BundleIssue::extra_restored(&object).to_string();
            let about = reference(object);
            let reason = EventReason::ExtraCaRefused;
            controllers.events.emit(&about, reason, &note).await;
        }
        let next = events.next_due(&restored, Instant::now());
        let pause = async {
            match next {
                Some(next) => sleep(next.max(MIN_PAUSE)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = common_roots.changed() => if changed.is_err() {
                return;
            },
            () = pause => {}
        }
    }
}

fn reference(object: RestoredExtra) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some(object.kind),
        namespace: Some(object.namespace),
        name: Some(object.name),
        uid: Some(object.uid),
        ..ObjectReference::default()
    }
}
