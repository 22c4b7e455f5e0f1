//! The golden cases of `tests/cases`, from the bytes of a review to the bytes of its answer.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use velero_trust::admission::{Answer, Decision, Envelope, HANDLERS, Handler, Opened, all_rules};
use velero_trust::decision::{Context, Judged, Policy, RestoresMode};
use velero_trust::sources::{LookupOptions, evaluate};

use crate::case_files::{Case, Request, Said, Want, all};
use crate::facts::CaseFacts;

const UID: &str = "00000000-0000-4000-8000-000000000001";

impl Case {
    fn handler(&self) -> &'static Handler {
        let Request {
            object, old_object, ..
        } = &self.request;
        let object = if object.is_null() { old_object } else { object };
        let resource = match object["kind"].as_str() {
            Some("BackupStorageLocation") => "backupstoragelocations",
            Some("Backup") => "backups",
            Some("Pod") => "pods",
            Some("Restore") => "restores",
            kind => panic!("{}: no webhook for {kind:?}", self.name),
        };
        let webhook = self.request.webhook.as_deref();
        let of = |handler: &&&'static Handler| {
            handler.resource == resource && webhook.is_none_or(|path| handler.path == path)
        };
        HANDLERS.iter().find(of).unwrap()
    }

    /// Returns the review as the API server would send it.
    fn review(&self, handler: &Handler) -> Vec<u8> {
        let Request {
            operation,
            dry_run,
            object,
            old_object,
            ..
        } = &self.request;
        let some = if object.is_null() { old_object } else { object };
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": UID,
                "kind": {"group": handler.group, "version": "v1", "kind": some["kind"]},
                "resource": {"group": handler.group, "version": "v1", "resource": handler.resource},
                "name": some["metadata"]["name"],
                "namespace": some["metadata"]["namespace"],
                "operation": operation,
                "userInfo": {"username": "somebody", "groups": ["system:authenticated"]},
                "dryRun": dry_run,
                "object": object,
                "oldObject": old_object,
                "options": null,
            },
        });
        serde_json::to_vec(&review).unwrap()
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        for said in &self.request.rules {
            policy.set(said, all_rules().iter()).unwrap();
        }
        policy.accepts_partial = self.request.accept_partial;
        policy.restores = match self.request.restores.as_deref() {
            None | Some("enforce") => RestoresMode::Enforce,
            Some("warn") => RestoresMode::Warn,
            Some("off") => RestoresMode::Off,
            Some(mode) => panic!("{}: no mode {mode}", self.name),
        };
        policy
    }

    /// Runs everything between the bytes of the request and the answer.
    pub(crate) fn answer(&self) -> Answer {
        let handler = self.handler();
        let body = self.review(handler);
        let envelope = Envelope::decode(&body).unwrap();
        let request = envelope.request().unwrap();
        let policy = self.policy();
        let context = Context {
            policy: &policy,
            now: self.request.now.parse::<Timestamp>().unwrap().as_second(),
        };
        let options = LookupOptions {
            deadline: tokio::time::Instant::now() + Duration::from_secs(5),
            dry_run: request.dry_run,
            caller: None,
        };
        let facts = CaseFacts::new(&self.objects, &self.folder, self.request.unreadable.clone());
        let report = match handler.open(&request) {
            Opened::ReviewedObject(subject) => {
                let report = evaluate(subject.as_ref(), &facts, options, context);
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                runtime.unwrap().block_on(report).unwrap()
            }
            Opened::Unreadable(report) => report,
            Opened::NotReviewed(answer) => return answer,
        };
        let judged = Judged::apply_policy(&report, &policy);
        Answer::of(&request, handler.mode, &judged, &report)
    }

    /// Returns what is wrong with the answer.
    pub(crate) fn mismatches(&self) -> Vec<String> {
        let answer = self.answer();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let mut mismatches = Vec::new();
        if let Some(secret) = self.leaked(&answer) {
            mismatches.push(format!("the answer repeats {secret:?} of the input"));
        }
        let Want {
            allowed,
            code,
            patched,
            stopped,
            says,
            denied,
            warned,
        } = &self.want;
        let Some(allowed) = allowed else {
            let message = body["message"].as_str().unwrap_or_default();
            mismatches.extend(missing(message, says));
            if Some(answer.http) != *code {
                mismatches.push(format!("HTTP {} instead of {code:?}", answer.http));
            }
            return mismatches;
        };
        let is_off = self.request.restores.as_deref() == Some("off");
        if is_off != (answer.decision == Decision::Unjudged) {
            mismatches.push(format!("it is counted as {}", answer.decision.as_str()));
        }
        let response = &body["response"];
        if response["uid"] != UID || response["allowed"] != *allowed {
            mismatches.push(format!("allowed should be {allowed}"));
        }
        if response["status"]["code"].as_u64() != code.map(u64::from) {
            mismatches.push(format!("the code should be {code:?}"));
        }
        if response["patch"].is_string() != *patched {
            mismatches.push(format!("patched should be {patched}"));
        }
        let errors = validation_errors(response);
        if errors.is_some() != *stopped {
            mismatches.push(format!("stopped should be {stopped}"));
        }
        let causes = response["status"]["details"]["causes"].as_array();
        let causes = causes.into_iter().flatten().map(|cause| {
            let text = |key: &str| cause[key].as_str().unwrap_or_default().to_owned();
            let message = text("message");
            let rule = message
                .rsplit_once('[')
                .map_or("", |(_, id)| id.trim_end_matches(']'));
            (rule.to_owned(), text("field"), message)
        });
        let causes = causes.chain(errors.unwrap_or_default());
        mismatches.extend(compare("denied", denied, causes.collect()));
        let (warnings, too_long) = warnings(response);
        mismatches.extend(too_long);
        mismatches.extend(compare("warned", warned, warnings));
        if !mismatches.is_empty() {
            mismatches.push(format!("the answer: {response:#}"));
        }
        mismatches
    }

    /// Returns a line of any bundle in the case that the answer repeats.
    fn leaked(&self, answer: &Answer) -> Option<String> {
        let said = String::from_utf8_lossy(&answer.body);
        let inputs =
            [&self.objects, &self.request.object.to_string()].map(|text| text.replace("\\n", "\n"));
        inputs
            .iter()
            .flat_map(|input| input.split(|c: char| c.is_whitespace() || c == '"'))
            .filter(|word| word.len() >= 40 && !is_digest(word))
            .find(|word| said.contains(word) || answer.why.contains(word))
            .map(str::to_owned)
    }
}

