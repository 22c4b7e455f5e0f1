//! `velero-trust status --objects` over the folders of `tests/status`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::golden::Golden;

/// Environment variable that writes the output into the folders instead of comparing it.
const UPDATE: &str = "UPDATE_STATUS";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs `velero-trust status` in `folder` with an empty environment.
fn status(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
    command.env_clear().current_dir(folder).arg("status");
    let output = command.args(arguments).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir("tests/status").unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = paths.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// Returns the text without the time until or since something, such as `2026-12-21 (28d)` or `21d
/// ago`, and without the spaces that align it.
fn timeless(text: &str) -> String {
    let is_span = |word: &&str| {
        let word = word.trim_start_matches('(').trim_end_matches(')');
        let digits = word.trim_end_matches(['s', 'm', 'h', 'd']);
        digits != word && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let lines = text.lines().map(|line| {
        let words = line.split(' ').filter(|word| !word.is_empty());
        let words = words.map(|word| if is_span(&word) { "SPAN" } else { word });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn status_of_every_case_is_what_stands_beside_it() {
    let mut golden = Golden::new(UPDATE);
    for case in cases() {
        let arguments = fs::read_to_string(case.join("arguments"));
        let arguments = arguments.unwrap_or_else(|_| "--objects=in --public-roots=none".to_owned());
        for format in ["table", "json"] {
            // Cells that are cut would hide what a case is about.
            let output = match format {
                "table" => "--output=wide",
                _ => "--output=json",
            };
            let mut all: Vec<_> = arguments.split_whitespace().collect();
            all.push(output);
            let ran = status(&case, &all);
            let out = match format {
                "table" => timeless(&ran.out),
                _ => ran.out,
            };
            let said = format!("{out}--- stderr\n{}--- exit {}\n", ran.err, ran.code);
            let narrow = status(
                &case,
                arguments.split_whitespace().collect::<Vec<_>>().as_slice(),
            );
            let lines = narrow
                .out
                .lines()
                .filter(|line| !line.starts_with("    -> "));
            for line in lines {
                let columns = line.chars().count();
                assert!(columns <= 120, "{}: {columns}: {line}", case.display());
            }
            golden.is(case.join(format!("want.{format}")), &said);
        }
    }
    golden.end("status");
}

#[test]
fn status_of_a_namespace_that_files_do_not_hold_says_so() {
    let case = Path::new("tests/status/covered");
    let asked = |namespace: &str| {
        let namespace = format!("--velero-namespace={namespace}");
        status(case, &["--objects=in", &namespace, "--output=json"])
    };
    let json: Value = serde_json::from_str(&asked("velero").out).unwrap();
    assert_eq!(json["namespaces"][0]["name"], "velero");
    // The bundle contains the public roots by default.
    let certificates = json["namespaces"][0]["bundle"]["certificates"].as_u64();
    assert!(certificates.unwrap() > 100, "{json}");
    let typo = asked("vleero");
    assert_eq!((typo.code, typo.out.as_str()), (2, ""), "{}", typo.err);
    let says = "namespace vleero holds nothing of Velero: ";
    assert!(typo.err.contains(says), "{}", typo.err);
}

#[test]
fn a_rule_that_is_off_is_off_in_the_status_too() {
    let case = Path::new("tests/status/troubled");
    let ids = |arguments: &[&str]| {
        let json = status(
            case,
            &[&["--objects=in", "--output=json"], arguments].concat(),
        );
        json.out.matches("\"VT001\"").count()
    };
    assert_eq!((ids(&[]), ids(&["--rule=VT001=off"])), (1, 0));
}

#[test]
fn status_of_files_that_are_no_objects_ends_with_2_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: velero}\n";
    let rows = [
        ("a: [", "not YAML"),
        (
            &format!("{pod}---\n{pod}"),
            "Pod velero/p stands here a second time",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: [s3cret]}\n",
            "is malformed",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: velero-trust-ca}\ndata: s3cret\n",
            "ConfigMap default/velero-trust-ca is malformed",
        ),
    ];
    for (text, says) in rows {
        fs::write(folder.path().join("in.yaml"), text).unwrap();
        let ran = status(folder.path(), &["--objects=in.yaml"]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{text}");
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
        assert!(ran.err.contains("in.yaml"), "{}", ran.err);
        assert!(!ran.err.contains("s3cret"), "{}", ran.err);
    }
    let ran = status(folder.path(), &["--objects=no-such"]);
    assert!(ran.code == 2 && ran.err.contains("no-such"), "{}", ran.err);
}
