//! What the envelopes of the given keys say of the files of a backup.

use serde::Serialize;

use super::FoundEnvelope;
use crate::decision::TrustedKey;
use crate::integrity::manifest::File;
use crate::integrity::trust::{Claim, Trust};
use crate::integrity::verification::{self, VerificationError, Verified};
use crate::velero::text::shown;

/// What must be signed besides the files.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The name of the backup.
    pub(super) name: String,
    /// What to do if the signed name is another one; may be empty.
    pub(super) name_advice: &'static str,
    /// Bucket and prefix of the files; `None` if they are in a directory.
    pub(super) read_in: Option<String>,
    /// Bucket and prefix, as `bucket/prefix` or `bucket`; `None` if any will do.
    pub(super) recorded_in: Option<String>,
    /// What to do if the files were recorded elsewhere; may be empty.
    pub(super) recorded_in_advice: &'static str,
}

/// What one envelope says of the files.
#[derive(Debug)]
pub(super) enum Judgement {
    /// One of the keys signed this backup. The files may differ.
    Verified {
        /// What it says.
        verified: Box<Verified>,
        /// The name of the key.
        trusted: String,
    },
    /// The files are known not to be good: why.
    NotGood(String),
    /// It cannot be read: why.
    Unreadable(String),
    /// One of the keys signed it, and does not count for it: why.
    NotVouched(String),
    /// None of the keys signed it.
    UnknownKey(String),
}

/// What another envelope says than the one that the result rests on.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct OtherEnvelope {
    /// The name of its file.
    pub(super) envelope: String,
    /// What it says.
    pub(super) says: String,
}

impl Judgement {
    /// Returns the order in which judgements count: a good one, one that knows that the files are not
    /// good, and then those that know nothing.
    fn rank(&self) -> u8 {
        match self {
            Self::Verified { verified, .. } if verified.differences.is_empty() => 0,
            Self::Verified { .. } => 1,
            Self::NotGood(_) => 2,
            Self::Unreadable(_) => 3,
            Self::NotVouched(_) => 4,
            Self::UnknownKey(_) => 5,
        }
    }

    fn says(&self) -> String {
        match self {
            Self::Verified { verified, .. } => match verified.differences.len() {
                0 => "the files are those that it signs".to_owned(),
                1 => "1 file differs from those that it signs".to_owned(),
                differing => format!("{differing} files differ from those that it signs"),
            },
            Self::NotGood(why)
            | Self::Unreadable(why)
            | Self::NotVouched(why)
            | Self::UnknownKey(why) => why.clone(),
        }
    }
}

/// Judges `files` by each of `envelopes`. Returns the judgement that counts, and what the other
/// envelopes say; `None` if there is no envelope.
///
/// Whoever gives a key trusts what it signed. So one envelope that signs exactly these files is enough:
/// another key may have signed the backup before a file of it was replaced, and whoever writes to the
/// bucket can spoil any envelope.
pub(super) fn judge(
    envelopes: Vec<FoundEnvelope>,
    keys: &[TrustedKey],
    expected: &Expected,
    files: &[File],
) -> Option<(Judgement, Vec<OtherEnvelope>)> {
    let trust = Trust::new(keys);
    let judged = envelopes.into_iter().map(|envelope| {
        let judgement = match envelope.bytes {
            Ok(bytes) => judge_one(&bytes, &trust, expected, files),
            Err(error) => Judgement::Unreadable(format!("{error:#}")),
        };
        let judgement = match judgement {
            // Nothing says that one of the keys signed it.
            Judgement::Unreadable(why) if !envelope.is_expected => Judgement::UnknownKey(why),
            judgement => judgement,
        };
        (envelope.name, judgement)
    });
    let mut judged: Vec<_> = judged.collect();
    judged.sort_by_key(|(_, judgement)| judgement.rank());
    let mut judged = judged.into_iter();
    let (_, first) = judged.next()?;
    let others = judged.map(|(envelope, judgement)| OtherEnvelope {
        envelope,
        says: judgement.says(),
    });
    Some((first, others.collect()))
}

fn judge_one(envelope: &[u8], trust: &Trust, expected: &Expected, files: &[File]) -> Judgement {
    let opened = verification::open(envelope, &trust.public_keys(), Some(&expected.name));
    let opened = match opened {
        Ok(opened) => opened,
        Err(error @ VerificationError::UnknownKey(_)) => {
            return Judgement::UnknownKey(error.to_string());
        }
        Err(error @ VerificationError::OtherBackup { .. }) => {
            return Judgement::NotGood(format!("{error}{}", expected.name_advice));
        }
        Err(error) if error.is_proof() => return Judgement::NotGood(error.to_string()),
        Err(error) => return Judgement::Unreadable(error.to_string()),
    };
    // What Velero's namespace and the location are called here, no file tells.
    let claim = Claim::of(&opened.statement, None, None);
    let (trusted, key) = match trust.vouching(&opened, &claim) {
        Ok(vouching) => vouching,
        Err(why) => return Judgement::NotVouched(why.to_string()),
    };
    let statement = opened.statement;
    let location = &statement.location;
    let signed = format!("{}/{}", location.bucket, location.prefix);
    let signed = signed.trim_end_matches('/');
    match &expected.recorded_in {
        Some(wanted) if wanted != signed => Judgement::NotGood(format!(
            "it was recorded in {}, not in {}{}",
            shown(signed),
            shown(wanted),
            expected.recorded_in_advice
        )),
        _ if trusted.same_bucket_only
            && expected.read_in.as_ref().is_some_and(|read| read != signed) =>
        {
            Judgement::NotVouched(format!(
                "TrustedKey {} counts only in the bucket that is signed, which is {}",
                trusted.name,
                shown(signed)
            ))
        }
        _ => Judgement::Verified {
            verified: Box::new(Verified {
                key,
                differences: statement.manifest.differences(&expected.name, files, &[]),
                statement,
            }),
            trusted: trusted.name.clone(),
        },
    }
}
