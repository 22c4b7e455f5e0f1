//! The events of a watch: a list, and from its version on everything that changes.
//!
//! This does what kube's `watcher` does, with the same events and errors, and within bounds:
//!
//! - Objects are projected one by one while they arrive. kube holds a page three times: as bytes,
//!   as text and as values. Sixty objects of the largest size would need more memory than the
//!   Deployment has.
//! - A connection that went silent is given up after 45 seconds at the latest ([`Timing`]). To watch again from
//!   the last version is no list.

mod object;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use kube::api::{ListParams, Request, WatchParams};
use kube::runtime::watcher::{Config, Error, Event};
use kube::{Api, Client, Resource};
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use self::object::{WatchEvent, read_line, read_object};
use super::projection::Projected;
use super::timing::Timing;
use crate::kubernetes::streaming::{Body, ListSplitter, page_permit};

/// Objects in one page of a list. The API server holds a page as a whole.
const PAGE_SIZE: u32 = 50;

/// Largest buffer for lines of a watch that is kept while nothing arrives.
const MAX_IDLE_BUFFER_BYTES: usize = 16 << 10;

/// A watch that ends earlier counts as a failure.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// The status code for a version that is too old to continue from. The API server sends it as an
/// event, and may also answer with it.
const TOO_OLD: u16 = 410;

/// Projects the JSON text of an object; `None` if it counts as absent.
pub(super) type Project<V> = dyn Fn(&str) -> Option<V> + Send + Sync;

/// What to watch, and how to project its objects.
pub(super) struct ListWatch<V> {
    client: Client,
    request: Request,
    /// Whether only the metadata of the objects is read.
    is_metadata: bool,
    config: Config,
    timing: Timing,
    /// Projects the text of an object.
    project: Arc<Project<V>>,
}

enum State<V> {
    /// Begin with a new list.
    Start,
    /// Read the next page.
    Page {
        continue_token: Option<String>,
    },
    /// A page arrives.
    Listing(Page<V>),
    /// The list is complete.
    Listed {
        version: String,
    },
    Watching(Running<V>),
}

/// A page that arrives.
struct Page<V> {
    body: Body,
    splitter: ListSplitter,
    /// The objects that have arrived.
    objects: VecDeque<Result<Projected<V>, serde_json::Error>>,
    _permit: Option<SemaphorePermit<'static>>,
}

/// A watch that runs.
struct Running<V> {
    body: Body,
    started: Instant,
    /// When the watch is given up.
    until: Instant,
    /// The version of the last event.
    version: String,
    /// The line that has not arrived as a whole.
    line: Vec<u8>,
    events: VecDeque<Result<WatchEvent<V>, serde_json::Error>>,
}

type Step<V> = (Option<Result<Event<Projected<V>>, Error>>, State<V>);

