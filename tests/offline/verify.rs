//! `velero-trust verify`, and the commands that verify the same without it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use velero_trust::integrity::digest::Sha256;
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

/// A signed backup in `backup/`, with its key in `key.pub`.
struct Signed {
    folder: TempDir,
    envelope: String,
}

impl Signed {
    fn new(algorithm: Algorithm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backup = folder.path().join("backup");
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
                prefix: String::new(),
            },
            pod_volumes: PodVolumes::new(&[]),
            level: Level::Observed,
        };
        let key = SigningKey::generate(algorithm).unwrap();
        let envelope = key.sign(statement.to_bytes().unwrap()).unwrap();
        let name = files::envelope(&key.public().id().to_string());
        fs::write(backup.join(&name), envelope.to_json().unwrap()).unwrap();
        fs::write(folder.path().join("key.pub"), key.public_pem()).unwrap();
        Self {
            folder,
            envelope: name,
        }
    }

    fn backup(&self) -> std::path::PathBuf {
        self.folder.path().join("backup")
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.backup().join(name), content).unwrap();
    }

    /// Runs the command with `arguments`. Returns its exit code and its output.
    fn verify(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_velero-trust"));
        command.env_clear().current_dir(self.folder.path());
        output(command.args(["verify", "backup"]).args(arguments))
    }

    /// Runs the commands that `--recipe` prints.
    fn recipe(&self, arguments: &[&str]) -> (i32, String) {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--key", "key.pub", "--recipe"]);
        let (code, recipe) = self.verify(&arguments);
        assert_eq!(code, 0, "{recipe}");
        output(
            Command::new("sh")
                .args(["-c", &recipe])
                .current_dir(self.folder.path()),
        )
    }

    /// Asserts what the command and the recipe say.
    fn assert(&self, code: i32, part: &str) {
        let (ended, text) = self.verify(&["--key", "key.pub"]);
        assert_eq!(ended, code, "{text}");
        assert!(text.contains(part), "{text}");
        let (recipe, text) = self.recipe(&[]);
        assert_eq!(recipe == 0, code == 0, "{text}");
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
    let signed = Signed::new(Algorithm::EcdsaP256);
    let (code, text) = signed.verify(&["--key", "key.pub", "--name", "weekly"]);
    assert_eq!(
        (code, text.trim()),
        (1, "the envelope is that of the backup daily, not of weekly")
    );
}

#[test]
fn what_cannot_be_judged_is_not_called_changed() {
    let signed = Signed::new(Algorithm::Ed25519);
    let other = Signed::new(Algorithm::Ed25519);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let key = path(&other.folder.path().join("key.pub"));
    let (code, text) = signed.verify(&["--key", &key]);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("signed by other keys: velero-trust."),
        "{text}"
    );
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
    unreadable(
        "it is not a public key in PEM",
        &["--key", "backup/not-pem"],
    );
    fs::remove_file(signed.backup().join("not-pem")).unwrap();
    signed.write(&signed.envelope, &" ".repeat(1 << 20));
    unreadable("an envelope has at most 49152", &["--key", "key.pub"]);
    signed.write(&signed.envelope, "{}");
    unreadable("not the JSON of a DSSE envelope", &["--key", "key.pub"]);
    fs::create_dir(signed.backup().join("folder")).unwrap();
    unreadable("cannot read folder", &["--key", "key.pub"]);
}
