//! How far the files are read for which a Restore waits.

use kube::{Api, Client};

use crate::kubernetes::crds::{BackupRecord, Progress};

/// Most records that are looked at. There is one for each Backup that had the name, of which one is read.
const MAX_RECORDS: usize = 4;

/// The units of an amount, the largest first.
const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];

/// Returns how far the files are read by one of the `records`, for people.
pub(super) async fn read(client: &Client, records: &[String]) -> Option<String> {
    let api = Api::<BackupRecord>::all(client.clone());
    for name in records.iter().take(MAX_RECORDS) {
        let record = api.get_opt(name).await.ok().flatten();
        let verification = record
            .and_then(|record| record.status)
            .and_then(|status| status.verification);
        if let Some(progress) = verification.and_then(|verification| verification.progress) {
            return Some(words(&progress));
        }
    }
    None
}

fn words(progress: &Progress) -> String {
    let number = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
    let (read, all) = (number(progress.bytes_read), number(progress.bytes));
    let unit = UNITS.into_iter().find(|(size, _)| all >= *size);
    let Some((size, unit)) = unit else {
        return format!("{read} of {all} bytes read");
    };
    let tenths = |bytes: u64| {
        let tenths = bytes / (size / 10);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    format!("{} of {} {unit} read", tenths(read), tenths(all))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn the_progress_is_told_in_the_unit_of_the_whole() {
        let words = |bytes_read, bytes| {
            words(&Progress {
                bytes_read,
                bytes,
                at: Time(Timestamp::UNIX_EPOCH),
            })
        };
        assert_eq!(words(3_249_000_000, 7_900_000_000), "3.2 of 7.9 GB read");
        assert_eq!(words(0, 1_000_000), "0.0 of 1.0 MB read");
        assert_eq!(words(1_000, 999_999), "1.0 of 999.9 kB read");
        assert_eq!(words(-1, 999), "0 of 999 bytes read");
    }
}