impl<V: Send + 'static> ListWatch<V> {
    /// Watches the objects of `api` that the selectors of `config` select.
    pub(super) fn new<K: Resource>(
        api: Api<K>,
        config: &Config,
        timing: Timing,
        project: Arc<Project<V>>,
    ) -> Self {
        Self {
            request: Request::new(api.resource_url()),
            client: api.into_client(),
            is_metadata: K::metadata_api(),
            config: config.clone(),
            timing,
            project,
        }
    }

    /// Returns the events. The stream never ends, and goes on after an error.
    pub(super) fn events(self) -> impl Stream<Item = Result<Event<Projected<V>>, Error>> + Send {
        unfold((self, State::Start), |(watch, mut state)| async move {
            loop {
                let (event, next) = watch.step(state).await;
                match event {
                    Some(event) => return Some((event, (watch, next))),
                    None => state = next,
                }
            }
        })
    }

    async fn step(&self, state: State<V>) -> Step<V> {
        match state {
            State::Start => (
                Some(Ok(Event::Init)),
                State::Page {
                    continue_token: None,
                },
            ),
            State::Page { continue_token } => match self.list(continue_token).await {
                Ok(page) => (None, State::Listing(page)),
                Err(error) => (Some(Err(Error::InitialListFailed(error))), State::Start),
            },
            State::Listing(page) => self.next_of_page(page).await,
            State::Listed { version } => match self.watch(&version).await {
                Ok(running) => (None, State::Watching(running)),
                Err(error) => {
                    let is_too_old =
                        matches!(&error, kube::Error::Api(status) if status.code == TOO_OLD);
                    let next = if is_too_old {
                        State::Start
                    } else {
                        State::Listed { version }
                    };
                    (Some(Err(Error::WatchStartFailed(error))), next)
                }
            },
            State::Watching(running) => self.next_of_watch(running).await,
        }
    }

    async fn list(&self, continue_token: Option<String>) -> kube::Result<Page<V>> {
        let permit = page_permit().await;
        let params = ListParams {
            label_selector: self.config.label_selector.clone(),
            field_selector: self.config.field_selector.clone(),
            limit: Some(PAGE_SIZE),
            continue_token,
            ..ListParams::default()
        };
        let request = if self.is_metadata {
            self.request.list_metadata(&params)
        } else {
            self.request.list(&params)
        };
        let request = request.map_err(kube::Error::BuildRequest)?;
        Ok(Page {
            body: Body::request(&self.client, request, self.timing.answer).await?,
            splitter: ListSplitter::default(),
            objects: VecDeque::new(),
            _permit: permit,
        })
    }

    async fn next_of_page(&self, mut page: Page<V>) -> Step<V> {
        let failed = |error| (Some(Err(Error::InitialListFailed(error))), State::Start);
        match page.objects.pop_front() {
            Some(Ok(object)) => {
                return (Some(Ok(Event::InitApply(object))), State::Listing(page));
            }
            Some(Err(error)) => return failed(kube::Error::SerdeError(error)),
            None => {}
        }
        let Page {
            body,
            splitter,
            objects,
            ..
        } = &mut page;
        let read = |bytes: &[u8]| {
            splitter.push(bytes, |text| {
                objects.push_back(read_object(text, &*self.project).map(|(object, _)| object));
            });
        };
        match body.next_within(self.timing.answer, read).await {
            Ok(true) => return (None, State::Listing(page)),
            Ok(false) => {}
            Err(error) => return failed(error),
        }
        let metadata = match page.splitter.finish() {
            Ok(metadata) => metadata,
            Err(error) => return failed(kube::Error::SerdeError(error)),
        };
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = some(metadata.continue_token) {
            let continue_token = Some(token);
            return (None, State::Page { continue_token });
        }
        match some(metadata.resource_version) {
            Some(version) => (Some(Ok(Event::InitDone)), State::Listed { version }),
            None => (Some(Err(Error::NoResourceVersion)), State::Start),
        }
    }

    async fn watch(&self, version: &str) -> kube::Result<Running<V>> {
        let seconds = self.timing.next_watch();
        let started = Instant::now();
        let until = started + Duration::from_secs(seconds.into()) + self.timing.grace;
        let params = WatchParams {
            label_selector: self.config.label_selector.clone(),
            field_selector: self.config.field_selector.clone(),
            timeout: Some(seconds),
            bookmarks: true,
            send_initial_events: false,
        };
        let request = if self.is_metadata {
            self.request.watch_metadata(&params, version)
        } else {
            self.request.watch(&params, version)
        };
        let request = request.map_err(kube::Error::BuildRequest)?;
        Ok(Running {
            body: Body::request(&self.client, request, self.timing.answer).await?,
            started,
            until,
            version: version.to_owned(),
            line: Vec::new(),
            events: VecDeque::new(),
        })
    }

    async fn next_of_watch(&self, mut running: Running<V>) -> Step<V> {
        if let Some(event) = running.events.pop_front() {
            return apply(event, running);
        }
        let Running {
            body,
            line,
            events,
            until,
            ..
        } = &mut running;
        let read = |mut bytes: &[u8]| {
            while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                let (head, rest) = bytes.split_at(end);
                line.extend_from_slice(head);
                if !line.is_empty() {
                    events.push_back(read_line(line, &*self.project));
                }
                line.clear();
                line.shrink_to(MAX_IDLE_BUFFER_BYTES);
                bytes = rest.get(1..).unwrap_or_default();
            }
            line.extend_from_slice(bytes);
        };
        let error = match timeout_at(*until, body.next(read)).await {
            Ok(Ok(true)) => return (None, State::Watching(running)),
            Ok(Err(error)) if !is_end(&error) => Some(error),
            // One that always ends at once must not be tried without a pause.
            Ok(_) if running.started.elapsed() < SHORTEST_WATCH => {
                let error = io::Error::other("the watch ended as soon as it began");
                Some(kube::Error::ReadEvents(error))
            }
            // The API server ended it, the connection was closed, or it went silent.
            Ok(_) | Err(_) => None,
        };
        let version = running.version;
        let error = error.map(|error| Err(Error::WatchFailed(error)));
        (error, State::Listed { version })
    }
}

/// Returns the event of a line, and how the watch goes on.
fn apply<V>(event: Result<WatchEvent<V>, serde_json::Error>, mut running: Running<V>) -> Step<V> {
    let (event, version) = match event {
        Ok(WatchEvent::Applied(object, version)) => (Some(Event::Apply(object)), version),
        Ok(WatchEvent::Deleted(object, version)) => (Some(Event::Delete(object)), version),
        Ok(WatchEvent::Bookmark(version)) => (None, version),
        Ok(WatchEvent::Error(status)) => {
            let next = match status.code {
                TOO_OLD => State::Start,
                _ => State::Listed {
                    version: running.version,
                },
            };
            return (Some(Err(Error::WatchError(status))), next);
        }
        Err(error) => {
            let error = Error::WatchFailed(kube::Error::SerdeError(error));
            // What cannot be read now may be read as part of a list.
            return (Some(Err(error)), State::Start);
        }
    };
    if version.is_empty() {
        return (Some(Err(Error::NoResourceVersion)), State::Start);
    }
    running.version = version;
    (event.map(Ok), State::Watching(running))
}

/// Whether the error only says that the connection was closed in the middle of the body, as a
/// restart of the API server or of a load balancer does.
fn is_end(error: &kube::Error) -> bool {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        let is_eof = io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
        // hyper has no kind for the end of a body between two chunks.
        if is_eof || error.to_string().contains("unexpected EOF") {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
