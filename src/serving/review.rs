//! One review, from the bytes of a body to the answer.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::time::{Instant, timeout_at};

use super::budget::Budget;
use crate::admission::{
    Answer, BadReview, Decision, Envelope, Handler, Opened, Request, Subject, failure,
};
use crate::clock::now;
use crate::decision::{Context, Judged, Policy, Report};
use crate::sources::{Limits, Source, evaluate};
use crate::telemetry::Metrics;
use crate::velero::text::single_line;

/// Most characters of a name of the request in the log; Kubernetes' own names have at most 253.
const LOGGED_NAME: usize = 253;

/// Most characters of the reasons in the log.
const LOGGED_WHY: usize = 1000;

/// What reviews need.
#[derive(Clone)]
pub(super) struct Reviewer {
    pub(super) source: Arc<dyn Source>,
    pub(super) policy: Arc<Policy>,
    pub(super) metrics: Arc<Metrics>,
}

impl Reviewer {
    /// Answers the review in `body`, which came to `handler` at `began`.
    pub(super) async fn answer(
        &self,
        handler: &'static Handler,
        body: &[u8],
        budget: Budget,
        began: Instant,
    ) -> Answer {
        let envelope = match Envelope::decode(body) {
            Ok(envelope) => envelope,
            Err(bad) => return refuse(&bad),
        };
        let request = match envelope.request() {
            Ok(request) => request,
            Err(bad) => return refuse(&bad),
        };
        let decide = async {
            match handler.open(&request) {
                Opened::Subject(subject) => {
                    self.evaluate(handler, &request, subject.as_ref(), budget)
                        .await
                }
                Opened::Unreadable(report) => self.apply_policy(handler, &request, &report),
                Opened::Foreign(answer) => {
                    self.metrics.foreign_reviews.inc();
                    answer
                }
            }
        };
        let answer = caught(decide).await;
        self.metrics.review(
            handler.path,
            request.operation.as_str(),
            answer.decision.as_str(),
            &answer.rules,
        );
        log(&request, &answer, began);
        answer
    }

    async fn evaluate(
        &self,
        handler: &Handler,
        request: &Request<'_>,
        subject: &dyn Subject,
        budget: Budget,
    ) -> Answer {
        let limits = Limits {
            deadline: budget.source,
            dry_run: request.dry_run,
        };
        let context = Context {
            policy: &self.policy,
            now: now(),
        };
        let evaluated = evaluate(subject, self.source.as_ref(), limits, context);
        match timeout_at(budget.answer, evaluated).await {
            Ok(Ok(report)) => self.apply_policy(handler, request, &report),
            Ok(Err(unmet)) => failure(500, unmet.to_string()),
            Err(_) => failure(
                503,
                "what the decision needs was not found in the time that the API server gives",
            ),
        }
    }

    fn apply_policy(&self, handler: &Handler, request: &Request<'_>, report: &Report) -> Answer {
        let judged = Judged::apply_policy(report, &self.policy);
        Answer::of(request, handler.mode, &judged, report)
    }
}

fn refuse(bad: &BadReview) -> Answer {
    let why = bad.to_string();
    tracing::info!(why = %single_line(&why, LOGGED_WHY), "request refused");
    failure(400, why)
}

/// The answer of `work`, or an internal error when it panics: one bad review must cost neither
/// its connection nor the process. Nothing that is shared is left half-written by that: reviews
/// write only to metrics.
pub(super) async fn caught(work: impl Future<Output = Answer>) -> Answer {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| failure(500, "the review failed; the log says where"))
}

/// One event for one review. A level is part of an event's identity, so each level has its own.
fn log(request: &Request<'_>, answer: &Answer, began: Instant) {
    macro_rules! event {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                uid = %single_line(request.uid, LOGGED_NAME),
                kind = %single_line(request.kind, LOGGED_NAME),
                namespace = %single_line(request.namespace, LOGGED_NAME),
                name = %single_line(request.name, LOGGED_NAME),
                operation = request.operation.as_str(),
                user = %single_line(request.username, LOGGED_NAME),
                dry_run = request.dry_run,
                decision = answer.decision.as_str(),
                rules = %answer.rules.join(","),
                why = %single_line(&answer.why, LOGGED_WHY),
                milliseconds = began.elapsed().as_secs_f64() * 1e3,
                $message
            )
        };
    }
    match (answer.http, answer.decision) {
        (503, _) => event!(warn, "review not decided"),
        (500.., _) => event!(error, "review failed"),
        (_, Decision::Deny) => event!(info, "review denied"),
        _ => event!(info, "review admitted"),
    }
}
