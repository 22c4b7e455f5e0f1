//! Answers one review, from the bytes of its body.

use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::body::RequestBody;
use super::budget::Budget;
use super::memory::MemoryPermit;
use super::review_log::ReviewLog;
use crate::admission::activation::canary;
use crate::admission::{
    Answer, BadReview, Decision, Envelope, Handler, Mode, Opened, Request, ReviewedObject, failure,
};
use crate::clock::now;
use crate::decision::{Context, Judged, Policy, Report};
use crate::sources::{LookupOptions, Source, evaluate};
use crate::telemetry::Metrics;
use crate::velero::text::single_line;

/// Maximum number of characters of a request's name in the log; Kubernetes' own names have at most
/// 253.
const MAX_LOGGED_NAME_CHARS: usize = 253;

/// Maximum number of characters of the reasons in the log.
const MAX_LOGGED_REASON_CHARS: usize = 1000;

/// Creates the span of a review, so that each line logged inside it names the review. A level is
/// part of a span's identity, so each level has its own.
macro_rules! review_span {
    ($level:ident, $request:expr) => {
        tracing::$level!(
            "review",
            uid = %single_line($request.uid, MAX_LOGGED_NAME_CHARS),
            kind = %single_line($request.kind, MAX_LOGGED_NAME_CHARS),
            namespace = %single_line($request.namespace, MAX_LOGGED_NAME_CHARS),
            name = %single_line($request.name, MAX_LOGGED_NAME_CHARS),
        )
    };
}

/// Where a review came from, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The address of the client, if it is known.
    pub(super) caller: Option<IpAddr>,
    pub(super) began: Instant,
}

/// Answers reviews.
#[derive(Clone)]
pub(super) struct Reviewer {
    pub(super) source: Arc<dyn Source>,
    pub(super) policy: Arc<Policy>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Arc<ReviewLog>,
}

impl Reviewer {
    /// Answers the review in `body`, which `handler` received from `origin`. Returns the answer and
    /// the memory of the review.
    pub(super) async fn review(
        self,
        handler: &'static Handler,
        body: RequestBody,
        budget: Budget,
        origin: Origin,
    ) -> (Answer, MemoryPermit) {
        let RequestBody { bytes, permit } = body;
        let answer = catch_panic(self.answer(handler, &bytes, budget, origin)).await;
        (answer, permit)
    }

    async fn answer(
        &self,
        handler: &'static Handler,
        body: &[u8],
        budget: Budget,
        origin: Origin,
    ) -> Answer {
        let envelope = match Envelope::decode(body) {
            Ok(envelope) => envelope,
            Err(bad) => return self.refuse(&bad, origin),
        };
        let request = match envelope.request() {
            Ok(request) => request,
            Err(bad) => return self.refuse(&bad, origin),
        };
        // It shows that the API server reaches velero-trust, and is neither counted nor logged.
        if handler.path == canary::HANDLER.path {
            return canary::answer(&request);
        }
        let decide = async {
            match handler.open(&request) {
                Opened::ReviewedObject(subject) => {
                    self.evaluate(handler, &request, subject.as_ref(), budget, origin)
                        .await
                }
                Opened::Unreadable(report) => self.apply_policy(handler, &request, &report),
                Opened::NotReviewed(answer) => {
                    self.metrics.foreign_reviews.inc();
                    answer
                }
            }
        };
        // At `info`, like the final event of a review: where that is filtered out, the span costs
        // nothing.
        let span = review_span!(info_span, request);
        let mut answer = catch_panic(decide).instrument(span.clone()).await;
        if handler.mode == Mode::Gate {
            answer.retry_after = None;
        }
        self.metrics.count_review(
            handler.path,
            request.operation.as_str(),
            answer.decision.as_str(),
            &answer.rules,
        );
        // A failure is logged above `info`, so it names the review even where the span is filtered
        // out.
        let span = if span.is_disabled() && answer.http >= 500 {
            review_span!(error_span, request)
        } else {
            span
        };
        let kind = LineKind::of(&answer);
        if self.log.admits(origin.caller, kind.as_str()) {
            span.in_scope(|| log_answer(kind, &request, &answer, origin.began));
        }
        answer
    }

    async fn evaluate(
        &self,
        handler: &Handler,
        request: &Request<'_>,
        subject: &dyn ReviewedObject,
        budget: Budget,
        origin: Origin,
    ) -> Answer {
        let options = LookupOptions {
            deadline: budget.source,
            dry_run: request.dry_run,
            caller: origin.caller,
        };
        let context = Context {
            policy: &self.policy,
            now: now(),
        };
        let evaluated = evaluate(subject, self.source.as_ref(), options, context);
        match timeout_at(budget.answer, evaluated).await {
            Ok(Ok(report)) => self.apply_policy(handler, request, &report),
            Ok(Err(unmet)) => failure(500, unmet.to_string()),
            Err(_) => failure(
                503,
                "what the decision needs was not found in the time that the API server gives",
            ),
        }
    }

    fn refuse(&self, bad: &BadReview, origin: Origin) -> Answer {
        let why = bad.to_string();
        if self.log.admits(origin.caller, REFUSED) {
            tracing::info!(why = %single_line(&why, MAX_LOGGED_REASON_CHARS), "request refused");
        }
        failure(400, why)
    }

    fn apply_policy(&self, handler: &Handler, request: &Request<'_>, report: &Report) -> Answer {
        let judged = Judged::apply_policy(report, &self.policy);
        Answer::of(request, handler.mode, &judged, report)
    }
}

/// Returns the answer of `work`, or an internal error if it panics: one bad review must break
/// neither its connection nor the process. A panic leaves no shared state half-written, because
/// reviews write only to metrics.
async fn catch_panic(work: impl Future<Output = Answer>) -> Answer {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| failure(500, "the review failed; the log says where"))
}

/// The kind of the lines about requests that are no reviews.
pub(super) const REFUSED: &str = "refused";

/// The kind of the final event of a review.
#[derive(Clone, Copy, Debug)]
enum LineKind {
    Admitted,
    Denied,
    Failed,
    NotDecided,
    Waiting,
}

impl LineKind {
    const fn of(answer: &Answer) -> Self {
        match (answer.http, answer.decision) {
            (_, Decision::Wait) => Self::Waiting,
            (503, _) => Self::NotDecided,
            (500.., _) => Self::Failed,
            (_, Decision::Deny) => Self::Denied,
            _ => Self::Admitted,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::NotDecided => "not decided",
            Self::Waiting => "waiting",
        }
    }
}

/// Logs the final event of a review, inside its span. A level is part of an event's identity, so
/// each level has its own. Whoever reaches the port says in a review who the user is.
fn log_answer(kind: LineKind, request: &Request<'_>, answer: &Answer, began: Instant) {
    macro_rules! event {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                operation = request.operation.as_str(),
                claimed_user = %single_line(request.username, MAX_LOGGED_NAME_CHARS),
                dry_run = request.dry_run,
                decision = answer.decision.as_str(),
                rules = %answer.rules.join(","),
                why = %single_line(&answer.why, MAX_LOGGED_REASON_CHARS),
                // Whole microseconds: more digits are noise.
                milliseconds = (began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
                $message
            )
        };
    }
    match kind {
        LineKind::Waiting => event!(info, "review waits"),
        LineKind::NotDecided => event!(warn, "review not decided"),
        LineKind::Failed => event!(error, "review failed"),
        LineKind::Denied => event!(info, "review denied"),
        LineKind::Admitted => event!(info, "review admitted"),
    }
}