/// Returns the errors with which Velero stops a Restore, if it does.
fn validation_errors(response: &Value) -> Option<Vec<Warned>> {
    let patch = STANDARD.decode(response["patch"].as_str()?).unwrap();
    let patch: Vec<Value> = serde_json::from_slice(&patch).unwrap();
    let value = |path: &str| {
        let mut changes = patch.iter();
        changes.find(|change| change["path"] == path)
    };
    let phase = value("/status/phase")?;
    assert_eq!(phase["value"], "FailedValidation");
    let errors = value("/status/validationErrors")?["value"].as_array();
    let errors = errors?.iter().map(|error| {
        let error = error.as_str().unwrap();
        let (field, _) = error
            .strip_prefix("velero-trust: ")
            .unwrap()
            .split_once(": ")
            .unwrap();
        let rule = error.rsplit_once('[').unwrap().1.trim_end_matches(']');
        (rule.to_owned(), field.to_owned(), error.to_owned())
    });
    Some(errors.collect())
}

/// Whether `word` is a checksum or the id of a key, which are no secrets.
fn is_digest(word: &str) -> bool {
    let digits = word.strip_prefix("sha256:").unwrap_or(word);
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Rule, field and text of a warning.
type Warned = (String, String, String);

/// Returns the warnings of a response, each with its fix, and those whose point does not stand in
/// the first 120 characters.
fn warnings(response: &Value) -> (Vec<Warned>, Vec<String>) {
    let (mut found, mut too_long) = (Vec::<Warned>::new(), Vec::new());
    for warning in response["warnings"].as_array().into_iter().flatten() {
        let text = warning.as_str().unwrap();
        let (rule, rest) = text.split_once("] ").unwrap_or(("", text));
        if rest.starts_with("to fix it: ") {
            found.last_mut().unwrap().2.push_str(rest);
            continue;
        }
        // A note has its field first.
        let (point, field) = match rest.split_once(" (at ") {
            Some((point, field)) => (point, field.split(')').next()),
            None => (rest, rest.split(": ").next()),
        };
        let field = field.unwrap_or_default();
        if rule.len() + point.chars().count() + 2 > 120 {
            too_long.push(format!("the point of a warning is too long: {text}"));
        }
        found.push((
            rule.trim_start_matches('[').to_owned(),
            field.to_owned(),
            text.to_owned(),
        ));
    }
    (found, too_long)
}

fn compare(what: &str, wanted: &[Said], got: Vec<(String, String, String)>) -> Vec<String> {
    let mut mismatches = Vec::new();
    let mut left = got;
    for said in wanted {
        let is_it = |(rule, field, message): &(String, String, String)| {
            *rule == said.rule
                && *field == said.field
                && missing(message, &said.says).next().is_none()
        };
        match left.iter().position(is_it) {
            Some(at) => drop(left.remove(at)),
            None => mismatches.push(format!(
                "{what}: {} at {} saying {:?} is missing",
                said.rule, said.field, said.says
            )),
        }
    }
    mismatches.extend(
        left.iter()
            .map(|(rule, field, _)| format!("{what}: {rule} at {field} is too much")),
    );
    mismatches
}

fn missing<'a>(
    message: &'a str,
    says: impl IntoIterator<Item = &'a String>,
) -> impl Iterator<Item = String> {
    let absent = says
        .into_iter()
        .filter(|fragment| !message.contains(*fragment));
    absent.map(move |fragment| format!("{message:?} does not say {fragment:?}"))
}

#[test]
fn every_case_gets_the_answer_that_it_wants() {
    let mut failures = Vec::new();
    for case in all() {
        let mismatches = case.mismatches();
        if !mismatches.is_empty() {
            failures.push(format!("{}:\n  {}", case.name, mismatches.join("\n  ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_rule_has_a_case_and_speaks_in_each_of_its_cases() {
    let ids: BTreeSet<_> = all_rules().iter().map(|rule| rule.id).collect();
    let mut silent: BTreeSet<_> = ids.clone();
    for case in all() {
        let Some(rule) = case.rule() else {
            continue;
        };
        assert!(ids.contains(rule), "{}: there is no rule {rule}", case.name);
        let rules = case.answer().rules;
        assert!(rules.contains(&rule), "{}: only {rules:?} spoke", case.name);
        silent.remove(rule);
    }
    // No webhook sees what the API server drops.
    assert_eq!(Vec::from_iter(silent), ["VT042"], "rules without a case");
}
