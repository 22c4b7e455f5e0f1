//! A bucket stays open, but no longer than it is what it was.

use super::*;

impl Scene {
    /// Lists with success, and returns how often all of the bundle has been read.
    async fn bundles_read(&self) -> usize {
        self.list("default").await.unwrap().unwrap();
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|path| path.ends_with(names::BUNDLE))
            .count()
    }

    fn connected(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns the last request to the store.
    fn last(&self) -> String {
        self.requests.lock().unwrap().last().unwrap().clone()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        change(self.objects.lock().unwrap().get_mut(name).unwrap());
    }
}

#[tokio::test]
async fn a_bucket_stays_open_and_what_it_is_made_of_is_asked_for_each_time() {
    let scene = Scene::start(Store::List, &json!({})).await;
    for times in 1..=3 {
        assert_eq!(scene.bundles_read().await, 1, "the bundle is parsed once");
        let asked = scene.asked.lock().unwrap().clone();
        let times_asked = |end: &str| asked.iter().filter(|path| path.ends_with(end)).count();
        for end in ["/default", "/cloud", "/velero-trust-ca#metadata"] {
            assert_eq!(times_asked(end), times, "{end}: {asked:?}");
        }
        assert_eq!(scene.listed.load(Ordering::Relaxed), times);
    }
    assert_eq!(scene.connected(), 1);
}

#[tokio::test]
async fn what_velero_writes_once_a_minute_changes_nothing() {
    let scene = Scene::start(Store::List, &json!({})).await;
    scene.bundles_read().await;
    scene.change("default", |location| {
        location["metadata"]["resourceVersion"] = json!("2");
        location["status"] = json!({"phase": "Available"});
    });
    scene.bundles_read().await;
    assert_eq!(scene.connected(), 1);
}

#[tokio::test]
async fn other_credentials_count_at_once() {
    let scene = Scene::start(Store::List, &json!({})).await;
    scene.bundles_read().await;
    assert!(scene.last().contains("Credential=a/"), "{}", scene.last());
    scene.change("cloud", |secret| *secret = keys("other"));
    assert_eq!(scene.bundles_read().await, 1, "the bundle is the same");
    assert!(
        scene.last().contains("Credential=other/"),
        "{}",
        scene.last()
    );
    assert_eq!(scene.connected(), 2);
    scene.objects.lock().unwrap().remove("cloud");
    let error = scene.error().await;
    assert!(error.message.contains("does not exist"), "{error:?}");
}

#[tokio::test]
async fn another_bucket_counts_at_once() {
    let scene = Scene::start(Store::List, &json!({})).await;
    scene.bundles_read().await;
    let bucket = "/spec/objectStorage/bucket";
    scene.change("default", |location| {
        *location.pointer_mut(bucket).unwrap() = json!("moved");
    });
    let listed = scene.list("default").await.unwrap().unwrap();
    assert_eq!(listed.location.bucket, "moved");
    assert!(scene.last().starts_with("GET /moved"), "{}", scene.last());
    // Another provider has the same settings, but no store.
    scene.change("default", |location| {
        location["spec"]["provider"] = json!("oss");
    });
    assert_eq!(scene.error().await.kind, LookupErrorKind::Unsupported);
    scene.objects.lock().unwrap().remove("default");
    assert_eq!(scene.list("default").await, Ok(None));
}

#[tokio::test]
async fn credentials_that_the_location_does_not_name_any_more_count_for_nothing() {
    let scene = Scene::start(Store::List, &json!({})).await;
    scene.bundles_read().await;
    scene.change("default", |location| {
        location["spec"]["credential"]["name"] = json!("new");
    });
    scene.objects.lock().unwrap().remove("cloud");
    scene.objects.lock().unwrap().insert("new", keys("n"));
    scene.bundles_read().await;
    assert!(scene.last().contains("Credential=n/"), "{}", scene.last());
}

#[tokio::test]
async fn another_bundle_counts_at_once() {
    let scene = Scene::start(Store::List, &json!({})).await;
    for (number, metadata) in [
        json!({"uid": "u", "resourceVersion": "1"}),
        json!({"uid": "u", "resourceVersion": "2"}),
        json!({"uid": "v", "resourceVersion": "2"}),
    ]
    .into_iter()
    .enumerate()
    {
        scene.change(names::BUNDLE, |bundle| bundle["metadata"] = metadata);
        assert_eq!(scene.bundles_read().await, number + 1);
        assert_eq!(scene.bundles_read().await, number + 1);
        assert_eq!(scene.connected(), number + 1, "of others nothing is left");
    }
    scene.objects.lock().unwrap().remove(names::BUNDLE);
    let error = scene.error().await;
    assert!(error.message.contains("is not there yet"), "{error:?}");
}

#[tokio::test]
async fn locations_of_a_namespace_share_its_roots_and_nothing_else() {
    let scene = Scene::start(Store::List, &json!({})).await;
    scene.bundles_read().await;
    let other = scene.objects.lock().unwrap()["default"].clone();
    scene.objects.lock().unwrap().insert("other", other);
    scene.list("other").await.unwrap().unwrap();
    assert_eq!(scene.bundles_read().await, 1);
    assert_eq!(scene.connected(), 2);
}

#[tokio::test]
async fn a_bucket_that_could_not_be_listed_is_opened_anew() {
    let scene = Scene::start(Store::Refuse(403, "AccessDenied"), &json!({})).await;
    for times in 1..=2 {
        assert_eq!(scene.error().await.kind, LookupErrorKind::Forbidden);
        assert_eq!(scene.connected(), times);
    }
}

#[tokio::test]
async fn a_bucket_that_nobody_asks_for_is_closed() {
    let patience = Patience {
        idle: SHORT,
        ..Patience::default()
    };
    let scene = Scene::start_with(Store::List, &json!({}), patience).await;
    assert_eq!(scene.bundles_read().await, 1);
    while scene.closed.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(scene.bundles_read().await, 2);
}
