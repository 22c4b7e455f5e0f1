//! `velero-trust verify`, and the commands that verify the same without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use velero_trust::digest::Sha256;
use velero_trust::integrity::files;
use velero_trust::integrity::manifest::{File, Manifest};
use velero_trust::integrity::pod_volumes::PodVolumes;
use velero_trust::integrity::public_key::Algorithm;
use velero_trust::integrity::statement::{Level, Location, Statement};
use velero_trust::signing_key::SigningKey;
use velero_trust::velero::backup_fields::BackupFields;

const NAMES: [&str; 4] = [
    "velero-backup.json",
    "daily.tar.gz",
    "daily-volumeinfo.json.gz",
    "daily-logs.gz",
];

/// A signed backup in `daily/`, with its key in `key.pub`.
struct Signed {
    folder: TempDir,
    statement: Statement,
    envelope: String,
}

impl Signed {
    fn new(algorithm: Algorithm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backup = folder.path().join("daily");
        fs::create_dir(&backup).unwrap();
        let files = NAMES.map(|name| {
            let content = format!("content of {name}");
            fs::write(backup.join(name), &content).unwrap();
            File {
                name: name.to_owned(),
                size: content.len() as u64,
                sha256: Sha256::of(content.as_bytes()),
            }
        });
        let statement = Statement {
            manifest: Manifest::new("daily", files.into()).unwrap(),
            cluster: "cluster".into(),
            backup: BackupFields {
                namespace: "velero".into(),
                name: "daily".into(),
                uid: "uid".into(),
                phase: "Completed".into(),
                ..BackupFields::default()
            },
            location: Location {
                provider: "aws".into(),
                bucket: "bucket".into(),
                prefix: "a/b".into(),
            },
            pod_volumes: PodVolumes::none(),
            level: Level::Observed,
            public_key: None,
        };
        let mut signed = Self {
            folder,
            statement,
            envelope: String::new(),
        };
        signed.envelope = signed.sign(algorithm, "key.pub", &signed.statement);
        signed
    }

    /// Signs a statement with a new key. Returns the name of the envelope.
    fn sign(&self, algorithm: Algorithm, key_file: &str, statement: &Statement) -> String {
        let key = SigningKey::generate(algorithm).unwrap();
        let envelope = key.sign(statement.to_bytes().unwrap()).unwrap();
        let name = files::envelope(&key.public().id().to_string());
        self.write(&name, &envelope.to_json().unwrap());
        fs::write(self.folder.path().join(key_file), key.public_pem()).unwrap();
        name
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("daily")
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.backup().join(name), content).unwrap();
    }

    /// Runs the command with `arguments`. Returns its exit code and its output.
    fn verify(&self, arguments: &[&str]) -> (i32, String) {
        self.verify_at("daily", arguments)
    }

    /// The same for a directory of another name.
    fn verify_at(&self, place: &str, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
        command.env_clear().current_dir(self.folder.path());
        output(command.args(["verify", place]).args(arguments))
    }

    /// Returns the commands that `--recipe` prints.
    fn recipe_at(&self, place: &str, arguments: &[&str]) -> String {
        let arguments = [arguments, &["--key", "key.pub", "--recipe"]].concat();
        let (code, recipe) = self.verify_at(place, &arguments);
        assert_eq!(code, 0, "{recipe}");
        recipe
    }

    /// Runs the commands that `--recipe` prints.
    fn recipe(&self, arguments: &[&str]) -> (i32, String) {
        self.run("sh", &self.recipe_at("daily", arguments))
    }

    /// Runs a script beside the folder of the backup.
    fn run(&self, shell: &str, script: &str) -> (i32, String) {
        let mut command = Command::new(shell);
        output(command.args(["-c", script]).current_dir(self.folder.path()))
    }

    /// Asserts what the command and the recipe say.
    fn assert(&self, code: i32, part: &str) {
        let (ended, text) = self.verify(&["--key", "key.pub"]);
        assert_eq!(ended, code, "{text}");
        assert!(text.contains(part), "{text}");
        let (recipe, text) = self.recipe(&[]);
        assert_eq!(recipe == 0, code == 0, "{text}");
    }

    /// Asserts what becomes of the recipe as a part of other commands, where a shell ignores `set -e`.
    fn assert_everywhere(&self, is_good: bool) {
        let recipe = self.recipe_at("daily", &[]);
        fs::write(self.folder.path().join("recipe"), &recipe).unwrap();
        let pasted = recipe.trim_end();
        let scripts = [
            format!("{pasted} && echo passed"),
            format!("{pasted} || exit 1; echo passed"),
            format!("if {pasted}; then echo passed; fi"),
            format!("set -eu; {pasted}; echo passed"),
            "(eval \"$(cat recipe)\") && echo passed".to_owned(),
            "if eval \"$(cat recipe)\"; then echo passed; fi".to_owned(),
            "if sh recipe; then echo passed; fi".to_owned(),
            ". ./recipe && echo passed".to_owned(),
        ];
        for script in scripts {
            for shell in ["sh", "bash"] {
                let (_, text) = self.run(shell, &script);
                for word in ["passed\n", "good: "] {
                    assert_eq!(text.contains(word), is_good, "{shell} {script}\n{text}");
                }
            }
        }
    }
}

