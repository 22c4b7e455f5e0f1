//! restic and kopia: create a repository, back up and restore.

use super::ensure_untrusted;
use super::scene::{AWS_CA_BUNDLE, SSL_CERT_DIR, Scene, all, only};
use super::tool::Shell;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::kubelet::Injected;
use velero_trust_testing::minio::Minio;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::scratch;

/// The commands of a program, which use the variables of [`shell`].
struct Program {
    create: &'static str,
    /// Runs before the others.
    connect: &'static str,
    backup: &'static str,
    restore: &'static str,
    /// Creates a repository with its own CA, passed the way Velero passes it.
    create_with_own_ca: &'static str,
}

const RESTIC: Program = Program {
    create: "restic init",
    connect: "true",
    backup: "restic backup $FILES",
    restore: "restic restore latest:$FILES --target ~/restored",
    create_with_own_ca: "restic --cacert $OWN_CA init",
};

const KOPIA: Program = Program {
    create: "kopia repository create s3 --endpoint $HOST --bucket $BUCKET",
    connect: "kopia repository connect s3 --endpoint $HOST --bucket $BUCKET",
    backup: "kopia snapshot create $FILES",
    restore: "kopia snapshot restore $FILES ~/restored",
    create_with_own_ca: "kopia repository create s3 --endpoint $HOST --bucket $BUCKET \
                         --root-ca-pem-path $OWN_CA",
};

pub(super) fn restic(cluster: &Cluster, scene: &Scene) -> Result<()> {
    let minio = cluster.minio()?;
    needs_our_roots(&RESTIC, minio, "restic", &scene.restic)
}

pub(super) fn kopia(cluster: &Cluster, scene: &Scene) -> Result<()> {
    let minio = cluster.minio()?;
    needs_our_roots(&KOPIA, minio, "kopia", &scene.node_agent)
}

/// Expects a failure without the injection and with AWS_CA_BUNDLE alone, and a complete backup and
/// restore with SSL_CERT_DIR alone and with both.
fn needs_our_roots(
    program: &Program,
    minio: &Minio,
    bucket: &str,
    injected: &Injected,
) -> Result<()> {
    let files = scratch::folder("files")?;
    let content: Vec<_> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(files.path().join("volume"), &content)?;

    let greens = [
        ("with SSL_CERT_DIR alone", only(SSL_CERT_DIR, injected)),
        ("with both", all(injected)),
    ];
    for (number, (what, green)) in greens.iter().enumerate() {
        let bucket = format!("{bucket}-{number}");
        minio.make_bucket(&bucket)?;
        let shell = |variables: &_| shell(minio, &bucket, files.path(), variables);
        for red in [Vec::new(), only(AWS_CA_BUNDLE, injected)] {
            let output = shell(&red)?.run(program.create)?;
            ensure_untrusted(&format!("with {red:?}"), &output)?;
        }

        let first = shell(green)?;
        for command in [program.create, program.backup] {
            first.ok(command).with_context(|| what.to_string())?;
        }
        // Without the files in the home folder of the first one, as in another Pod.
        let other = shell(green)?;
        let restore = format!("{} && {}", program.connect, program.restore);
        other.ok(&restore).with_context(|| what.to_string())?;
        let restored = fs::read(other.home().join("restored/volume"))?;
        ensure!(restored == content, "{what}: it restored other bytes");
    }
    Ok(())
}

/// Checks how both treat the CA of a location itself: with a wrong one, the injection does not
/// help.
pub(super) fn with_a_ca_of_their_own(cluster: &Cluster, scene: &Scene) -> Result<()> {
    let minio = cluster.minio()?;
    let folder = scratch::folder("own-ca")?;
    let own_ca = folder.path().join("ca.crt");
    let right = minio.authority.pem();
    let wrong = Authority::new("of another store")?.pem();
    let programs = [
        (&RESTIC, "restic-own-ca", &scene.restic),
        (&KOPIA, "kopia-own-ca", &scene.node_agent),
    ];
    for (program, bucket, injected) in programs {
        minio.make_bucket(bucket)?;
        let path = own_ca.display().to_string();
        let variables = [all(injected), vec![("OWN_CA", &path)]].concat();
        let shell = shell(minio, bucket, folder.path(), &variables)?;
        fs::write(&own_ca, &wrong)?;
        ensure_untrusted(bucket, &shell.run(program.create_with_own_ca)?)?;
        fs::write(&own_ca, &right)?;
        shell.ok(program.create_with_own_ca).context(bucket)?;
    }
    Ok(())
}

/// Returns a shell for the commands above.
fn shell(minio: &Minio, bucket: &str, files: &Path, variables: &[(&str, &str)]) -> Result<Shell> {
    let files = files.display().to_string();
    let named = [
        ("HOST", minio.url.trim_start_matches("https://")),
        ("BUCKET", bucket),
        ("RESTIC_REPOSITORY", &format!("s3:{}/{bucket}", minio.url)),
        ("FILES", &files),
    ];
    Shell::new(&[&named, variables].concat())
}
