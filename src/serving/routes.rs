//! The paths of the webhook, and the HTTP checks that precede a review.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::Response;
use axum::routing::post;
use tokio::time::Instant;

use super::activity::{AnswersReview, Peer};
use super::body::{BodyError, BodyReader, discard_body};
use super::budget::Budget;
use super::large::ReviewRunner;
use super::memory::MemoryPermit;
use super::review::{Origin, REFUSED, Reviewer};
use super::settings::{Caps, Timeouts};
use super::writing;
use crate::admission::activation::canary;
use crate::admission::{Answer, HANDLERS, Handler, failure};

/// The status code of a body that is no review.
const BAD_REQUEST: u16 = 400;

/// What the paths of webhooks begin with, in all versions.
const WEBHOOK_PATHS: [&str; 2] = ["/validate/", "/mutate/"];

/// Returns a router with one path per handler, and that of the canary. Any other request is refused in a form that the API
/// server can read.
pub(super) fn router(reviewer: Reviewer, timeouts: &Timeouts, caps: &Caps) -> Router {
    let service = Arc::new(AdmissionService {
        reader: BodyReader::new(caps.memory, caps.small_memory),
        runner: ReviewRunner::default(),
        reviewer,
        body: timeouts.body,
    });
    let handlers = HANDLERS.into_iter().chain([&canary::HANDLER]);
    let routes = handlers.fold(Router::new(), |router, handler| {
        let service = Arc::clone(&service);
        let serve = move |request| {
            let service = Arc::clone(&service);
            async move { service.serve(handler, request).await }
        };
        router.route(handler.path, post(serve))
    });
    let unknown = Arc::clone(&service);
    routes
        .fallback(move |request| async move { unknown.refuse_path(request) })
        .method_not_allowed_fallback(move |request| async move {
            service.refuse(request, failure(405, "a review comes with POST"))
        })
}

/// Receives requests, and answers each with an AdmissionReview or an HTTP error.
struct AdmissionService {
    reader: BodyReader,
    runner: ReviewRunner,
    reviewer: Reviewer,
    body: std::time::Duration,
}

impl AdmissionService {
    async fn serve(&self, handler: &'static Handler, request: Request) -> Response {
        let began = Instant::now();
        let budget = Budget::of(request.uri().query(), began);
        let deadline = budget.answer.min(began + self.body);
        let peer = request.extensions().get::<Peer>().cloned();
        let caller = peer.as_ref().map(|peer| peer.source.ip());
        let response = match self.reader.read(handler, request, deadline).await {
            Ok(body) => {
                if let Some(peer) = &peer {
                    peer.begin_review(Instant::now());
                }
                let bytes = body.bytes.len();
                let origin = Origin { caller, began };
                let review = self.reviewer.clone().review(handler, body, budget, origin);
                let (answer, permit) = self.runner.run(bytes, budget, review).await;
                if let Some(peer) = &peer {
                    peer.end_review(Instant::now());
                }
                let is_review = answer.http != BAD_REQUEST;
                let mut response = self.respond_with(answer, permit, caller);
                if is_review {
                    response.extensions_mut().insert(AnswersReview);
                }
                response
            }
            Err(error) => self.respond(self.refuse_body(&error, caller)),
        };
        self.reviewer
            .metrics
            .observe_duration(handler.path, began.elapsed());
        response
    }

    /// Turns an answer into a response that holds the memory of its review until it is written.
    fn respond_with(
        &self,
        answer: Answer,
        permit: Option<MemoryPermit>,
        caller: Option<IpAddr>,
    ) -> Response {
        let Some(mut permit) = permit else {
            return self.respond(answer);
        };
        if let Err(exhausted) = permit.grow_to(answer.body.len()) {
            return self.respond(self.refuse_body(&exhausted.into(), caller));
        }
        let mut response = self.respond(answer);
        writing::attach(&mut response, permit);
        response
    }

    /// Answers a request for a path that no handler has. Where a webhook may have it in another
    /// version, the API server is asked to try another replica at once: during an upgrade, two
    /// versions are behind one Service. It would not repeat a request that is answered with 404.
    fn refuse_path(&self, request: Request) -> Response {
        let path = request.uri().path();
        let answer = if WEBHOOK_PATHS.iter().any(|prefix| path.starts_with(prefix)) {
            let why =
                "this version has no webhook with this path; a replica of another may have it";
            Answer {
                retry_after: Some(0),
                ..failure(503, why)
            }
        } else {
            failure(404, "no webhook has this path")
        };
        self.refuse(request, answer)
    }

    fn refuse(&self, request: Request, answer: Answer) -> Response {
        discard_body(request, Instant::now() + self.body);
        self.respond(answer)
    }

    fn refuse_body(&self, error: &BodyError, caller: Option<IpAddr>) -> Answer {
        if self.reviewer.log.admits(caller, REFUSED) {
            tracing::info!(why = %error, "request refused");
        }
        failure(error.code(), error.to_string())
    }

    fn respond(&self, answer: Answer) -> Response {
        if answer.http != 200 {
            self.reviewer.metrics.count_error(answer.http);
        }
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = http::StatusCode::from_u16(answer.http)
            .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = answer.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