fn output(command: &mut Command) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_signed_backup_verifies_and_so_it_does_without_us() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let signed = Signed::new(algorithm);
        signed.assert(0, "good: these 4 files are those that were signed");
        let (_, text) = signed.recipe(&[]);
        assert!(text.contains("daily.tar.gz: OK"), "{text}");
        assert!(
            text.contains(r#"good: the files of "namespace":"velero","name":"daily""#),
            "{text}"
        );
        let (code, json) = signed.verify(&["--key", "key.pub", "-o", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let tarball = Sha256::of(b"content of daily.tar.gz");
        assert_eq!((code, &json["good"]), (0, &true.into()));
        assert_eq!(json["signed"]["tarball"], format!("sha256:{tarball}"));
    }
}

#[test]
fn every_change_of_the_files_is_told() {
    let change = |part: &str, change: &dyn Fn(&Signed)| {
        let signed = Signed::new(Algorithm::EcdsaP256);
        change(&signed);
        signed.assert(1, part);
    };
    let changed = "the bytes of daily.tar.gz differ from those that were signed";
    change(changed, &|signed| {
        signed.write("daily.tar.gz", "content of daily.tar.gZ");
    });
    let longer = "daily-logs.gz has 3 bytes, and 24 were signed";
    change(longer, &|signed| signed.write("daily-logs.gz", "abc"));
    let missing = "daily-volumeinfo.json.gz was signed and is missing";
    change(missing, &|signed| {
        fs::remove_file(signed.backup().join("daily-volumeinfo.json.gz")).unwrap();
    });
    let added = "daily-csi-volumesnapshots.json.gz was added";
    change(added, &|signed| {
        signed.write("daily-csi-volumesnapshots.json.gz", "");
    });
    change("\"a\\nb\" was added", &|signed| signed.write("a\nb", ""));
    // Not quite the name of an envelope.
    for name in [
        "velero-trust.0.dsse.json",
        "velero-trust.0123456789abcdeF.dsse.json",
        "velero-trust.0123456789abcdef0.dsse.json",
        "velero-trust.0123456789abcdef.dsse.json\nvelero-trust.0123456789abcdef.dsse.json",
    ] {
        change(" was added", &|signed| signed.write(name, ""));
    }
    change("daily.tar.gz was signed and is missing", &|signed| {
        for name in NAMES {
            let other = name.replace("daily", "weekly");
            fs::rename(signed.backup().join(name), signed.backup().join(other)).unwrap();
        }
    });
    change("the signature does not belong to these bytes", &|signed| {
        let path = signed.backup().join(&signed.envelope);
        let mut envelope: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let payload = envelope["payload"].as_str().unwrap().replacen('e', "f", 1);
        envelope["payload"] = payload.into();
        fs::write(path, envelope.to_string()).unwrap();
    });
}

#[test]
fn the_recipe_stops_wherever_it_is_pasted() {
    let signed = Signed::new(Algorithm::EcdsaP256);
    signed.assert_everywhere(true);
    let envelope = fs::read_to_string(signed.backup().join(&signed.envelope)).unwrap();
    let forged = envelope.replacen("\"payload\":\"e", "\"payload\":\"f", 1);
    for (name, content, was) in [
        (
            "daily.tar.gz",
            "content of daily.tar.gZ",
            "content of daily.tar.gz",
        ),
        (&signed.envelope, &forged, &envelope),
    ] {
        signed.write(name, content);
        signed.assert_everywhere(false);
        signed.write(name, was);
    }
    signed.write("velero-trust.0.dsse.json", "");
    signed.assert_everywhere(false);
}

#[test]
fn the_recipe_follows_no_path_of_the_shell() {
    let signed = Signed::new(Algorithm::EcdsaP256);
    let good = signed.folder.path().join("good");
    fs::create_dir(&good).unwrap();
    let copy = "cp -R daily good/daily && export CDPATH=good && ";
    let recipe = signed.recipe_at("daily", &[]);
    let (code, text) = signed.run("sh", &format!("{copy}{recipe}"));
    assert_eq!(code, 0, "{text}");
    signed.write("daily.tar.gz", "content of daily.tar.gZ");
    for shell in ["sh", "bash"] {
        let (code, text) = signed.run(shell, &format!("export CDPATH=good; {recipe}"));
        assert_ne!(code, 0, "{shell}: {text}");
        assert!(text.contains("daily.tar.gz: FAILED"), "{shell}: {text}");
    }
    // The directory is not there.
    let (code, text) = signed.run("sh", &format!("rm -r daily; export CDPATH=good; {recipe}"));
    assert_ne!(code, 0, "{text}");
    assert!(!text.contains("OK"), "{text}");
}

#[test]
fn files_of_another_backup_are_not_good() {
    let signed = Signed::new(Algorithm::EcdsaP256);
    let key = ["--key", "key.pub"];
    let refused = "the envelope is that of the backup daily, not of weekly";
    let assert = |place: &str, more: &[&str], code: i32, part: &str| {
        let (ended, text) = signed.verify_at(place, &[&key[..], more].concat());
        assert_eq!(ended, code, "{place} {more:?}: {text}");
        assert!(text.contains(part), "{place} {more:?}: {text}");
        if code != 2 {
            let (ended, text) = signed.run("sh", &signed.recipe_at(place, more));
            assert_eq!(ended == 0, code == 0, "{place} {more:?}: {text}");
        }
    };
    assert("daily", &["--name", "weekly"], 1, refused);
    std::os::unix::fs::symlink("daily", signed.folder.path().join("weekly")).unwrap();
    assert("weekly", &[], 1, refused);
    fs::remove_file(signed.folder.path().join("weekly")).unwrap();
    fs::rename(signed.backup(), signed.folder.path().join("weekly")).unwrap();
    let told = "if the directory was renamed, name its backup with `--name`";
    for place in ["weekly", "./weekly/", "weekly/."] {
        assert(place, &[], 1, refused);
        assert(place, &[], 1, told);
        assert(place, &["--name", "daily"], 0, "good: ");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
    command.current_dir(signed.folder.path().join("weekly"));
    let (code, text) = output(command.args(["verify", ".", "--key", "../key.pub"]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(refused), "{text}");
    assert("/", &[], 2, "has no name to compare");

    let daily = ["--name", "daily"];
    let recorded_in = |place| [&daily[..], &["--recorded-in", place]].concat();
    assert("weekly", &recorded_in("bucket/a/b"), 0, "good: ");
    assert("weekly", &recorded_in("bucket/a/b/"), 0, "good: ");
    let elsewhere = "it was recorded in bucket/a/b, not in bucket";
    assert("weekly", &recorded_in("bucket"), 1, elsewhere);
    assert("weekly", &recorded_in("other/a/b"), 1, "not in other/a/b");
    // Nothing can be both. No store is asked.
    let url = "s3://bucket/backups/weekly";
    assert(url, &daily, 2, "is that of the backup weekly");
    for url in [
        "gs://bucket/backups/weekly",
        "https://acct.blob.core.windows.net/b/backups/weekly",
    ] {
        assert(url, &[], 2, "no other bucket is read; copy the folder");
    }
}

/// Whoever writes to the bucket can rename a list, and put another one in its place.
#[test]
fn the_key_that_verifies_counts_and_not_the_name_of_the_envelope() {
    let signed = Signed::new(Algorithm::EcdsaP256);
    let key = ["--key", "key.pub"];
    let renamed = files::envelope(&"f".repeat(64));
    let at = |name: &str| signed.backup().join(name);
    fs::rename(at(&signed.envelope), at(&renamed)).unwrap();
    let (code, text) = signed.verify(&key);
    assert_eq!(code, 0, "{text}");
    let envelope = fs::read_to_string(at(&renamed)).unwrap();
    let signature = envelope.find("\"sig\"").unwrap() + 8;
    let mut forged = envelope;
    forged.replace_range(signature..signature + 8, "AAAAAAAA");
    signed.write(&signed.envelope, &forged);
    let (code, text) = signed.verify(&key);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("was changed after it was signed"), "{text}");
    // What nobody can read says nothing about the keys.
    fs::remove_file(at(&signed.envelope)).unwrap();
    signed.write(&renamed, "{}");
    let (code, text) = signed.verify(&key);
    assert_eq!(code, 3, "{text}");
}

#[test]
fn what_is_no_file_is_not_read() {
    let signed = Signed::new(Algorithm::EcdsaP256);
    for name in ["pipe".to_owned(), files::envelope(&"f".repeat(64))] {
        let path = signed.backup().join(&name);
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let (code, text) = signed.verify(&["--key", "key.pub"]);
        if name == "pipe" {
            assert_eq!(code, 2, "{text}");
            assert!(text.contains("pipe: it is no file"), "{text}");
        } else {
            assert_eq!(code, 0, "{text}");
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn one_good_envelope_of_the_given_keys_is_enough() {
    let p256 = Algorithm::EcdsaP256;
    for order in [["key.pub", "b.pub"], ["b.pub", "key.pub"]] {
        let signed = Signed::new(p256);
        let both = ["--key", order[0], "--key", order[1]];
        let assert = |arguments: &[&str], code: i32, parts: &[&str]| {
            let (ended, text) = signed.verify(arguments);
            assert_eq!(ended, code, "{text}");
            for part in parts {
                assert!(text.contains(part), "no `{part}`: {text}");
            }
        };
        let b = ["--key", "b.pub"];
        // Another key signed other bytes.
        let mut files = signed.statement.manifest.files().to_vec();
        let tarball = files.iter_mut().find(|file| file.name == "daily.tar.gz");
        tarball.unwrap().sha256 = Sha256::of(b"other");
        let mut statement = signed.statement.clone();
        statement.manifest = Manifest::new("daily", files).unwrap();
        let other = signed.sign(p256, "b.pub", &statement);
        let differ = "the bytes of daily.tar.gz differ";
        assert(&b, 1, &[differ]);
        assert(
            &both,
            0,
            &["good: ", &other, "1 file differs from those that it signs"],
        );
        let (_, json) = signed.verify(&[&both[..], &["-o", "json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["good"], true);
        assert_eq!(json["otherEnvelopes"][0]["envelope"], other.as_str());

        // Two files differ, or none does.
        signed.write("daily-logs.gz", "shorter");
        assert(&both, 1, &["also: ", "those that it signs", "not good: "]);
        let (_, text) = signed.verify(&both);
        let told = ["1 file differs from those", "2 files differ from those"];
        assert!(told.iter().any(|told| text.contains(told)), "{text}");
        signed.write("daily-logs.gz", "content of daily-logs.gz");
        let again = signed.sign(p256, "c.pub", &signed.statement);
        let three = [&both[..], &["--key", "c.pub"]].concat();
        let says = format!("{again}: the files are those that it signs");
        let second = format!("{}: the files are", signed.envelope);
        let (code, text) = signed.verify(&three);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(&says) || text.contains(&second), "{text}");
        fs::remove_file(signed.backup().join(&again)).unwrap();

        // It says nothing, or what nobody signed.
        let good = fs::read_to_string(signed.backup().join(&signed.envelope)).unwrap();
        let stranger = Signed::new(p256);
        let strange = fs::read_to_string(stranger.backup().join(&stranger.envelope)).unwrap();
        let forged = fs::read_to_string(signed.backup().join(&other)).unwrap();
        let forged = forged.replacen("\"payload\":\"e", "\"payload\":\"f", 1);
        for (content, alone, part) in [
            ("{}", 2, "not the JSON of a DSSE envelope"),
            (&" ".repeat(1 << 20), 2, "an envelope has at most 49152"),
            (&strange, 3, "signed by another key"),
            (&forged, 1, "the signature does not belong to these bytes"),
        ] {
            signed.write(&other, content);
            assert(&b, alone, &[part]);
            assert(&both, 0, &["good: ", &other, part]);
            // What is known to be wrong is told before what is not known.
            signed.write("daily.tar.gz", "content of daily.tar.gZ");
            assert(&both, 1, &[differ, part]);
            signed.write("daily.tar.gz", "content of daily.tar.gz");
        }
        // Neither is good, and neither is known not to be.
        signed.write(&signed.envelope, &strange);
        signed.write(&other, "{}");
        assert(&both, 2, &["not the JSON"]);
        signed.write(&signed.envelope, &good);
        // It cannot even be read.
        fs::remove_file(signed.backup().join(&other)).unwrap();
        fs::create_dir(signed.backup().join(&other)).unwrap();
        assert(&b, 2, &["cannot read velero-trust."]);
        assert(&both, 0, &["good: ", "cannot read velero-trust."]);
    }
}

#[test]
fn a_trusted_key_vouches_for_what_it_says() {
    let signed = Signed::new(Algorithm::EcdsaP256);
    let folder = signed.folder.path();
    let pem = fs::read_to_string(folder.join("key.pub")).unwrap();
    let indented = pem.trim_end().replace('\n', "\n    ");
    let manifest = |spec: &str| {
        format!(
            "apiVersion: velero-trust.io/v1alpha1\nkind: TrustedKey\nmetadata: {{name: cluster-a}}\nspec:\n  \
             publicKey: |\n    {indented}\n{spec}"
        )
    };
    fs::create_dir(folder.join("keys")).unwrap();
    let verify = |spec: &str, more: &[&str]| {
        fs::write(folder.join("keys/a.yaml"), manifest(spec)).unwrap();
        signed.verify(&[&["--trusted-keys", "keys"], more].concat())
    };
    let (code, text) = verify("", &[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("vouched:  by cluster-a, at level observed\n"),
        "{text}"
    );
    let (_, json) = verify("", &["-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["signed"]["trustedKey"], "cluster-a");
    let everything =
        "  scope: {namespaces: [a], locations: [b], backups: ['dai*'], levels: [observed]}\n";
    assert_eq!(verify(everything, &[]).0, 0);
    for (spec, why) in [
        ("  state: Revoked\n", "which is revoked"),
        (
            "  state: Revoked\n  revokedAt: 2999-01-01T00:00:00Z\n",
            "which is revoked",
        ),
        (
            "  scope: {backups: [nightly-*]}\n",
            "spec.scope.backups does not cover it",
        ),
        (
            "  scope: {levels: [adopted]}\n",
            "spec.scope.levels does not cover it",
        ),
        (
            "  state: VerifyOnly\n  validUntil: 2026-01-01T00:00:00Z\n",
            "counts for backups until 2026-01-01T00:00:00Z",
        ),
    ] {
        let (code, text) = verify(spec, &[]);
        assert_eq!(code, 3, "{text}");
        assert!(
            text.contains("TrustedKey cluster-a") && text.contains(why),
            "{text}"
        );
        // Files that differ are no proof against a key that does not count.
        signed.write("daily-logs.gz", "shorter");
        assert_eq!(verify(spec, &[]).0, 3);
        signed.write("daily-logs.gz", "content of daily-logs.gz");
    }
    // The key is given for everything, too.
    assert_eq!(
        verify("  scope: {levels: [adopted]}\n", &["--key", "key.pub"]).0,
        0
    );
    let (code, text) = verify("  state: Revoked\n", &["--key", "key.pub"]);
    assert_eq!(code, 3, "{text}");

    let private = SigningKey::generate(Algorithm::EcdsaP256).unwrap().to_pem();
    fs::write(folder.join("keys/b.pem"), &private).unwrap();
    let (code, text) = verify("", &[]);
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains("keys/b.pem is no key that can be used: it is a private key"),
        "{text}"
    );
    assert!(!text.contains(private.lines().nth(1).unwrap()), "{text}");
}

#[test]
fn what_cannot_be_judged_is_not_called_changed() {
    let signed = Signed::new(Algorithm::Ed25519);
    let other = Signed::new(Algorithm::Ed25519);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let key = path(&other.folder.path().join("key.pub"));
    let (code, text) = signed.verify(&["--key", &key]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("signed by another key: "), "{text}");
    let envelope = path(&signed.backup().join(&signed.envelope));
    let (code, text) = signed.verify(&["--key", &key, "--envelope", &envelope]);
    assert_eq!(code, 3, "{text}");
    // Both keys: one of them signed.
    assert_eq!(signed.verify(&["--key", &key, "--key", "key.pub"]).0, 0);

    // The envelope elsewhere, such as the one of the record.
    let elsewhere = path(&signed.folder.path().join("an envelope"));
    fs::rename(&envelope, &elsewhere).unwrap();
    let (code, text) = signed.verify(&["--key", "key.pub"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("no envelope of velero-trust"), "{text}");
    let arguments = ["--envelope", elsewhere.as_str()];
    assert_eq!(
        signed
            .verify(&[&arguments[..], &["--key", "key.pub"]].concat())
            .0,
        0
    );
    let (code, text) = signed.recipe(&arguments);
    assert_eq!(code, 0, "{text}");

    let unreadable = |part: &str, arguments: &[&str]| {
        let (code, text) = signed.verify(arguments);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(part), "{text}");
    };
    unreadable("key.priv: ", &["--key", "key.priv"]);
    signed.write("not-pem", "x");
    unreadable("it is not a public key in PEM", &["--key", "daily/not-pem"]);
    fs::remove_file(signed.backup().join("not-pem")).unwrap();
    signed.write(&signed.envelope, &" ".repeat(1 << 20));
    unreadable("an envelope has at most 49152", &["--key", "key.pub"]);
    signed.write(&signed.envelope, "{}");
    unreadable("not the JSON of a DSSE envelope", &["--key", "key.pub"]);
    fs::create_dir(signed.backup().join("folder")).unwrap();
    unreadable("cannot read folder", &["--key", "key.pub"]);
}
