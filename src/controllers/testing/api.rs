//! An API server in memory: objects by path, lists and watches of them, and everything that it was
//! asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use json_patch::merge;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::{BoxError, service_fn};

use super::gate::Gate;

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// What a test does with a request instead of the server.
type Hook = Arc<dyn Fn(&str, &str) -> Option<Act> + Send + Sync>;

/// What becomes of a request.
pub(in crate::controllers) enum Act {
    /// It is answered with this status.
    Refuse(u16),
    /// It is answered after this time.
    Delay(Duration),
    /// The connection ends.
    Break,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// What happened, with the version and the collection.
    events: Vec<(u64, String, Value)>,
    /// Method and path of each request that changes something, or reads one object.
    asked: Vec<(String, String)>,
    /// Each page of a list that was asked for.
    lists: Vec<String>,
    /// The fields of the status that the kinds do not declare.
    undeclared: &'static [&'static str],
}

/// The API server. Clones are the same server.
#[derive(Clone)]
pub(in crate::controllers) struct Api {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
    hook: Arc<Mutex<Option<Hook>>>,
    pub(in crate::controllers) gate: Gate,
}

impl Api {
    pub(in crate::controllers) fn new(gate: Gate) -> Self {
        Self {
            state: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
            hook: Arc::default(),
            gate,
        }
    }

    pub(in crate::controllers) fn client(&self) -> Client {
        let api = self.clone();
        let answer = move |request: Request<Body>| {
            let api = api.clone();
            async move { api.answer(request).await }
        };
        Client::new(service_fn(answer), "default")
    }

    /// Lets `hook` decide about the method and path of each request; a watch has the method WATCH,
    /// a list LIST.
    pub(in crate::controllers) fn set_hook(
        &self,
        hook: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
    ) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(in crate::controllers) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// Returns the objects of a collection, with their paths.
    pub(in crate::controllers) fn all(&self, collection: &str) -> Vec<(String, Value)> {
        let state = self.state();
        let prefix = format!("{collection}/");
        let objects = state.objects.iter();
        let objects = objects.filter(|(path, _)| path.starts_with(&prefix));
        objects
            .map(|(path, object)| (path.clone(), object.clone()))
            .collect()
    }

    /// Returns the first object of a collection, with its path.
    pub(in crate::controllers) fn first(&self, collection: &str) -> Option<(String, Value)> {
        self.all(collection).into_iter().next()
    }

    /// Stores an object, with a new resourceVersion.
    pub(in crate::controllers) fn put(&self, path: &str, object: Value) -> Value {
        self.store(path, Some(object))
    }

    pub(in crate::controllers) fn remove(&self, path: &str) {
        self.store(path, None);
    }

    /// Returns how often the server was asked this.
    pub(in crate::controllers) fn count(&self, method: &str, path: &str) -> usize {
        let state = self.state();
        let asked = state.asked.iter();
        asked
            .filter(|(its, at)| its == method && at.starts_with(path))
            .count()
    }

    /// Returns each page of a list that was asked for.
    pub(in crate::controllers) fn lists(&self) -> Vec<String> {
        self.state().lists.clone()
    }

