//! `velero-trust lint` over the folders of `tests/lint`, in every format.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use velero_trust_testing::pki::Authority;

use crate::golden::Golden;

/// Environment variable that writes the output into the folders instead of comparing it.
const UPDATE: &str = "UPDATE_LINT";

const FORMATS: [&str; 4] = ["text", "json", "sarif", "github"];

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `velero-trust lint` in `folder` with an empty environment.
pub(crate) fn lint(folder: &Path, arguments: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_velero-trust"))
        .env_clear()
        .current_dir(folder)
        .arg("lint")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A command that does not read standard input closes it, so the write may fail.
    let _ = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn sarif(folder: &Path, arguments: &[&str]) -> Value {
    let ran = lint(folder, &[&["--output=sarif"], arguments].concat(), "");
    serde_json::from_str(&ran.out).unwrap()
}

/// Returns the folders in a folder, sorted.
pub(crate) fn folders(path: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap();
    let mut cases: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// Returns the lines of the private key in `tests/cases`. No output may contain any of them.
fn key_lines() -> Vec<String> {
    let key = fs::read_to_string("tests/cases/certificates/throw-away.key").unwrap();
    let lines = key.lines().filter(|line| !line.starts_with("-----"));
    lines.map(str::to_owned).collect()
}

#[test]
fn every_case_prints_what_stands_beside_it() {
    let mut golden = Golden::new(UPDATE);
    for case in folders("tests/lint") {
        let arguments = fs::read_to_string(case.join("arguments"));
        let arguments = arguments.unwrap_or_else(|_| "in".to_owned());
        let stdin = fs::read_to_string(case.join("stdin"));
        let mut arguments: Vec<_> = arguments.split_whitespace().collect();
        if stdin.is_ok() {
            arguments = vec!["-"];
        }
        for format in FORMATS {
            let output = format!("--output={format}");
            let all = [&[output.as_str()], &arguments[..]].concat();
            let ran = lint(&case, &all, stdin.as_deref().unwrap_or_default());
            for line in key_lines() {
                assert!(!ran.out.contains(&line) && !ran.err.contains(&line));
            }
            let out = if format == "sarif" {
                short(&ran.out)
            } else {
                ran.out
            };
            let said = format!("{out}--- stderr\n{}--- exit {}\n", ran.err, ran.code);
            golden.is(case.join(format!("want.{format}")), &said);
        }
    }
    golden.end("every_case_prints");
}

/// Returns a SARIF log without its rules, which are the same in every log.
fn short(sarif: &str) -> String {
    let sarif: Value = serde_json::from_str(sarif).unwrap();
    check(&sarif);
    let run = &sarif["runs"][0];
    let short = json!({"invocations": run["invocations"], "results": run["results"]});
    format!("{short:#}\n")
}

/// Asserts what SARIF 2.1.0 and GitHub's code scanning require of our output.
fn check(sarif: &Value) {
    let text = |value: &Value| {
        let text = value.as_str().unwrap_or_else(|| panic!("{value}"));
        assert!(!text.is_empty());
        text.to_owned()
    };
    let level = |value: &Value| {
        let level = text(value);
        assert!(["none", "note", "warning", "error"].contains(&level.as_str()));
    };
    let place = |location: &Value| {
        let place = &location["physicalLocation"];
        let uri = text(&place["artifactLocation"]["uri"]);
        assert!(!uri.starts_with(['/', '.']) && !uri.contains(' '), "{uri}");
        place["region"]["startLine"].as_u64()
    };
    assert_eq!(text(&sarif["version"]), "2.1.0");
    assert!(text(&sarif["$schema"]).ends_with("sarif-schema-2.1.0.json"));
    let [run] = &sarif["runs"].as_array().unwrap()[..] else {
        panic!("{sarif}")
    };
    let driver = &run["tool"]["driver"];
    assert_eq!(text(&driver["name"]), "velero-trust");
    text(&driver["semanticVersion"]);
    let rules = driver["rules"].as_array().unwrap();
    let mut ids = Vec::new();
    for rule in rules {
        ids.push(text(&rule["id"]));
        for field in ["shortDescription", "fullDescription", "help"] {
            assert!(text(&rule[field]["text"]).len() <= 1024);
        }
        level(&rule["defaultConfiguration"]["level"]);
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "a rule stands there twice");
    for result in run["results"].as_array().unwrap() {
        level(&result["level"]);
        text(&result["message"]["text"]);
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let [location] = &result["locations"].as_array().unwrap()[..] else {
            panic!("{result}")
        };
        assert!(place(location).unwrap() >= 1);
    }
    for invocation in run["invocations"].as_array().unwrap() {
        assert!(invocation["executionSuccessful"].is_boolean());
        let notifications = invocation["toolExecutionNotifications"].as_array();
        for notification in notifications.unwrap() {
            level(&notification["level"]);
            text(&notification["message"]["text"]);
            for location in notification["locations"].as_array().into_iter().flatten() {
                place(location);
            }
        }
    }
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn the_manifest_that_a_hint_shows_fixes_the_location() {
    let location = fs::read("tests/lint/manifests/in/absent.yaml").unwrap();
    let folder = folder(&[("absent.yaml", &location)]);
    let ran = lint(folder.path(), &["--fix-hint", "--output=json", "."], "");
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    let [finding] = &said["findings"].as_array().unwrap()[..] else {
        panic!("{said}")
    };
    let hint = finding["hint"].as_str().unwrap();
    let (_, rest) = hint.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    let pem = Authority::new("fixed").unwrap().pem();
    let indented = pem.trim_end().replace('\n', "\n    ");
    let begin = hint.strip_suffix(rest).unwrap();
    let begin = begin.strip_suffix("-----BEGIN CERTIFICATE-----").unwrap();
    let (_, rest) = rest.split_once("-----END CERTIFICATE-----").unwrap();
    let manifest = format!("{begin}{indented}{rest}");
    fs::write(folder.path().join("secret.yaml"), manifest).unwrap();
    let ran = lint(folder.path(), &["."], "");
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "BackupStorageLocations: 1, denials: 0, warnings: 0\n")
    );
}

#[test]
fn what_names_no_namespace_matches_what_stands_beside_it_unless_one_is_given() {
    let location = fs::read_to_string("tests/lint/manifests/in/location.yaml").unwrap();
    let bare = location.replace("  namespace: velero\n", "");
    let secret = fs::read("tests/lint/manifests/in/secret.yaml").unwrap();
    let folder = folder(&[("bsl.yaml", bare.as_bytes()), ("secret.yaml", &secret)]);
    for arguments in [&["."][..], &["--namespace=velero", "."]] {
        let ran = lint(folder.path(), arguments, "");
        assert_eq!(ran.code, 0, "{}", ran.out);
    }
    let ran = lint(folder.path(), &["--namespace=other", "."], "");
    assert!(ran.out.contains("Secret other/minio-ca does not exist"));
}

#[test]
fn a_file_of_3_mib_is_read_to_its_last_line() {
    let location = fs::read_to_string("tests/lint/manifests/in/absent.yaml").unwrap();
    let mut text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: |\n".to_owned();
    let line = format!("    {}\n", "x".repeat(123));
    text.push_str(&line.repeat(3 << 13));
    assert!(text.len() > 3 << 20);
    text.push_str("---\n");
    let first = text.lines().count();
    text.push_str(&location);
    let ran = lint(Path::new("."), &["-"], &text);
    let wanted = format!("stdin:{}: deny: ", first + 11);
    assert!(ran.out.starts_with(&wanted), "{}", ran.out);
    assert_eq!(ran.code, 1);
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_judged() {
    let location = fs::read("tests/lint/manifests/in/absent.yaml").unwrap();
    let folder = folder(&[("a.yaml", b"kind: Secret\xff\n"), ("b.yaml", &location)]);
    let gone = folder.path().join("gone.yaml");
    std::os::unix::fs::symlink("no-such-file", &gone).unwrap();
    let ran = lint(folder.path(), &[".", "gone.yaml"], "");
    assert_eq!(ran.code, 2);
    assert!(ran.out.starts_with("./b.yaml:11: deny: "), "{}", ran.out);
    let lines: Vec<_> = ran.err.lines().collect();
    assert!(
        lines[0].starts_with("velero-trust: ./a.yaml: cannot be read: "),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("velero-trust: gone.yaml: cannot be read: "),
        "{lines:?}"
    );
    let sarif = sarif(folder.path(), &[".", "gone.yaml"]);
    check(&sarif);
    let invocation = &sarif["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
}

#[test]
fn a_name_of_a_file_makes_no_line_and_no_command_of_its_own() {
    let location = fs::read("tests/lint/manifests/in/absent.yaml").unwrap();
    let folder = folder(&[("a\n::error::b,c:d%.yaml", &location)]);
    let github = lint(folder.path(), &["--output=github", "."], "").out;
    assert_eq!(github.lines().count(), 1, "{github}");
    assert!(
        github.starts_with(
            "::error file=a%0A%3A%3Aerror%3A%3Ab%2Cc%3Ad%25.yaml,line=11,title=VT001::"
        ),
        "{github}"
    );
    let text = lint(folder.path(), &["."], "").out;
    assert!(text.starts_with("./a ::error::b,c:d%.yaml:11: deny: "));
    let sarif = sarif(folder.path(), &["."]);
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(
        place["artifactLocation"]["uri"],
        "a%0A%3A%3Aerror%3A%3Ab%2Cc%3Ad%25.yaml"
    );
}

#[test]
fn no_findings_are_a_whole_log_too() {
    let folder = folder(&[]);
    let ran = lint(folder.path(), &["--output=github", "."], "");
    assert_eq!(ran.code, 0);
    assert!(
        ran.out
            .starts_with("::warning title=velero-trust::nothing was checked")
    );
    let ran = lint(folder.path(), &["."], "");
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("nothing was checked"), "{}", ran.err);
    let log = sarif(folder.path(), &["."]);
    check(&log);
    assert_eq!(log["runs"][0]["results"], json!([]));
}

#[test]
fn an_empty_input_is_the_failure_of_who_should_have_filled_it() {
    let ran = lint(Path::new("."), &["-"], "\n");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("stdin: is empty"), "{}", ran.err);
}

#[test]
fn an_unknown_format_is_refused() {
    let ran = lint(Path::new("."), &["--output=xml", "."], "");
    assert_eq!(ran.code, 2);
    for format in FORMATS {
        assert!(ran.err.contains(format), "{}", ran.err);
    }
}

/// `pre-commit` itself is not needed to check that the command of the hook is valid.
#[test]
fn the_pre_commit_hook_runs_what_there_is() {
    let hooks = fs::read_to_string(".pre-commit-hooks.yaml").unwrap();
    let hooks: Vec<Value> = serde_saphyr::from_str(&hooks).unwrap();
    let [hook] = &hooks[..] else {
        panic!("{hooks:?}")
    };
    for field in [
        "id",
        "name",
        "description",
        "entry",
        "language",
        "minimum_pre_commit_version",
    ] {
        assert!(hook[field].is_string(), "{field}");
    }
    let languages = ["rust", "system"];
    assert!(languages.contains(&hook["language"].as_str().unwrap()));
    let entry: Vec<_> = hook["entry"].as_str().unwrap().split(' ').collect();
    assert_eq!(entry[..2], ["velero-trust", "lint"]);
    let args = hook["args"].as_array().into_iter().flatten();
    let args: Vec<_> = args.map(|argument| argument.as_str().unwrap()).collect();
    let case = Path::new("tests/lint/manifests/in");
    assert_eq!(hook["pass_filenames"], false);
    let ran = lint(case, &[&entry[2..], &args].concat(), "");
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    assert!(
        ran.out.contains("BackupStorageLocations: 3, denials: 1"),
        "{}",
        ran.out
    );
}
