//! MinIO, an S3 server, behind a private CA.

use crate::pki::Authority;
use crate::process::{Process, clean_command};
use crate::{https, ports, rig, scratch, wait};
use anyhow::{Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The access key. It is the same in every copy of the harness, because Velero stores the
/// credentials that a location names in a fixed folder of the machine.
pub const ACCESS_KEY: &str = "velero-trust";

/// The secret key.
pub const SECRET_KEY: &str = "velero-trust-secret";

/// The region that MinIO reports for its buckets.
pub const REGION: &str = "minio";

/// A running MinIO.
#[derive(Debug)]
pub struct Minio {
    /// `https://127.0.0.1:PORT`
    pub url: String,
    /// The CA that signed MinIO's certificate.
    pub authority: Authority,
    process: Process,
    folder: TempDir,
}

/// Another name in MinIO's certificate, which nobody resolves: only a proxy reaches it.
pub const NAME: &str = "minio.invalid";

const CERTIFICATES: &str = "certificates";

impl Minio {
    /// Starts a MinIO with these buckets.
    pub fn start(buckets: &[&str]) -> Result<Self> {
        ports::retrying(|| Self::attempt(buckets))
    }

    fn attempt(buckets: &[&str]) -> Result<Self> {
        let folder = scratch::folder("minio")?;
        let authority = Authority::new("velero-trust test: CA of MinIO")?;
        let certificates = folder.path().join(CERTIFICATES);
        fs::create_dir(&certificates)?;
        certify(&certificates, &authority)?;
        fs::write(
            folder.path().join("credentials"),
            format!(
                "[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n"
            ),
        )?;

        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        for bucket in buckets {
            fs::create_dir(data.join(bucket))?;
        }
        let port = ports::free()?;
        let mut command = clean_command(&rig::binary("minio")?, folder.path());
        command
            .env("MINIO_ROOT_USER", ACCESS_KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET_KEY)
            .env("MINIO_SITE_REGION", REGION)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .env("MINIO_PROMETHEUS_AUTH_TYPE", "public")
            .arg("server")
            .args(["--address", &format!("127.0.0.1:{port}")])
            .arg("--certs-dir")
            .arg(&certificates)
            .arg(&data);
        let mut process = Process::start("minio", command, folder.path())?;
        let url = format!("https://127.0.0.1:{port}");
        process.ready(|_| check_live(&url, &authority.pem()))?;
        Ok(Self {
            url,
            authority,
            process,
            folder,
        })
    }

    /// Sends a signal, by its name without `SIG`: `STOP` lets every client wait until `CONT`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.process.signal(signal)
    }

    /// Returns the end of the server's log, for error messages.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Creates a bucket while MinIO is running.
    pub fn make_bucket(&self, name: &str) -> Result<()> {
        Ok(fs::create_dir(self.data().join(name))?)
    }

    /// Switches to a certificate signed by `authority`; open connections are kept. MinIO checks the
    /// files by itself, and at once on a signal.
    pub fn show_certificate_of(&self, authority: &Authority) -> Result<()> {
        certify(&self.folder.path().join(CERTIFICATES), authority)?;
        self.process.signal("HUP")?;
        let what = "MinIO to show its new certificate";
        wait::poll(what, wait::PATIENCE, || self.check_live(&authority.pem()))
    }

    /// Returns the folder that contains one folder for each bucket.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the file with the credentials, in the format of `velero install --secret-file` and
    /// `AWS_SHARED_CREDENTIALS_FILE`.
    pub fn credentials_file(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// Returns how many requests for buckets it has answered. MinIO counts them anew every ten seconds.
    pub fn requests(&self) -> Result<f64> {
        let url = format!("{}/minio/v2/metrics/cluster", self.url);
        let metrics = https::get(&url, &self.authority.pem(), &[])?;
        ensure!(metrics.status == 200, "{metrics:?}");
        let counts = metrics.body.lines().filter_map(|line| {
            let series = line.strip_prefix("minio_s3_requests_total{")?;
            series.rsplit(' ').next()?.parse::<f64>().ok()
        });
        Ok(counts.sum())
    }

    /// Fails unless MinIO answers a client that trusts only `ca_pem`.
    pub fn check_live(&self, ca_pem: &str) -> Result<()> {
        check_live(&self.url, ca_pem)
    }

    /// Returns a BackupStorageLocation for one of its buckets, without any CA.
    pub fn location(&self, namespace: &str, name: &str, bucket: &str) -> Value {
        self.location_at(namespace, name, &json!({"bucket": bucket}))
    }

    /// Returns the same location with this server's CA by `caCertRef`, and the Secret that it
    /// references.
    pub fn location_with_ca(&self, namespace: &str, name: &str, bucket: &str) -> (Value, Value) {
        let secret_name = format!("{name}-ca");
        let reference = json!({"name": secret_name, "key": "ca.crt"});
        let storage = json!({"bucket": bucket, "caCertRef": reference});
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": namespace, "name": secret_name},
            "stringData": {"ca.crt": self.authority.pem()},
        });
        (self.location_at(namespace, name, &storage), secret)
    }

    /// Returns the same location with the CA referenced by our annotation, which Velero does not
    /// read, and the Secret that it references.
    pub fn location_by_annotation(
        &self,
        namespace: &str,
        name: &str,
        bucket: &str,
    ) -> (Value, Value) {
        let secret_name = format!("{name}-ca");
        let mut location = self.location(namespace, name, bucket);
        let by_annotation = json!({"velero-trust.io/ca-secret": format!("{secret_name}/root.pem")});
        merge(
            &mut location,
            &json!({"metadata": {"annotations": by_annotation}}),
        );
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": namespace, "name": secret_name},
            "stringData": {"root.pem": self.authority.pem()},
        });
        (location, secret)
    }

    fn location_at(&self, namespace: &str, name: &str, storage: &Value) -> Value {
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {
                "provider": "aws",
                "objectStorage": storage,
                "config": {"region": REGION, "s3ForcePathStyle": "true", "s3Url": self.url},
            },
        })
    }
}

fn certify(folder: &Path, authority: &Authority) -> Result<()> {
    let identity = authority.server_named("MinIO", &["127.0.0.1", "localhost", NAME])?;
    fs::write(folder.join("private.key"), &identity.key_pem)?;
    fs::write(folder.join("public.crt"), &identity.certificate_pem)?;
    Ok(())
}

fn check_live(url: &str, ca_pem: &str) -> Result<()> {
    let response = https::get(&format!("{url}/minio/health/live"), ca_pem, &[])?;
    ensure!(
        response.status == 200,
        "{} {}",
        response.status,
        response.body
    );
    Ok(())
}
