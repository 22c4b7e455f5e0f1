//! The outcome of probing and judging one endpoint, for the hold, the report and the metrics.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::ca::endpoint::{Endpoint, Observation};
use crate::ca::hold::Verdict;
use crate::kubernetes::report;

/// The outcome of probing and judging one endpoint.
pub(super) enum ProbeOutcome {
    /// The endpoint was not probed yet.
    Pending,
    /// The probe failed for this reason.
    Failed(String),
    /// The probe succeeded, and the certificates were judged.
    Judged(Arc<Observation>),
}

/// Returns the verdict for the hold; `None` if the endpoint was not probed yet.
pub(super) fn verdict(found: &ProbeOutcome) -> Option<Verdict> {
    Some(match found {
        ProbeOutcome::Pending => return None,
        ProbeOutcome::Failed(why) => Verdict::Unknown(why.clone()),
        ProbeOutcome::Judged(seen) => seen.verdict(),
    })
}

const TRUSTED: &str = "trusted";
pub(super) const UNTRUSTED: &str = "untrusted";
const UNKNOWN: &str = "unknown";

/// As reports and metrics call it.
pub(super) fn state(found: &ProbeOutcome) -> &'static str {
    match found {
        ProbeOutcome::Judged(seen) if seen.is_trusted() => TRUSTED,
        ProbeOutcome::Judged(seen) if !seen.is_undecided() => UNTRUSTED,
        _ => UNKNOWN,
    }
}

/// As the report tells it.
pub(super) fn report_endpoint(
    namespace: &str,
    endpoint: &Endpoint,
    found: &ProbeOutcome,
) -> report::Endpoint {
    let mut told = report::Endpoint {
        url: endpoint.url.clone(),
        state: state(found).to_owned(),
        ..report::Endpoint::default()
    };
    match found {
        ProbeOutcome::Pending => "it was not looked at yet".clone_into(&mut told.message),
        ProbeOutcome::Failed(why) => told.message.clone_from(why),
        ProbeOutcome::Judged(seen) => {
            let wrong = seen.problems.iter().map(ToString::to_string);
            let wrong = wrong.chain(seen.expires_soon.iter().map(ToString::to_string));
            told.message = wrong.collect::<Vec<_>>().join("; ");
            let fixes = seen.problems.iter().map(|problem| problem.fix(namespace));
            told.fix = fixes.collect::<Vec<_>>().join("; ");
            if told.fix.is_empty() && seen.expires_soon.is_some() {
                "renew it at the server".clone_into(&mut told.fix);
            }
            let leaf = seen.chain.first();
            let expiry = leaf.and_then(|leaf| Timestamp::from_second(leaf.not_after).ok());
            told.not_after = expiry.map(|expiry| expiry.to_string());
        }
    }
    told
}
