use super::*;
use crate::admission::activation::{Heard, Outcome};
use crate::admission::{HANDLERS, Handler};
use serde_json::json;
use velero_trust_testing::pki::Authority;

const OWN: &str = "guards";

const NONE: [usize; 0] = [];

/// A time within the validity period of what [`Authority`] issues.
const NOW: i64 = 1_790_000_000;

/// An installation whose API server is new, whose replicas are there, and whose canary answered.
struct Scene {
    certificate: ServingCertificate,
    ca: String,
    canary: Canary,
    kubernetes: (u32, u32),
    stopped: Option<Stopped>,
    is_rolled_out: bool,
    is_external: bool,
    source: Source,
}

/// Where the CA comes from.
enum Source {
    File,
    /// It is velero-trust's own; others are kept until then.
    Own(i64),
    Nowhere,
}

impl Scene {
    fn new() -> Self {
        let authority = Authority::new("ours").unwrap();
        let hosts = ["velero-trust.guards.svc"];
        let pem = authority.server_named("webhook", &hosts).unwrap();
        Self {
            certificate: ServingCertificate::from_pem(pem.certificate_pem.as_bytes()).unwrap(),
            ca: authority.pem(),
            canary: heard(&[Outcome::Answered; 3]),
            kubernetes: (1, 30),
            stopped: None,
            is_rolled_out: true,
            is_external: false,
            source: Source::File,
        }
    }

    /// Lets another CA issue the certificate. Returns the one before.
    fn renew(&mut self) -> String {
        let next = Self::new();
        self.certificate = next.certificate;
        std::mem::replace(&mut self.ca, next.ca)
    }

    fn plan(&self, configurations: &[Configuration]) -> Plan {
        let cas = match self.source {
            Source::File => Ok(Cas::of_file(self.ca.clone())),
            Source::Own(until) => Ok(Cas::own(self.ca.clone(), until)),
            Source::Nowhere => Err("no such file"),
        };
        let ca = cas.as_ref().map_err(|why| *why);
        let facts = Facts {
            namespace: OWN,
            kubernetes: self.kubernetes,
            stopped: self.stopped,
            is_rolled_out: self.is_rolled_out,
            certificate: Some(&self.certificate),
            ca,
            is_external: self.is_external,
            canary: &self.canary,
            now: NOW,
        };
        plan(facts, configurations)
    }

    /// Returns a configuration of the canary and one for `handler`, with what a plan sets.
    fn active(&self, handler: &Handler) -> Vec<Configuration> {
        let mut all = inactive(handler);
        let plan = self.plan(&all);
        set(&mut all, &plan);
        let plan = self.plan(&all);
        set(&mut all, &plan);
        assert_eq!(self.plan(&all).changes, []);
        all
    }
}

fn heard(outcomes: &[Outcome]) -> Canary {
    let mut canary = Canary::default();
    for outcome in outcomes {
        canary.note(Heard {
            outcome: *outcome,
            said: String::new(),
        });
    }
    canary
}

fn configuration(name: &str, path: &str) -> Configuration {
    let service = json!({"name": "velero-trust", "namespace": OWN, "path": path});
    Configuration {
        name: format!("ValidatingWebhookConfiguration {name}"),
        metadata: json!({}),
        webhooks: vec![
            json!({"name": format!("{name}.velero-trust.io"), "clientConfig": {"service": service}}),
        ],
        was_active: false,
    }
}

/// As `kubectl apply` and `kubectl replace` leave them.
fn inactive(handler: &Handler) -> Vec<Configuration> {
    vec![
        configuration("canary", "/validate/canary"),
        configuration("one", handler.path),
    ]
}

/// Applies a plan as the API server would.
fn set(all: &mut [Configuration], plan: &Plan) {
    for (index, webhooks) in &plan.changes {
        let configuration = &mut all[*index];
        for (live, new) in configuration.webhooks.iter_mut().zip(webhooks) {
            json_patch::merge(live, new);
        }
        let name = configuration.webhooks[0]["name"].clone();
        let key = format!("k:{}", json!({"name": name}));
        let fields = json!({"f:webhooks": {key: {"f:clientConfig": {"f:caBundle": {}}}}});
        configuration.metadata = json!({"managedFields": [
            {"manager": "velero-trust", "operation": "Apply", "fieldsV1": fields},
        ]});
    }
}

