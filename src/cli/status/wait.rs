//! `velero-trust status --wait`: waits until all backups are recorded.

use std::time::Duration;

use super::model::{Backups, StatusReport};
use crate::cli::looks::Looks;
use crate::cli::snapshot::NotRecordedState;

/// What is still missing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Missing {
    /// Nothing; the number of all backups.
    Nothing(usize),
    /// In words.
    Some(String),
}

/// A wait for the records of all backups.
pub(super) struct Wait {
    looks: Looks,
    last: Option<Missing>,
}

impl Wait {
    pub(super) fn begin(timeout: Duration) -> Self {
        Self {
            looks: Looks::begin(timeout),
            last: None,
        }
    }

    /// Whether all backups are recorded, or the time is up. Says what is missing whenever that changes.
    pub(super) fn is_over(&mut self, status: &StatusReport) -> bool {
        let missing = missing(status);
        let is_new = self.last.as_ref() != Some(&missing);
        self.last = Some(missing.clone());
        match missing {
            // Velero creates the Backups of a bucket one after the other, so that one look is not enough.
            Missing::Nothing(_) => !is_new || self.looks.is_over(),
            Missing::Some(what) => self.looks.is_late(&what),
        }
    }

    pub(super) async fn pause(&self) {
        self.looks.pause().await;
    }
}

fn missing(status: &StatusReport) -> Missing {
    let mut count = 0;
    let mut what = Vec::new();
    for namespace in &status.namespaces {
        let Some(backups) = &namespace.backups else {
            continue;
        };
        let name = &namespace.name;
        match (backups.total, backups.recorded) {
            (Some(total), Some(recorded)) => {
                let open = total.saturating_sub(recorded + nothing_to_record(backups));
                count += total;
                if open > 0 {
                    what.push(format!(
                        "{recorded} of {total} backups in {name} are recorded"
                    ));
                }
            }
            (Some(0), None) => {}
            _ => what.push(format!(
                "it is not known which backups in {name} are recorded"
            )),
        }
    }
    match (count, what.is_empty()) {
        (_, false) => Missing::Some(what.join(", ")),
        (0, true) => Missing::Some("there is no backup".to_owned()),
        (count, true) => Missing::Nothing(count),
    }
}

/// Returns the number of the backups that will have no record.
fn nothing_to_record(backups: &Backups) -> usize {
    let others = backups.not_recorded.iter();
    let others = others.filter(|one| one.why.state == NotRecordedState::NothingToRecord);
    others.map(|one| one.backups.count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshot::{NotRecorded, Others};
    use crate::cli::status::model::{Namespace, NotRecordedBackups};

    fn status(total: Option<usize>, recorded: Option<usize>, failed: usize) -> StatusReport {
        let not_recorded = NotRecordedBackups {
            why: NotRecorded {
                state: NotRecordedState::NothingToRecord,
                reason: Some("Failed".to_owned()),
            },
            backups: Others {
                count: failed,
                ..Others::default()
            },
        };
        let backups = Backups {
            total,
            recorded,
            not_recorded: vec![not_recorded],
            ..Backups::default()
        };
        let namespace = Namespace {
            name: "velero".to_owned(),
            backups: Some(backups),
            ..Namespace::default()
        };
        StatusReport {
            namespaces: vec![namespace],
            ..StatusReport::default()
        }
    }

    #[test]
    fn backups_that_failed_are_not_waited_for() {
        assert_eq!(missing(&status(Some(3), Some(2), 1)), Missing::Nothing(3));
        let some = |text: &str| Missing::Some(text.to_owned());
        let told = some("1 of 3 backups in velero are recorded");
        assert_eq!(missing(&status(Some(3), Some(1), 1)), told);
        let none = some("there is no backup");
        assert_eq!(missing(&StatusReport::default()), none);
        assert_eq!(missing(&status(Some(0), Some(0), 0)), none);
        let unknown = some("it is not known which backups in velero are recorded");
        assert_eq!(missing(&status(Some(3), None, 0)), unknown);
        assert_eq!(missing(&status(None, None, 0)), unknown);
    }

    #[test]
    fn one_look_is_not_enough_and_the_time_ends() {
        let mut wait = Wait::begin(Duration::from_mins(10));
        let recorded = |count| status(Some(count), Some(count), 0);
        assert!(!wait.is_over(&status(Some(2), Some(1), 0)));
        assert!(!wait.is_over(&recorded(1)));
        assert!(!wait.is_over(&recorded(2)));
        assert!(wait.is_over(&recorded(2)));
        assert!(Wait::begin(Duration::ZERO).is_over(&status(Some(2), Some(1), 0)));
    }
}
