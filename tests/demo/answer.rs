//! An answer of the webhook in a form for people, and the answer that was expected.

use std::fmt;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// An actual answer.
pub(super) struct Answer {
    status: u16,
    review: Value,
    patch: Vec<Value>,
}

/// An expected answer.
pub(super) enum Expected {
    /// Allowed and not changed, with or without a warning of this rule.
    Allowed { warning: Option<&'static str> },
    /// Denied by this rule.
    Denied { code: u64, rule: &'static str },
    /// An HTTP error, because the request is not a review.
    Error(u16),
    /// Changed by this number of additions.
    Patched { additions: usize },
    /// Velero begins the Restore, and the verdict is noted on it.
    Begins,
    /// Velero stops the Restore, for the reason of this rule.
    Stopped { rule: &'static str },
}

impl Answer {
    pub(super) fn read(status: u16, body: &str) -> Result<Self> {
        let review: Value = serde_json::from_str(body).context("the answer is not JSON")?;
        let patch = match review.pointer("/response/patch").and_then(Value::as_str) {
            Some(patch) => serde_json::from_slice(&STANDARD.decode(patch)?)?,
            None => Vec::new(),
        };
        Ok(Self {
            status,
            review,
            patch,
        })
    }

    /// Returns `object` as the API server stores it after this answer.
    pub(super) fn applied(&self, object: &Value) -> Result<Value> {
        let patch: json_patch::Patch = serde_json::from_value(self.patch.clone().into())?;
        let mut after = object.clone();
        json_patch::patch(&mut after, &patch)?;
        Ok(after)
    }

    fn text(&self, pointer: &str) -> &str {
        self.review
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Returns the value that the patch sets at `path`, or nothing.
    fn value(&self, path: &str) -> String {
        let mut operations = self.patch.iter();
        let operation = operations.find(|operation| operation["path"] == path);
        operation.map_or_else(String::new, |operation| operation["value"].to_string())
    }

    fn allowed(&self) -> bool {
        self.review.pointer("/response/allowed") == Some(&Value::Bool(true))
    }

    fn code(&self) -> u64 {
        self.review
            .pointer("/response/status/code")
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }

    fn warnings(&self) -> Vec<&str> {
        let warnings = self
            .review
            .pointer("/response/warnings")
            .and_then(Value::as_array);
        warnings
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// Returns the lines that a user would see, and the additions of a patch.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.status != 200 {
            return vec![format!("HTTP {}: {}", self.status, self.text("/message"))];
        }
        let mut lines = Vec::new();
        if self.allowed() {
            lines.push("allowed".to_owned());
        } else {
            let message = self.text("/response/status/message");
            lines.push(format!("denied with {}: {message}", self.code()));
        }
        lines.extend(
            self.warnings()
                .iter()
                .map(|warning| format!("Warning: {warning}")),
        );
        for operation in &self.patch {
            let value = |field| match operation.get(field) {
                Some(Value::String(text)) => text.clone(),
                value => value.map(Value::to_string).unwrap_or_default(),
            };
            lines.push(format!(
                "{} {} {}",
                value("op"),
                value("path"),
                value("value")
            ));
        }
        lines
    }
}

impl Expected {
    pub(super) fn check(&self, answer: &Answer) -> Result<(), String> {
        let has_warning = |rule: &str| {
            answer
                .warnings()
                .iter()
                .any(|warning| warning.contains(rule))
        };
        let holds = match self {
            Self::Allowed { warning } => {
                let is_silent = answer.warnings().is_empty();
                answer.allowed()
                    && answer.patch.is_empty()
                    && warning.map_or(is_silent, has_warning)
            }
            Self::Denied { code, rule } => {
                let message = answer.text("/response/status/message");
                !answer.allowed() && answer.code() == *code && message.contains(rule)
            }
            Self::Error(status) => answer.status == *status,
            Self::Patched { additions } => answer.allowed() && answer.patch.len() == *additions,
            Self::Begins => {
                let is_silent = answer.warnings().is_empty();
                let verdict = answer.value("/metadata/annotations/velero-trust.io~1verdict");
                answer.allowed() && is_silent && verdict.contains("observed")
            }
            Self::Stopped { rule } => {
                let is_stopped = answer.value("/status/phase").contains("FailedValidation");
                is_stopped && answer.value("/status/validationErrors").contains(rule)
            }
        };
        if holds {
            Ok(())
        } else {
            Err(format!("got {}", answer.review))
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed { warning: None } => f.write_str("allowed as it is"),
            Self::Allowed {
                warning: Some(rule),
            } => write!(f, "allowed with the warning {rule}"),
            Self::Denied { code, rule } => write!(f, "refused by {rule} with {code}"),
            Self::Error(status) => write!(f, "an HTTP {status}, not a verdict"),
            Self::Patched { additions } => write!(f, "patched by {additions} additions"),
            Self::Begins => f.write_str("begins, and its verdict is noted"),
            Self::Stopped { rule } => write!(f, "stopped by {rule} before anything is restored"),
        }
    }
}
