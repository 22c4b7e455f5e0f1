//! Decides whether a Go program with a bundle trusts what a server presents.
//!
//! Velero, its plugins, kopia and restic are Go programs, so this follows Go's `crypto/tls` and
//! `crypto/x509`. `certification_path` lists where the library that verifies paths here differs from Go.

use super::certification_path::{PathError, find_path, names_as_issuer};
use super::display::take_listed;
use super::extensions::may_issue;
use super::names::HostNames;
use super::problem::{ExpiresSoon, Observation, PresentedCertificate, Problem, UntrustedReason};
use crate::ca::certificate::Certificate;
use crate::ca::x509::ParsedCertificate;

const SECONDS_PER_DAY: i64 = 86_400;

/// Judges what a server presented, DER with its own certificate first, for `host` (a DNS name or
/// an IP address without brackets), with exactly `roots` as the bundle, at `now` in seconds since
/// 1970. Returns all problems at once.
pub fn judge<P: AsRef<[u8]>>(
    presented: &[P],
    host: &str,
    roots: &[Certificate],
    now: i64,
) -> Observation {
    let mut parsed = Vec::with_capacity(presented.len());
    let mut problems = Vec::new();
    for (at, der) in presented.iter().enumerate() {
        match ParsedCertificate::parse(der.as_ref()) {
            Ok(certificate) => parsed.push(certificate),
            Err(defect) => problems.push(Problem::Unreadable {
                number: at + 1,
                defect: defect.to_string(),
            }),
        }
    }
    let chain: Vec<_> = parsed.iter().map(Certificate::from).collect();
    let mut observation = Observation {
        chain: chain.iter().map(PresentedCertificate::from).collect(),
        issuer: None,
        problems,
        expires_soon: None,
    };
    // Go stops at the first certificate that does not parse, so no other check matters.
    if !observation.problems.is_empty() {
        return observation;
    }
    let (Some(leaf), Some(parsed)) = (chain.first(), parsed.first()) else {
        let reason = "the server presented no certificate".to_owned();
        observation.problems.push(Problem::Undecided { reason });
        return observation;
    };
    let top = follow_issuers(&chain).last().copied().unwrap_or(leaf);
    observation.issuer = Some(top.issuer());
    let problems = &mut observation.problems;
    problems.extend(check_dates(leaf, now));
    problems.extend(check_name(parsed, host));
    problems.extend(check_trust(parsed, &chain, roots, now));
    observation.expires_soon = expires_soon(leaf, now);
    observation
}

fn check_dates(leaf: &Certificate, now: i64) -> Option<Problem> {
    if leaf.not_after < now {
        Some(Problem::Expired {
            not_after: leaf.not_after,
        })
    } else if now < leaf.not_before {
        Some(Problem::NotYetValid {
            not_before: leaf.not_before,
        })
    } else {
        None
    }
}

/// Returns when `leaf`, a certificate of a server that is valid at `now` (seconds since 1970), expires,
/// if that is soon.
pub fn expires_soon(leaf: &Certificate, now: i64) -> Option<ExpiresSoon> {
    let left = leaf.not_after - now;
    let life = leaf.not_after.saturating_sub(leaf.not_before);
    let is_within = |days: i64, part: i64| left <= (days * SECONDS_PER_DAY).min(life / part);
    (left >= 0 && is_within(30, 4)).then(|| ExpiresSoon {
        not_after: leaf.not_after,
        days_left: left / SECONDS_PER_DAY,
        is_urgent: is_within(14, 6),
    })
}

fn check_name(leaf: &ParsedCertificate<'_>, host: &str) -> Option<Problem> {
    let names = HostNames::of(&leaf.extensions);
    if names.contain(host) {
        return None;
    }
    let (first, more) = take_listed(names.to_strings());
    Some(Problem::NameMismatch {
        host: host.to_owned(),
        names: first,
        more,
    })
}

