//! Text that nobody sees, put everywhere into objects, requests and files, and looked for in
//! everything that people read.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use velero_trust::velero::printable::is_unprintable;

use crate::case_files;
use crate::log::Memory;
use crate::rig::{Plan, RESTORES, Rig, good};

/// It drives a terminal, reorders and hides text, and breaks lines: as escape sequences of 7 and 8
/// bits, marks of direction, characters without width, tags, and every kind of line break.
const POISON: &str =
    "\u{1b}[31m\u{9b}2J\u{202e}\u{2066}\u{200b}\u{ad}\u{feff}\u{e0041}\u{2028}\u{85}\u{7}\r\n";

/// Longest text that is poisoned. Bundles and their like are never shown.
const MAX_TEXT_BYTES: usize = 200;

/// Returns the paths of the texts in `value`.
fn texts(value: &Value, at: &str, found: &mut Vec<String>) {
    let step = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::String(text) if text.len() <= MAX_TEXT_BYTES => found.push(at.to_owned()),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| texts(item, &step(&index.to_string()), found));
        }
        Value::Object(map) => {
            let map = map.iter();
            map.for_each(|(key, item)| texts(item, &step(key), found));
        }
        _ => {}
    }
}

/// Returns copies of `value`, each with another text poisoned.
fn poisoned(value: &Value) -> Vec<Value> {
    let mut paths = Vec::new();
    texts(value, "", &mut paths);
    let copy = |path: &String| {
        let mut copy = value.clone();
        let text = copy.pointer_mut(path).unwrap();
        *text = format!("{POISON}{}{POISON}x", text.as_str().unwrap()).into();
        copy
    };
    paths.iter().map(copy).collect()
}

/// Nothing unseen. Its type is written out because a dependency compares characters with types of
/// its own.
const NOTHING: [char; 0] = [];

/// Returns what in `text` nobody sees, but line breaks and tabs.
fn unseen(text: &str) -> Vec<char> {
    let unprintable = |c: &char| is_unprintable(*c) && !matches!(c, '\n' | '\t');
    text.chars().filter(unprintable).collect()
}

/// Asserts that all texts in `value` can be seen.
#[track_caller]
fn assert_seen(value: &Value, context: &str) {
    match value {
        Value::String(text) => assert_eq!(unseen(text), NOTHING, "{context}: {text:?}"),
        Value::Array(items) => items.iter().for_each(|item| assert_seen(item, context)),
        Value::Object(map) => {
            for (key, item) in map {
                assert_eq!(unseen(key), NOTHING, "{context}: {key:?}");
                assert_seen(item, context);
            }
        }
        _ => {}
    }
}

#[test]
fn answers_to_the_reviews_of_poisoned_objects_can_be_seen() {
    let mut walked = 0;
    for mut case in case_files::all() {
        if case.request.repeat.is_some() {
            continue;
        }
        let before = case.request.object.clone();
        for object in poisoned(&case.request.object) {
            case.request.object = object;
            // They decide which webhook reviews the object, and where it is.
            for path in ["/kind", "/metadata/namespace"] {
                if let Some(text) = case.request.object.pointer_mut(path) {
                    *text = before.pointer(path).unwrap().clone();
                }
            }
            let answer = case.answer();
            let body = serde_json::from_slice::<Value>(&answer.body).unwrap();
            let lines = body.pointer("/response/status/message");
            let lines = lines.and_then(Value::as_str).unwrap_or_default();
            // A message has one line for each finding.
            let rules = lines.lines().filter(|line| line.contains("[VT")).count();
            let more = lines
                .lines()
                .filter(|line| line.starts_with("and "))
                .count();
            assert_eq!(
                lines.lines().count(),
                rules + more,
                "{}: {lines}",
                case.name
            );
            assert_seen(&body, &case.name);
            walked += 1;
        }
    }
    assert!(walked > 300, "{walked}");
}

#[tokio::test]
async fn the_answer_to_a_poisoned_request_and_the_log_of_it_can_be_seen() {
    let (log, _guard) = Memory::start();
    let rig = Rig::start(Plan::default()).await;
    let mut client = rig.client().await;
    let requests = poisoned(&serde_json::from_str(&good("uid")).unwrap());
    assert!(requests.len() > 10);
    for request in requests {
        let answer = client.review(RESTORES, &request.to_string()).await;
        let mut body = answer.unwrap().json();
        if let Some(uid) = body.pointer_mut("/response/uid") {
            // The API server compares it with its own.
            *uid = Value::Null;
        }
        assert_seen(&body, &request.to_string());
        client = rig.client().await;
    }
    for event in log.events() {
        assert_seen(&event, "the log");
        let texts = event
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_str);
        assert!(
            !texts.into_iter().any(|text| text.contains('\n')),
            "{event}"
        );
    }
    assert_seen(&rig.metrics.text().unwrap().into(), "metrics");
}

