//! Reads the records of a Backup, and the keys that sign them.

use std::ops::ControlFlow;

use kube::api::ListParams;
use kube::{Api, Client, Error};

use crate::decision::{self, Key, RecordState};
use crate::kubernetes::crds::{BackupRecord, TrustedKey, record_name};
use crate::names::{BACKUP_LABEL, LOCATION_LABEL, LOST_SCHEDULE_LABEL};
use crate::velero::label::label_value;

/// Number of records in one page of a list. Each has up to 70 KiB, most of it the envelope.
const PAGE_SIZE: u32 = 20;

/// Most records of Backups of one name that are read: those of a backup that is made anew under its
/// name each hour for the time that records are kept have fewer pages than this.
const MAX_PAGES: usize = 150;

/// Most lost backups of a Schedule that are looked at. Some of them are named.
const MAX_LOST: usize = 50;

/// Reads the record of `backup`, whose Backup has `uid`. If its files are not recorded in that, reads
/// those of all Backups of the name: the sync gives a Backup another uid than its record has. Returns
/// `None` if the kind is not installed.
pub(super) async fn read(
    client: &Client,
    backup: &Key,
    uid: &str,
) -> kube::Result<Option<Vec<decision::BackupRecord>>> {
    let records = Api::<BackupRecord>::all(client.clone());
    let own = match records.get(&record_name(&backup.name, uid)).await {
        Ok(own) => Some(decision::BackupRecord::from(own)),
        // Of a group that is not installed, the API server says so in a text of its own.
        Err(Error::Api(status)) if status.code == 404 => None,
        Err(error) => return Err(error),
    };
    if let Some(own) = own.filter(|own| own.state == RecordState::Recorded) {
        return Ok(Some(vec![own]));
    }
    let mut found = Vec::new();
    let visited = visit(&records, BACKUP_LABEL, &backup.name, |record| {
        if record.backup == *backup {
            found.push(record);
        }
        ControlFlow::Continue(())
    });
    match visited.await? {
        Visited::All => Ok(Some(found)),
        Visited::NoKind => Ok(None),
        Visited::Part => {
            let message = format!("there are more than {MAX_PAGES} pages of records of this name");
            Err(Error::Service(message.into()))
        }
    }
}