fn changed(plan: &Plan) -> Vec<usize> {
    plan.changes.iter().map(|(index, _)| *index).collect()
}

#[test]
fn the_canary_comes_first_and_then_what_waits_for_it() {
    let mut scene = Scene::new();
    scene.canary = Canary::default();
    let mut all = inactive(HANDLERS[0]);
    let first = scene.plan(&all);
    assert_eq!(changed(&first), [0]);
    assert!(first.waits_for_canary && !first.has_canary, "{first:?}");
    let (_, canary) = &first.changes[0];
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": OWN}});
    assert_eq!(canary[0]["namespaceSelector"], selector);
    set(&mut all, &first);
    let second = scene.plan(&all);
    assert_eq!(changed(&second), NONE);
    assert!(second.waits_for_canary && second.has_canary);
    assert_eq!(second.held, None, "it is not known yet");
    scene.canary = heard(&[Outcome::Answered; 2]);
    assert_eq!(changed(&scene.plan(&all)), NONE, "twice is not enough");
    scene.canary = heard(&[Outcome::Answered; 3]);
    let third = scene.plan(&all);
    assert_eq!(changed(&third), [1]);
    let (_, webhooks) = &third.changes[0];
    let operations = HANDLERS[0].operations.iter().map(|one| one.as_str());
    let operations: Vec<_> = operations.collect();
    assert_eq!(webhooks[0]["rules"][0]["operations"], json!(operations));
    // Nothing else of the webhook is set, so that nobody is fought over it.
    let mut fields: Vec<_> = webhooks[0].as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["clientConfig", "name", "rules"]);
    assert_eq!(
        webhooks[0]["clientConfig"],
        json!({"caBundle": STANDARD.encode(&scene.ca)})
    );
}

#[test]
fn nothing_is_done_while_it_is_off_or_the_cluster_is_too_old() {
    let mut scene = Scene::new();
    let all = inactive(HANDLERS[0]);
    scene.kubernetes = (1, 29);
    let old = scene.plan(&all);
    assert_eq!(
        (old.changes.len(), old.held),
        (0, Some(Held::OldKubernetes((1, 29))))
    );
    scene.kubernetes = (1, 30);
    for (stopped, held) in [
        (Stopped::Off, Held::Off(OWN.to_owned())),
        (Stopped::Removed, Held::Removed(OWN.to_owned())),
    ] {
        scene.stopped = Some(stopped);
        let mut taken = scene.plan(&all);
        assert_eq!(taken.held.take(), Some(held));
        assert_eq!(taken, Plan::default());
    }
    scene.stopped = None;
    scene.kubernetes = (2, 0);
    assert_eq!(changed(&scene.plan(&all)), [0, 1]);
}

#[test]
fn what_holds_it_up_is_said() {
    let held = |change: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::new();
        change(&mut scene);
        scene.plan(&inactive(HANDLERS[0])).held
    };
    assert_eq!(held(&|_| {}), None);
    let waiting = Some(Held::NotRolledOut(OWN.to_owned()));
    assert_eq!(held(&|scene| scene.is_rolled_out = false), waiting);
    let no_ca = Some(Held::NoCa("no such file".to_owned()));
    assert_eq!(held(&|scene| scene.source = Source::Nowhere), no_ca);
    let wrong = held(&|scene| scene.ca = Authority::new("other").unwrap().pem());
    assert!(matches!(wrong, Some(Held::WrongCa(_))), "{wrong:?}");
    let failed = held(&|scene| scene.canary = heard(&[Outcome::TimedOut]));
    let said = failed.as_ref().map(Held::fix).unwrap_or_default();
    assert!(said.contains("port 10250"), "{failed:?}: {said}");
    let scene = Scene::new();
    let without = scene.plan(&[configuration("one", HANDLERS[0].path)]);
    assert_eq!(without.held, Some(Held::NoCanary));
    let mut all = inactive(HANDLERS[0]);
    all[1] = configuration("one", "/validate/tomorrow");
    let unknown = scene.plan(&all);
    let Some(Held::UnknownPath { why, .. }) = unknown.held else {
        panic!("{unknown:?}");
    };
    assert!(why.contains("`/validate/tomorrow`"), "{why}");
}