fn check_trust(
    parsed: &ParsedCertificate<'_>,
    chain: &[Certificate],
    roots: &[Certificate],
    now: i64,
) -> Option<Problem> {
    let leaf = chain.first()?;
    let forbidden = if leaf.path_constraints.has_unknown_critical {
        Some("the server's certificate has a critical extension that Velero does not know")
    } else if leaf.path_constraints.allows_server_auth {
        None
    } else {
        Some("the server's certificate is not for servers (extendedKeyUsage lacks serverAuth)")
    };
    // An expired certificate has a problem of its own. Its CA is judged on its last day.
    let day = now.clamp(leaf.not_before, leaf.not_after.max(leaf.not_before));
    let error = match forbidden {
        Some(why) => PathError::Forbidden(why),
        None => find_path(parsed, chain, roots, day).err()?,
    };
    let path = follow_issuers(chain);
    let top = path.last().copied().unwrap_or(leaf);
    Some(Problem::Untrusted {
        issuer: top.issuer(),
        chain: chain.iter().map(Certificate::subject).collect(),
        reason: match error {
            PathError::Undecided(reason) => return Some(Problem::Undecided { reason }),
            PathError::Forbidden(reason) => UntrustedReason::Forbidden(reason),
            PathError::UnknownIssuer => explain_unknown_issuer(&path, top, roots, now),
        },
    })
}

/// Follows the issuers' names through `chain`: returns the server's certificate, its issuer's, and
/// so on.
fn follow_issuers(chain: &[Certificate]) -> Vec<&Certificate> {
    let mut path: Vec<_> = chain.first().into_iter().collect();
    while let Some(top) = path.last() {
        let issuer = chain
            .iter()
            .find(|issuer| names_as_issuer(top, issuer) && !path.contains(issuer));
        match issuer {
            Some(issuer) => path.push(issuer),
            None => break,
        }
    }
    path
}

/// Returns why no certificate of the bundle issued what was presented.
fn explain_unknown_issuer(
    path: &[&Certificate],
    top: &Certificate,
    roots: &[Certificate],
    now: i64,
) -> UntrustedReason {
    let weak = path
        .iter()
        .filter(|one| !one.is_self_issued())
        .find_map(|one| Some((one, one.weak_digest?)));
    if let Some((one, digest)) = weak {
        return UntrustedReason::WeakSignature {
            subject: one.subject(),
            digest,
        };
    }
    if path.iter().skip(1).any(|ca| !ca.is_ca) {
        return UntrustedReason::Forbidden("a certificate on the way to its CA is no CA itself");
    }
    let out_of_date = |ca: &Certificate, is_in_bundle| UntrustedReason::OutOfDate {
        ca: ca.subject(),
        is_in_bundle,
        not_before: ca.not_before,
        not_after: ca.not_after,
    };
    let is_valid = |ca: &Certificate| ca.not_before <= now && now <= ca.not_after;
    let mut named: Vec<_> = roots
        .iter()
        .filter(|root| path.iter().any(|one| names_as_issuer(one, root)))
        .collect();
    // Of several roots with one name, report on the one that is closest to acceptable.
    named.sort_by_key(|root| (!root.is_ca, !is_valid(root)));
    match named.first() {
        Some(root) if !root.is_ca => UntrustedReason::NotCa,
        Some(root) if !may_issue(root) => UntrustedReason::Forbidden(
            "the bundle's CA of that name has a critical extension that Velero does not know",
        ),
        Some(root) if !is_valid(root) => out_of_date(root, true),
        Some(_) => path
            .iter()
            .skip(1)
            .find(|ca| !is_valid(ca))
            .map_or(UntrustedReason::DifferentKey, |ca| out_of_date(ca, false)),
        None => UntrustedReason::UnknownIssuer {
            is_presented: top.is_self_issued(),
        },
    }
}

#[cfg(test)]
mod tests;
