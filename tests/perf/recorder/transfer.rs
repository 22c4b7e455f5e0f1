//! Files to and from MinIO with curl, which is also what the recorder is compared with.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::header::HOST;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use velero_trust_testing::minio::{ACCESS_KEY, REGION, SECRET_KEY};

/// Reads `"$@"` and prints the digest, then the CPU time of both programs.
const READ: &str = r#"curl "$@" | openssl dgst -sha256 -r; times"#;

/// Returns the arguments for curl that request `url` as MinIO's administrator.
pub(super) fn arguments(method: &str, url: &str, ca: &Path) -> Result<Vec<String>> {
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = method.parse()?;
    *request.uri_mut() = url.parse()?;
    let keys = AwsCredential {
        key_id: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        token: None,
    };
    AwsAuthorizer::new(&keys, "s3", REGION)
        .with_sign_payload(false)
        .try_authorize(&mut request, None)?;
    let mut arguments = vec!["-sS".to_owned(), "--fail".to_owned(), "--cacert".to_owned()];
    arguments.push(ca.display().to_string());
    for (name, value) in request.headers() {
        if name != HOST {
            arguments.extend(["-H".to_owned(), format!("{name}: {}", value.to_str()?)]);
        }
    }
    arguments.push(url.to_owned());
    Ok(arguments)
}

/// Writes `file` to `url`.
pub(crate) fn upload(file: &Path, url: &str, ca: &Path) -> Result<()> {
    let status = Command::new("curl")
        .args(arguments("PUT", url, ca)?)
        .arg("-T")
        .arg(file)
        .status()?;
    ensure!(status.success(), "curl cannot write {url}: {status}");
    Ok(())
}

/// Reads `url` by `curl … | openssl dgst -sha256`. Returns the digest, and the CPU time of both
/// programs as the shell tells it.
pub(super) fn read(url: &str, ca: &Path) -> Result<(String, Duration)> {
    let output = Command::new("/bin/sh")
        .args(["-c", READ, "sh"])
        .args(arguments("GET", url, ca)?)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    // The digest; the times of the shell; the user and the system time of its children.
    let lines: Vec<_> = text.lines().collect();
    let [digest, _, children] = lines[..] else {
        anyhow::bail!("curl cannot read {url}: {text}");
    };
    let digest = digest.split(' ').next().unwrap_or_default().to_owned();
    let times = children.split_ascii_whitespace().map(time);
    let times = times.collect::<Option<Vec<_>>>().context("times")?;
    Ok((digest, times.into_iter().sum()))
}

/// Reads a time such as `1m2.340s`.
fn time(text: &str) -> Option<Duration> {
    let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
    let minutes = Duration::from_secs(60 * minutes.parse::<u64>().ok()?);
    Some(minutes + Duration::from_secs_f64(seconds.parse().ok()?))
}