    /// Refuses to apply a status with these fields, as an API server whose kinds do not declare them.
    pub(in crate::controllers) fn refuse_in_status(&self, fields: &'static [&'static str]) {
        self.state().undeclared = fields;
    }

    fn store(&self, path: &str, object: Option<Value>) -> Value {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        let (collection, name) = path.rsplit_once('/').unwrap();
        // Objects of a namespace are listed over all namespaces.
        let collection = match collection.split_once("/namespaces/") {
            Some((group, rest)) => {
                format!(
                    "{group}/{}",
                    rest.split_once('/').map_or("", |(_, kind)| kind)
                )
            }
            None => collection.to_owned(),
        };
        let is_new = !state.objects.contains_key(path);
        let (kind, object) = match object {
            Some(mut object) => {
                object["metadata"]["resourceVersion"] = json!(version.to_string());
                object["metadata"]["name"] = json!(name);
                state.objects.insert(path.to_owned(), object.clone());
                (if is_new { "ADDED" } else { "MODIFIED" }, object)
            }
            None => ("DELETED", state.objects.remove(path).unwrap_or_default()),
        };
        let event = json!({"type": kind, "object": object});
        state.events.push((version, collection, event));
        drop(state);
        // Another thread may have told of a later one.
        self.changed
            .send_modify(|latest| *latest = version.max(*latest));
        object
    }

    async fn answer(&self, request: Request<Body>) -> Result<Answer, BoxError> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let body = body.collect().await?.to_bytes();
        let is_list = head.method == Method::GET && is_collection(&path);
        let method = match () {
            () if query.contains("watch=") => "WATCH",
            () if is_list => "LIST",
            () => head.method.as_str(),
        };
        let hook = self.hook.lock().unwrap().clone();
        match hook.and_then(|hook| hook(method, &path)) {
            Some(Act::Refuse(code)) => return reply(code, &failure(code)),
            Some(Act::Break) => return Err("the connection ended".into()),
            Some(Act::Delay(time)) => tokio::time::sleep(time).await,
            None => {}
        }
        if method == "WATCH" {
            return Ok(self.watch(path, &query));
        }
        let is_step = !is_list && path != "/version" && !path.contains("/events");
        if is_step {
            self.gate.pass(&format!("{method} {path}")).await;
            let mut state = self.state();
            state.asked.push((method.to_owned(), path.clone()));
        }
        let (code, mut answer) = self.act(method, &path, &body);
        if is_list {
            self.state().lists.push(format!("LIST {path}"));
            select(&mut answer, &query);
            page(&mut answer, &query);
        }
        if is_step {
            self.gate.pass(&format!("after {method} {path}")).await;
        }
        reply(code, &answer)
    }

    fn act(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        if path == "/version" {
            return (200, json!({}));
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let own = path.strip_suffix("/status").unwrap_or(path);
        let now = self.get(own);
        match (method, now) {
            ("LIST", _) => {
                let state = self.state();
                let kind = path.rsplit('/').next().unwrap_or_default();
                let group = path.strip_suffix(kind).unwrap_or_default();
                let items = state.objects.iter().filter(|(at, _)| {
                    at.starts_with(group) && at.split('/').nth_back(1) == Some(kind)
                });
                let items: Vec<_> = items.map(|(_, object)| object).collect();
                let version = state.version.to_string();
                (
                    200,
                    json!({"metadata": {"resourceVersion": version}, "items": items}),
                )
            }
            ("POST", _) => {
                let name = body["metadata"]["name"].as_str().unwrap_or("event");
                let at = format!("{path}/{name}");
                if self.get(&at).is_some() {
                    return (409, failure(409));
                }
                (201, self.put(&at, body))
            }
            (_, None) => (404, failure(404)),
            ("GET", Some(now)) => (200, now),
            ("DELETE", Some(now)) => {
                self.remove(own);
                (200, now)
            }
            ("PATCH", Some(mut now)) => {
                for field in ["uid", "resourceVersion"] {
                    let given = &body["metadata"][field];
                    if !given.is_null() && *given != now["metadata"][field] {
                        return (409, failure(409));
                    }
                }
                if path == own {
                    merge(&mut now, &body);
                } else {
                    let mut undeclared = self.state().undeclared.to_vec();
                    undeclared.retain(|field| body["status"].get(field).is_some());
                    if !undeclared.is_empty() {
                        return (500, undeclared_failure(&undeclared));
                    }
                    now["status"] = body["status"].clone();
                }
                // What changes nothing is not stored again.
                if self.get(own).as_ref() == Some(&now) {
                    return (200, now);
                }
                (200, self.put(own, now))
            }
            _ => (405, failure(405)),
        }
    }

    fn watch(&self, path: String, query: &str) -> Answer {
        let version = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        let version: u64 = version
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        let changed = self.changed.subscribe();
        let api = self.clone();
        let lines = stream::unfold((version, changed, api, path), |state| async move {
            let (seen, mut changed, api, path) = state;
            loop {
                let latest = *changed.borrow_and_update();
                let lines: String = {
                    let state = api.state();
                    let new = state.events.iter().filter(|(version, collection, _)| {
                        *version > seen && *version <= latest && *collection == path
                    });
                    new.flat_map(|(_, _, event)| [event.to_string(), "\n".to_owned()])
                        .collect()
                };
                if !lines.is_empty() {
                    let frame = Ok::<_, BoxError>(Frame::data(Bytes::from(lines)));
                    return Some((frame, (latest, changed, api, path)));
                }
                changed.changed().await.ok()?;
            }
        });
        Response::new(UnsyncBoxBody::new(StreamBody::new(Box::pin(lines))))
    }
}

/// Leaves of a list the objects with the label that was asked for.
fn select(list: &mut Value, query: &str) {
    let mut pairs = query.split('&');
    let Some(selector) = pairs.find_map(|pair| pair.strip_prefix("labelSelector=")) else {
        return;
    };
    let selector = selector.replace("%2F", "/").replace("%3D", "=");
    let (label, value) = selector.split_once('=').unwrap();
    let items = list["items"].as_array_mut().unwrap();
    items.retain(|item| item["metadata"]["labels"][label] == value);
}

/// Leaves of a list the page that was asked for.
fn page(list: &mut Value, query: &str) {
    let number = |name: &str| {
        let mut values = query.split('&').filter_map(|pair| pair.strip_prefix(name));
        values.next().and_then(|text| text.parse::<usize>().ok())
    };
    let (Some(limit), Some(items)) = (number("limit="), list["items"].as_array_mut()) else {
        return;
    };
    let start = number("continue=").unwrap_or_default();
    let rest = items.split_off(start.min(items.len()));
    *items = rest;
    if items.len() > limit {
        items.truncate(limit);
        list["metadata"]["continue"] = json!((start + limit).to_string());
    }
}

/// Whether a path is that of a collection.
fn is_collection(path: &str) -> bool {
    let kinds = [
        "/backups",
        "/backuprecords",
        "/restores",
        "/podvolumebackups",
        "/deployments",
        "/pods",
        "/trustedkeys",
    ];
    kinds.iter().any(|kind| path.ends_with(kind))
}

fn failure(code: u16) -> Value {
    let reason = match code {
        404 => "NotFound",
        409 => "AlreadyExists",
        _ => "Unknown",
    };
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no"})
}

/// Returns how an API server refuses to apply fields that the kind does not declare.
fn undeclared_failure(fields: &[&str]) -> Value {
    let errors = fields
        .iter()
        .map(|field| format!(".status.{field}: field not declared in schema"));
    let errors: Vec<_> = errors.collect();
    let errors = match &errors[..] {
        [error] => error.clone(),
        errors => format!("errors:\n  {}", errors.join("\n  ")),
    };
    let message = format!(
        "failed to create typed patch object (/b; velero-trust.io/v1alpha1, Kind=BackupRecord): {errors}"
    );
    json!({"kind": "Status", "status": "Failure", "code": 500, "message": message})
}

fn reply(code: u16, answer: &Value) -> Result<Answer, BoxError> {
    let response = Response::builder()
        .status(code)
        .header("date", super::date_now());
    let body = Full::new(Bytes::from(answer.to_string()));
    let body = UnsyncBoxBody::new(body.map_err(|never| match never {}));
    Ok(response.body(body)?)
}
