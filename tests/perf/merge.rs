//! The cost of building the bundle of one namespace, without I/O.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use velero_trust::ca::bundle::{mozilla, resolve_ca};
use velero_trust::ca::certificate::Certificate;
use velero_trust::ca::merged_bundle::{
    Contribution, Contributions, Memory, MergedBundle, Moment, Owner, merge_contributions,
};
use velero_trust::ca::rules::{self, Location};
use velero_trust::decision::{Fact, Facts, Lookup, Outcome, Secret, SecretKeyRef};
use velero_trust::kubernetes::bundle::{BundleStatus, config_map, is_same};
use velero_trust::velero::bsl::Bsl;
use velero_trust_testing::pki::Authority;

use super::figures;
use super::usage::Usage;

/// Number of private CAs, each of its own location.
const PRIVATE: usize = 200;

/// Number of rounds, to average over the kernel's ticks.
const ROUNDS: u32 = 200;

/// A time at which all certificates are valid, seconds since 1970.
const NOW: i64 = 1_790_000_000;

const MOMENT: Moment = Moment {
    wall: NOW,
    steady: 0,
};

const NAMESPACE: &str = "velero";

pub(super) fn measure() -> Result<()> {
    let roots = cpu(ROUNDS, || {
        let parsed = mozilla().iter().map(|root| Certificate::parse(root.der()));
        parsed.flatten().count()
    })?;
    let mut facts = Facts::default();
    for number in 0..PRIVATE {
        let pem = Authority::new(&format!("private {number}"))?.pem();
        let data = BTreeMap::from([("ca.crt".to_owned(), pem.into_bytes())]);
        let lookup = Lookup::Secret(SecretKeyRef::new(
            NAMESPACE,
            format!("ca-{number}"),
            "ca.crt",
        ));
        let fact = Fact::Secret(Secret { data }.into());
        facts.insert(lookup, Outcome::Found(fact));
    }
    let texts: Vec<_> = (0..PRIVATE).map(text).collect();

    let (contributions, memory, merged) = build(&texts, &facts);
    let live = config_map(NAMESPACE, &merged, BundleStatus::default());
    ensure!(
        merged.bundle.count == mozilla().len() + PRIVATE,
        "certificates are missing"
    );
    let before = memory.to_text();

    let whole = cpu(ROUNDS, || {
        let (_, memory, merged) = build(&texts, &facts);
        let is_new = memory.to_text() != before;
        let wanted = config_map(NAMESPACE, &merged, BundleStatus::default());
        (is_new, is_same(&live, &wanted))
    })?;
    let evaluation = cpu(ROUNDS, || evaluate(&texts, &facts))?;
    let learn = cpu(ROUNDS, || {
        let mut memory = memory.clone();
        memory.learn(&contributions, MOMENT, 1);
        memory
    })?;
    let remember = cpu(ROUNDS, || memory.to_text())?;
    let merging = cpu(ROUNDS, || {
        merge_contributions(&contributions, &memory, mozilla())
    })?;
    let compare = cpu(ROUNDS, || {
        is_same(
            &live,
            &config_map(NAMESPACE, &merged, BundleStatus::default()),
        )
    })?;

    let title = format!(
        "CPU of one bundle: {} public CAs and {PRIVATE} of {PRIVATE} locations",
        mozilla().len()
    );
    figures::head(&title);
    let row = |name: &str, time: Duration, limit| {
        figures::row(name, time.as_secs_f64() * 1e3, "ms", limit);
    };
    row("all of it", whole, Some(20.0));
    row("  the locations judged, their CAs read", evaluation, None);
    row("  what is named learnt", learn, None);
    row("  the memory as text", remember, None);
    row("  the bundle merged", merging, None);
    row("  the ConfigMap made and compared", compare, None);
    row("once in a process: the public roots read", roots, None);
    Ok(())
}

fn text(number: usize) -> String {
    format!(
        r#"{{"metadata":{{"name":"bsl-{number}"}},"spec":{{"provider":"aws","config":{{"region":"minio",
        "s3Url":"https://minio:9000"}},"objectStorage":{{"bucket":"b","caCertRef":{{"name":"ca-{number}",
        "key":"ca.crt"}}}}}},"status":{{"phase":"Available"}}}}"#
    )
}

/// Builds the bundle as the publisher does for a namespace about which it knows nothing yet.
fn build(texts: &[String], facts: &Facts) -> (Contributions, Memory, MergedBundle) {
    let contributions = evaluate(texts, facts);
    let mut memory = Memory::default();
    memory.learn(&contributions, MOMENT, 1);
    let merged = merge_contributions(&contributions, &memory, mozilla());
    (contributions, memory, merged)
}

/// Evaluates the locations as the publisher does: once to find the needed look-ups, once with the
/// facts.
fn evaluate(texts: &[String], facts: &Facts) -> Contributions {
    let bsls = texts.iter().map(|text| serde_json::from_str(text));
    let bsls: Vec<Bsl<'_>> = bsls.map(Result::unwrap_or_default).collect();
    black_box(pass(&bsls, &Facts::default()));
    pass(&bsls, facts)
}

fn pass(bsls: &[Bsl<'_>], facts: &Facts) -> Contributions {
    let each = bsls.iter().enumerate().map(|(number, bsl)| {
        let location = Location {
            namespace: NAMESPACE,
            dry_run: false,
            bsl,
            old: None,
            now: NOW,
        };
        black_box(rules::judge(&location, facts));
        let contribution = Contribution {
            certificates: resolve_ca(NAMESPACE, bsl, facts).certificates,
            is_complete: true,
        };
        (Owner::Location(format!("bsl-{number}")), contribution)
    });
    each.collect()
}

/// Returns the average CPU time of one of `rounds` calls.
fn cpu<T>(rounds: u32, call: impl Fn() -> T) -> Result<Duration> {
    let before = Usage::of(std::process::id())?;
    for _ in 0..rounds {
        black_box(call());
    }
    let after = Usage::of(std::process::id())?;
    Ok(after.cpu.saturating_sub(before.cpu) / rounds)
}