/// Returns whether files of backups of `location` in `namespace` are recorded and signed. They count as
/// signed where there are too many others to tell. Returns `None` if the kind is not installed.
pub(super) async fn are_signed(
    client: &Client,
    namespace: &str,
    location: &str,
) -> kube::Result<Option<bool>> {
    let records = Api::all(client.clone());
    let mut are_signed = false;
    let visited = visit(&records, LOCATION_LABEL, location, |record| {
        are_signed = record.is_signed_in(namespace, location);
        if are_signed {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    Ok(match visited.await? {
        Visited::All => Some(are_signed),
        Visited::Part => Some(true),
        Visited::NoKind => None,
    })
}

/// Reads the records of backups of a Schedule that went away without anybody wanting it, as many as are looked at.
/// Returns `None` if the kind is not installed.
pub(super) async fn lost(
    client: &Client,
    namespace: &str,
    schedule: &str,
) -> kube::Result<Option<Vec<decision::BackupRecord>>> {
    let records = Api::all(client.clone());
    let mut found = Vec::new();
    let visited = visit(&records, LOST_SCHEDULE_LABEL, schedule, |record| {
        if record.is_lost_in(namespace) {
            found.push(record);
        }
        if found.len() < MAX_LOST {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    Ok(match visited.await? {
        Visited::All | Visited::Part => Some(found),
        Visited::NoKind => None,
    })
}

/// How many of the records with a label were visited.
enum Visited {
    All,
    Part,
    /// The kind is not installed.
    NoKind,
}

/// Reads the records whose label `key` stands for `name`, page by page, until `take` breaks.
async fn visit(
    records: &Api<BackupRecord>,
    key: &str,
    name: &str,
    mut take: impl FnMut(decision::BackupRecord) -> ControlFlow<()>,
) -> kube::Result<Visited> {
    let label = format!("{key}={}", label_value(name));
    let mut params = ListParams::default().labels(&label).limit(PAGE_SIZE);
    for _ in 0..MAX_PAGES {
        let page = match records.list(&params).await {
            Ok(page) => page,
            Err(Error::Api(status)) if status.code == 404 => return Ok(Visited::NoKind),
            Err(error) => return Err(error),
        };
        let mut found = page.items.into_iter().map(decision::BackupRecord::from);
        if found.try_for_each(&mut take).is_break() {
            return Ok(Visited::Part);
        }
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => params = params.continue_token(&next),
            _ => return Ok(Visited::All),
        }
    }
    Ok(Visited::Part)
}

/// Reads all keys. Returns `None` if the kind is not installed.
pub(super) async fn trusted_keys(
    client: &Client,
) -> kube::Result<Option<Vec<decision::TrustedKey>>> {
    let keys = Api::<TrustedKey>::all(client.clone());
    match keys.list(&ListParams::default()).await {
        Ok(keys) => Ok(Some(keys.items.into_iter().map(Into::into).collect())),
        Err(Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::{BoxError, service_fn};

    use super::*;

    const UID: &str = "3f2a0000-0000-4000-8000-00000000000a";

    fn record(namespace: &str, uid: &str, state: &str) -> Value {
        json!({
            "apiVersion": "velero-trust.io/v1alpha1", "kind": "BackupRecord",
            "metadata": {"name": record_name("b", uid)},
            "spec": {"namespace": namespace, "backup": "b", "uid": uid},
            "status": {"state": state},
        })
    }

    /// Returns a client of an API server with `own` and the pages of `all`; without the kind if `all` is `None`.
    /// The paths that are asked for are collected.
    fn serve(
        own: Option<Value>,
        all: Option<Vec<Vec<Value>>>,
    ) -> (Client, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let server = service_fn(move |request: Request<Body>| {
            let uri = request.uri().clone();
            let path = uri.path().to_owned();
            let query = uri.query().unwrap_or_default().to_owned();
            seen.lock().unwrap().push(format!("{path}?{query}"));
            let not_found = || (404, "404 page not found\n".to_owned());
            let (code, body) = if path.ends_with("/backuprecords") {
                let next = query.split("continue=").nth(1);
                let index: usize = next.map_or(0, |next| next.parse().unwrap());
                all.as_ref().map_or_else(not_found, |pages| {
                    let next = (index + 1 < pages.len()).then(|| (index + 1).to_string());
                    let list = json!({
                        "kind": "BackupRecordList", "apiVersion": "velero-trust.io/v1alpha1",
                        "metadata": {"continue": next}, "items": pages[index],
                    });
                    (200, list.to_string())
                })
            } else {
                let own = own.as_ref().map(|own| (200, own.to_string()));
                own.unwrap_or_else(not_found)
            };
            async move {
                let response = Response::builder().status(code);
                Ok::<_, BoxError>(response.body(Body::from(body.into_bytes())).unwrap())
            }
        });
        (Client::new(server, "default"), asked)
    }

    /// Reads the records of Backup `velero/b`. Returns the uids that were read, and the paths that were asked
    /// for.
    async fn read_from(
        own: Option<Value>,
        all: Option<Vec<Vec<Value>>>,
    ) -> (kube::Result<Option<Vec<String>>>, Vec<String>) {
        let (client, asked) = serve(own, all);
        let read = read(&client, &Key::new("velero", "b"), UID).await;
        let uids = |records: Vec<decision::BackupRecord>| {
            records.into_iter().map(|record| record.uid).collect()
        };
        let asked = asked.lock().unwrap().clone();
        (read.map(|records| records.map(uids)), asked)
    }

    #[tokio::test]
    async fn a_record_of_the_uid_is_one_request() {
        let (read, asked) = read_from(Some(record("velero", UID, "Recorded")), None).await;
        assert_eq!(read.unwrap(), Some(vec![UID.to_owned()]));
        assert_eq!(asked.len(), 1);
        assert!(
            asked[0].contains(&format!("/backuprecords/b.{UID}")),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn all_of_the_name_are_read_unless_it_is_recorded() {
        let pages = vec![
            vec![
                record("velero", "v", "Recorded"),
                record("other", "w", "Recorded"),
            ],
            vec![record("velero", UID, "Unobserved")],
        ];
        let unobserved = Some(record("velero", UID, "Unobserved"));
        for own in [unobserved, None] {
            let (read, asked) = read_from(own, Some(pages.clone())).await;
            assert_eq!(read.unwrap(), Some(vec!["v".to_owned(), UID.to_owned()]));
            assert_eq!(asked.len(), 3);
            assert!(
                asked[1].contains("velero-trust.io%2Fbackup%3Db"),
                "{asked:?}"
            );
        }
    }

    #[tokio::test]
    async fn one_signed_backup_of_the_location_is_enough() {
        let located = |namespace, state, location: &str| {
            let mut record = record(namespace, "v", state);
            record["status"]["location"] = json!({"name": location, "bucket": "b"});
            record
        };
        let signed = || located("velero", "Recorded", "default");
        let others = || {
            vec![
                located("other", "Recorded", "default"),
                located("velero", "Recorded", "archive"),
                located("velero", "Unobserved", "default"),
            ]
        };
        for (pages, expected, asked_for) in [
            (Some(vec![others(), others()]), Some(false), 2),
            (
                Some(vec![others(), vec![signed()], others()]),
                Some(true),
                2,
            ),
            (Some(vec![others(); MAX_PAGES + 1]), Some(true), MAX_PAGES),
            (None, None, 1),
        ] {
            let (client, asked) = serve(None, pages);
            let found = are_signed(&client, "velero", "default").await.unwrap();
            let asked = asked.lock().unwrap();
            assert_eq!((found, asked.len()), (expected, asked_for));
            assert!(
                asked[0].contains("velero-trust.io%2Flocation%3Ddefault"),
                "{asked:?}"
            );
        }
    }

    #[tokio::test]
    async fn without_the_kind_there_are_none_and_too_many_are_not_judged() {
        let (read, _) = read_from(None, None).await;
        assert_eq!(read.unwrap(), None);
        let (read, asked) = read_from(None, Some(vec![Vec::new(); MAX_PAGES + 1])).await;
        assert!(read.unwrap_err().to_string().contains("150 pages"));
        assert_eq!(asked.len(), 1 + MAX_PAGES);
    }
}