/// Returns JSON with escape sequences for all that is not ASCII: YAML does not allow all of it as it is.
fn ascii(value: &Value) -> String {
    let escape = |c: char| {
        let units = c.encode_utf16(&mut [0; 2]).to_vec();
        let units = units.iter().map(|unit| format!("\\u{unit:04x}"));
        units.collect::<String>()
    };
    let json = value.to_string();
    let pieces = json.chars().map(|c| {
        if c.is_ascii_graphic() || c == ' ' {
            c.to_string()
        } else {
            escape(c)
        }
    });
    pieces.collect()
}

/// Runs the program in `folder`. Returns its standard output and its standard error.
fn run(folder: &Path, arguments: &[&str]) -> [String; 2] {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
    let output = command
        .env_clear()
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
}

#[track_caller]
fn assert_output_seen(folder: &Path, arguments: &[&str]) -> String {
    let [out, error] = run(folder, arguments);
    assert_eq!(unseen(&out), NOTHING, "{arguments:?}: {out:?}");
    assert_eq!(unseen(&error), NOTHING, "{arguments:?}: {error:?}");
    out
}

/// Writes a folder of manifests with every text of a location, a Secret and a Backup poisoned, one in
/// each, and files with poisoned names.
fn manifests() -> TempDir {
    let folder = TempDir::new().unwrap();
    let location = json!({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
        "metadata": {"name": "minio", "namespace": "velero", "annotations": {
            "velero-trust.io/ca-secret": "ca/ca.crt",
        }},
        "spec": {
            "provider": "aws",
            "credential": {"name": "cloud", "key": "cloud"},
            "config": {"s3Url": "https://minio:9000", "region": "minio", "insecureSkipTLSVerify": "x",
                "more": "x", "secretRef": "ca/ca.crt"},
            "objectStorage": {"bucket": "b", "caCertRef": {"name": "ca", "key": "ca.crt"}},
        },
        "status": {"phase": "Unavailable", "message": "it is down"},
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca", "namespace": "velero"},
        "stringData": {"ca.crt": "no certificate"},
    });
    for (kind, object) in [("location", &location), ("secret", &secret)] {
        for (number, object) in poisoned(object).iter().enumerate() {
            let file = folder.path().join(format!("{kind}-{number}.json"));
            std::fs::write(file, ascii(object)).unwrap();
        }
    }
    let named = |end: &str| folder.path().join(format!("{POISON}{end}.yaml"));
    std::fs::write(named("a"), "a: [").unwrap();
    std::fs::write(named("b"), location.to_string()).unwrap();
    folder
}

#[test]
fn what_the_commands_print_about_poisoned_files_can_be_seen() {
    let folder = manifests();
    let at = folder.path();
    for format in ["text", "github"] {
        let out = assert_output_seen(at, &["lint", ".", "--output", format]);
        assert!(out.contains("VT"), "{out}");
    }
    for format in ["json", "sarif"] {
        let out = assert_output_seen(at, &["lint", ".", "--output", format]);
        assert!(out.contains("VT"), "{out}");
        assert_seen(&serde_json::from_str(&out).unwrap(), format);
    }
    assert_output_seen(at, &["status", "--objects", "."]);
    // One object each, so that the status of the others is computed.
    let mut shown = 0;
    for number in 0.. {
        let file = format!("location-{number}.json");
        if !at.join(&file).exists() {
            break;
        }
        let table = assert_output_seen(at, &["status", "--objects", &file]);
        shown += usize::from(table.contains("velero"));
        let json = assert_output_seen(at, &["status", "--objects", &file, "--output", "json"]);
        if let Ok(json) = serde_json::from_str(&json) {
            assert_seen(&json, &file);
        }
    }
    assert!(shown > 5, "{shown}");
    assert_output_seen(
        at,
        &[
            "serve",
            "--listen=127.0.0.1:0",
            "--objects",
            &format!("{POISON}a.yaml"),
        ],
    );
    assert_output_seen(at, &["serve", "--log", POISON]);
    assert_output_seen(at, &["certs", "--dir", &format!("{POISON}certs")]);
}
