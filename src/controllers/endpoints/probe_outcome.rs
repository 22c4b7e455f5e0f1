//! The outcome of probing and judging one endpoint, for the hold, the report and the metrics.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::ca::endpoint::{Endpoint, Observation};
use crate::ca::hold::EndpointVerdict;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::report::{self, EndpointState};

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
pub(super) fn verdict(found: &ProbeOutcome) -> Option<EndpointVerdict> {
    Some(match found {
        ProbeOutcome::Pending => return None,
        ProbeOutcome::Failed(why) => EndpointVerdict::Unknown(why.clone()),
        ProbeOutcome::Judged(seen) => seen.verdict(),
    })
}

/// Returns the state for reports and metrics.
pub(super) fn state(found: &ProbeOutcome) -> EndpointState {
    match found {
        ProbeOutcome::Judged(seen) if seen.is_trusted() => EndpointState::Trusted,
        ProbeOutcome::Judged(seen) if !seen.is_undecided() => EndpointState::Untrusted,
        _ => EndpointState::Unknown,
    }
}

/// Returns the reason of the Event on the location; `None` if the endpoint needs none.
pub(super) fn event_reason(found: &ProbeOutcome) -> Option<EventReason> {
    let ProbeOutcome::Judged(seen) = found else {
        return None;
    };
    if state(found) == EndpointState::Untrusted {
        Some(EventReason::EndpointUntrusted)
    } else {
        seen.expires_soon.map(|_| EventReason::EndpointExpiring)
    }
}

/// Returns the endpoint for the report. It was probed last at `probed_at`, in seconds since 1970.
pub(super) fn report_endpoint(
    namespace: &str,
    endpoint: &Endpoint,
    found: &ProbeOutcome,
    probed_at: Option<i64>,
) -> report::Endpoint {
    let mut told = report::Endpoint {
        url: endpoint.url.clone(),
        state: state(found),
        probed_at: probed_at.map(report::rfc3339),
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
            told.issuer.clone_from(&seen.issuer);
            told.not_after = expiry.map(|expiry| expiry.to_string());
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::endpoint::{ExpiresSoon, Problem};

    #[test]
    fn an_endpoint_that_is_not_trusted_or_expires_soon_has_an_event() {
        let reason = |problem: Option<Problem>, is_soon: bool| {
            let soon = ExpiresSoon {
                not_after: 0,
                days_left: 1,
                is_urgent: true,
            };
            let found = ProbeOutcome::Judged(Arc::new(Observation {
                chain: Vec::new(),
                issuer: None,
                problems: problem.into_iter().collect(),
                expires_soon: is_soon.then_some(soon),
            }));
            event_reason(&found).map(EventReason::as_str)
        };
        let expired = || Some(Problem::Expired { not_after: 0 });
        let undecided = || {
            Some(Problem::Undecided {
                reason: String::new(),
            })
        };
        assert_eq!(reason(None, false), None);
        assert_eq!(reason(undecided(), false), None);
        assert_eq!(reason(None, true), Some("EndpointExpiring"));
        assert_eq!(reason(undecided(), true), Some("EndpointExpiring"));
        assert_eq!(reason(expired(), false), Some("EndpointUntrusted"));
        assert_eq!(reason(expired(), true), Some("EndpointUntrusted"));
        assert_eq!(event_reason(&ProbeOutcome::Pending), None);
        assert_eq!(event_reason(&ProbeOutcome::Failed(String::new())), None);
    }
}