#[test]
fn what_was_taken_from_an_active_webhook_is_set_again() {
    let mut scene = Scene::new();
    let whole = scene.active(HANDLERS[0]);
    // `kubectl replace` takes both away. Nobody waits for a rollout then.
    scene.is_rolled_out = false;
    let mut emptied = whole.clone();
    emptied[1] = configuration("one", HANDLERS[0].path);
    assert_eq!(
        changed(&scene.plan(&emptied)),
        NONE,
        "it may never have been active"
    );
    emptied[1].was_active = true;
    assert_eq!(changed(&scene.plan(&emptied)), [1]);
    // A webhook that is asked cannot wait for the canary, which may fail for the same reason.
    scene.canary = heard(&[Outcome::WrongCa]);
    for change in [
        json!({"rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"],
            "resources": ["*/*"], "scope": "*"}]}),
        json!({"clientConfig": {"caBundle": ""}}),
        json!({"clientConfig": {"caBundle":
            STANDARD.encode(Authority::new("other").unwrap().pem())}}),
        json!({"clientConfig": {"caBundle": STANDARD.encode(many())}}),
    ] {
        let mut all = whole.clone();
        json_patch::merge(&mut all[1].webhooks[0], &change);
        all[1].metadata = json!({});
        let plan = scene.plan(&all);
        assert_eq!(changed(&plan), [1], "{change}");
        let (_, webhooks) = &plan.changes[0];
        let expected = STANDARD.encode(&scene.ca);
        assert_eq!(
            webhooks[0]["clientConfig"]["caBundle"], expected,
            "{change}"
        );
    }
}

fn many() -> String {
    let all = (0..=MAX_CAS).map(|number| Authority::new(&format!("a{number}")).unwrap().pem());
    all.collect()
}

#[test]
fn what_a_person_changed_besides_stays() {
    let scene = Scene::new();
    let mut all = scene.active(HANDLERS[0]);
    let more = Authority::new("another").unwrap().pem();
    let change = json!({
        "failurePolicy": "Ignore", "timeoutSeconds": 1, "namespaceSelector": {"matchLabels": {"a": "b"}},
        "clientConfig": {"caBundle": STANDARD.encode([more, scene.ca.clone()].concat())},
    });
    json_patch::merge(&mut all[1].webhooks[0], &change);
    assert_eq!(
        scene.plan(&all),
        Plan {
            has_canary: true,
            ..Plan::default()
        }
    );
}

#[test]
fn the_ca_before_stays_where_velero_trust_set_it() {
    let mut scene = Scene::new();
    let all = scene.active(HANDLERS[0]);
    let before = scene.renew();
    let plan = scene.plan(&all);
    let (_, webhooks) = &plan.changes[1];
    let both = STANDARD.encode([scene.ca, before].concat());
    assert_eq!(webhooks[0]["clientConfig"]["caBundle"], both);
}

#[test]
fn the_ca_bundle_of_another_tool_is_judged_and_never_set() {
    let scene = Scene::new();
    let mut all = inactive(HANDLERS[0]);
    all[1].metadata = json!({"annotations": {"cert-manager.io/inject-ca-from": "a/b"}});
    let empty = scene.plan(&all);
    assert_eq!(changed(&empty), [0]);
    assert!(matches!(
        &empty.held,
        Some(Held::OthersCaBundle { why: None, .. })
    ));
    all[1].webhooks[0]["clientConfig"]["caBundle"] =
        json!(STANDARD.encode(Authority::new("other").unwrap().pem()));
    let wrong = scene.plan(&all);
    assert!(matches!(
        &wrong.held,
        Some(Held::OthersCaBundle { why: Some(_), .. })
    ));
    all[1].webhooks[0]["clientConfig"]["caBundle"] = json!(STANDARD.encode(&scene.ca));
    let right = scene.plan(&all);
    assert_eq!(changed(&right), [0, 1]);
    assert!(right.changes[1].1[0].get("clientConfig").is_none());
    assert_eq!(right.held, None);
}

#[test]
fn another_installation_is_left_alone() {
    let scene = Scene::new();
    let mut all = inactive(HANDLERS[0]);
    for one in &mut all {
        one.webhooks[0]["clientConfig"]["service"]["namespace"] = json!("elsewhere");
    }
    let plan = scene.plan(&all);
    assert_eq!((plan.changes.len(), plan.held), (0, Some(Held::NoCanary)));
}

