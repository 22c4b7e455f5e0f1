//! Which certificate a fingerprint selects, and whether a namespace may forget it.

use std::collections::BTreeMap;

use super::fingerprint::FingerprintPrefix;
use crate::ca::certificate::{Certificate, Fingerprint};
use crate::ca::merged_bundle::Memory;

/// What a namespace knows of the selected certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing names it; it stays until this time, in seconds since 1970.
    Retained(i64),
    /// These name it now, or named it when they could last be read.
    Named(Vec<String>),
    /// It is not remembered here.
    Absent,
}

/// Returns the only certificate that `wanted` selects in the memories of these namespaces.
///
/// # Errors
/// If it selects none, or several.
pub(super) fn select(
    memories: &BTreeMap<String, Memory>,
    wanted: &FingerprintPrefix,
) -> Result<Certificate, String> {
    let all = memories.values().flat_map(Memory::certificates);
    let selected = all.filter(|one| wanted.selects(one.fingerprint()));
    let selected = selected.map(|one| (one.fingerprint(), one));
    let selected: BTreeMap<Fingerprint, &Certificate> = selected.collect();
    let mut certificates = selected.into_values();
    match (certificates.next(), certificates.next()) {
        (Some(only), None) => Ok(only.clone()),
        (Some(first), Some(second)) => Err(format!(
            "more than one CA has a fingerprint that begins so, such as {} ({}) and {} ({}); name more \
             digits",
            first.fingerprint(),
            first.subject(),
            second.fingerprint(),
            second.subject()
        )),
        (None, _) => {
            let namespaces: Vec<_> = memories.keys().map(String::as_str).collect();
            let of = if namespaces.is_empty() {
                "there is no memory of any namespace".to_owned()
            } else {
                format!("the memories of {} hold none", namespaces.join(", "))
            };
            Err(format!(
                "no CA that is retained has this fingerprint: {of}; `velero-trust status` lists those \
                 that are"
            ))
        }
    }
}

/// Returns what `memory` knows of a certificate.
pub(super) fn standing(memory: &Memory, fingerprint: Fingerprint) -> Standing {
    let names: Vec<_> = memory
        .named_by(fingerprint)
        .map(ToString::to_string)
        .collect();
    if !names.is_empty() {
        return Standing::Named(names);
    }
    let mut retained = memory.retained_until();
    let found = retained.find(|(certificate, _)| certificate.fingerprint() == fingerprint);
    found.map_or(Standing::Absent, |(_, until)| Standing::Retained(until))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::bundle::mozilla;
    use crate::ca::merged_bundle::{Contribution, Contributions, Moment, Owner};

    const WEEK: i64 = 7 * 86_400;

    /// Returns a memory that once learnt `first`, then `then`.
    fn memory(first: &[Certificate], then: &[Certificate]) -> Memory {
        let mut memory = Memory::default();
        for certificates in [first, then] {
            let contribution = Contribution {
                certificates: certificates.to_vec(),
                is_complete: true,
            };
            let owner = Owner::Location("default".to_owned());
            let now = Moment { wall: 5, steady: 5 };
            memory.learn(&Contributions::from([(owner, contribution)]), now, WEEK);
        }
        memory
    }

    #[test]
    fn a_fingerprint_selects_one_certificate_in_all_namespaces() {
        let [one, other] = [&mozilla()[0], &mozilla()[1]];
        let memories = BTreeMap::from([
            ("a".to_owned(), memory(std::slice::from_ref(one), &[])),
            ("b".to_owned(), memory(&[], std::slice::from_ref(one))),
        ]);
        let prefix = |one: &Certificate| {
            FingerprintPrefix::parse(&one.fingerprint().to_string()[..12]).unwrap()
        };
        let fingerprint = one.fingerprint();
        assert_eq!(
            select(&memories, &prefix(one)).unwrap().fingerprint(),
            fingerprint
        );
        let why = select(&memories, &prefix(other)).unwrap_err();
        assert!(why.contains("the memories of a, b hold none"), "{why}");
        assert_eq!(
            standing(&memories["a"], fingerprint),
            Standing::Retained(5 + WEEK)
        );
        let named = Standing::Named(vec!["BackupStorageLocation default".to_owned()]);
        assert_eq!(standing(&memories["b"], fingerprint), named);
        assert_eq!(
            standing(&memories["b"], other.fingerprint()),
            Standing::Absent
        );
    }
}
