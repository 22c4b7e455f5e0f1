//! restic and kopia: a repository, a backup and a restore.

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

/// The commands of a program, by the variables of [`shell`].
struct Program {
    create: &'static str,
    /// What comes before the others.
    connect: &'static str,
    backup: &'static str,
    restore: &'static str,
    /// Makes a repository with a CA of its own, in the way Velero gives it one.
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

/// Red without us and with AWS_CA_BUNDLE alone; a whole life with SSL_CERT_DIR alone, and with both.
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
        // Without what the first one kept at home, as in another Pod.
        let other = shell(green)?;
        let restore = format!("{} && {}", program.connect, program.restore);
        other.ok(&restore).with_context(|| what.to_string())?;
        let restored = fs::read(other.home().join("restored/volume"))?;
        ensure!(restored == content, "{what}: it restored other bytes");
    }
    Ok(())
}

/// What a location's own CA does to both: with a wrong one, all that we inject does not help.
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

/// A shell for the commands above.
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