#[test]
fn with_external_no_ca_bundle_is_set_and_every_one_is_judged() {
    let mut scene = Scene::new();
    scene.is_external = true;
    let mut all = inactive(HANDLERS[0]);
    let empty = scene.plan(&all);
    assert_eq!(changed(&empty), NONE);
    let Some(Held::OthersCaBundle { manager, why, .. }) = empty.held else {
        panic!("{empty:?}");
    };
    assert_eq!(
        (manager.contains("--ca-bundle=external"), why),
        (true, None)
    );
    for one in &mut all {
        one.webhooks[0]["clientConfig"]["caBundle"] = json!(STANDARD.encode(&scene.ca));
    }
    let plan = scene.plan(&all);
    assert_eq!((changed(&plan), plan.held), (vec![0, 1], None));
    assert!(plan.changes[0].1[0].get("clientConfig").is_none());
}

/// Returns the certificates in the caBundle that `plan` sets.
fn trusted(plan: &Plan) -> Vec<Certificate> {
    let (_, webhooks) = plan.changes.last().unwrap();
    let bundle = webhooks[0]["clientConfig"]["caBundle"].as_str().unwrap();
    pem::read(&STANDARD.decode(bundle).unwrap()).certificates
}

fn certificates(pem: &str) -> Vec<Certificate> {
    pem::read(pem.as_bytes()).certificates
}

#[test]
fn what_issued_before_stays_beside_our_own_ca_as_long_as_it_is_presented() {
    let mut scene = Scene::new();
    let all = scene.active(HANDLERS[0]);
    let before = scene.renew();
    scene.source = Source::Own(NOW + 1);
    let both = [scene.ca.clone(), before].concat();
    assert_eq!(trusted(&scene.plan(&all)), certificates(&both));
    let mut kept = all.clone();
    let plan = scene.plan(&all);
    set(&mut kept, &plan);
    assert_eq!(scene.plan(&kept).changes, []);
    scene.source = Source::Own(NOW);
    scene.is_rolled_out = false;
    assert_eq!(scene.plan(&kept).changes, [], "replicas are being replaced");
    scene.is_rolled_out = true;
    assert_eq!(trusted(&scene.plan(&kept)), certificates(&scene.ca));
}

#[test]
fn a_ca_bundle_has_at_most_three_of_our_own_cas() {
    let mut scene = Scene::new();
    let mut all = scene.active(HANDLERS[0]);
    let foreign = Authority::new("foreign").unwrap().pem();
    let change = json!({"clientConfig": {"caBundle": STANDARD.encode([foreign.as_str(), &scene.ca].concat())}});
    for one in &mut all {
        json_patch::merge(&mut one.webhooks[0], &change);
    }
    let ours = [Scene::new().ca, scene.ca.clone(), Scene::new().ca].concat();
    scene.ca.clone_from(&ours);
    scene.source = Source::Own(NOW + 1);
    assert_eq!(trusted(&scene.plan(&all)), certificates(&ours));
}

#[test]
fn what_every_webhook_that_is_asked_trusts_is_told() {
    let scene = Scene::new();
    let mut all = scene.active(HANDLERS[0]);
    let ours = certificates(&scene.ca)[0].fingerprint();
    assert_eq!(trusted_everywhere(OWN, &all), BTreeSet::from([ours]));
    let mut other = all[1].clone();
    let more = Authority::new("another").unwrap().pem();
    let both = STANDARD.encode([more.as_str(), &scene.ca].concat());
    other.webhooks[0]["clientConfig"]["caBundle"] = json!(both);
    all.push(other);
    assert_eq!(trusted_everywhere(OWN, &all), BTreeSet::from([ours]));
    all[1].webhooks[0]["clientConfig"]["caBundle"] = json!("");
    assert_eq!(trusted_everywhere(OWN, &all), BTreeSet::new());
    // Nobody asks it.
    all[1].webhooks[0]["rules"] = json!([]);
    assert!(trusted_everywhere(OWN, &all).len() == 2);
    assert_eq!(
        trusted_everywhere(OWN, &inactive(HANDLERS[0])),
        BTreeSet::new()
    );
}
