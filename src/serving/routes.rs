//! The paths of the webhook, and the HTTP checks that precede a review.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::Response;
use axum::routing::post;
use tokio::time::Instant;

use super::body::{BodyError, BodyReader};
use super::budget::Budget;
use super::large::ReviewRunner;
use super::memory::MemoryPermit;
use super::review::Reviewer;
use super::settings::{Caps, Timeouts};
use super::writing;
use crate::admission::{Answer, HANDLERS, Handler, failure};

/// Returns a router with one path per handler. Any other request is refused in a form that the API
/// server can read.
pub(super) fn router(reviewer: Reviewer, timeouts: &Timeouts, caps: &Caps) -> Router {
    let service = Arc::new(AdmissionService {
        reader: BodyReader::new(caps.memory),
        runner: ReviewRunner::default(),
        reviewer,
        body: timeouts.body,
    });
    let routes = HANDLERS.into_iter().fold(Router::new(), |router, handler| {
        let service = Arc::clone(&service);
        let serve = move |request| {
            let service = Arc::clone(&service);
            async move { service.serve(handler, request).await }
        };
        router.route(handler.path, post(serve))
    });
    let unknown = Arc::clone(&service);
    routes
        .fallback(move || async move {
            unknown.respond(failure(404, "no webhook has this path"), false)
        })
        .method_not_allowed_fallback(move || async move {
            service.respond(failure(405, "a review comes with POST"), false)
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
        let response = match self.reader.read(handler, request, deadline).await {
            Ok(body) => {
                let bytes = body.bytes.len();
                let review = self.reviewer.clone().review(handler, body, budget, began);
                let (answer, permit) = self.runner.run(bytes, budget, review).await;
                self.respond_with(answer, permit)
            }
            Err(error) => self.respond(refuse(&error), true),
        };
        self.reviewer
            .metrics
            .observe_duration(handler.path, began.elapsed());
        response
    }

    /// Turns an answer into a response that holds the memory of its review until it is written.
    fn respond_with(&self, answer: Answer, permit: Option<MemoryPermit>) -> Response {
        let Some(mut permit) = permit else {
            return self.respond(answer, false);
        };
        if let Err(exhausted) = permit.grow_to(answer.body.len()) {
            return self.respond(refuse(&exhausted.into()), false);
        }
        let mut response = self.respond(answer, false);
        writing::attach(&mut response, permit);
        response
    }

    /// Turns an answer into a response. With `close`, the connection ends after it.
    fn respond(&self, answer: Answer, close: bool) -> Response {
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
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn refuse(error: &BodyError) -> Answer {
    tracing::info!(why = %error, "request refused");
    failure(error.code(), error.to_string())
}
