//! Sends the reviews of a Restore to a replica, as the API server does.

use std::borrow::Cow;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use kube::api::DynamicObject;
use serde_json::{Value, json};
use velero_trust_testing::wait;

use super::PATIENCE;
use crate::client::{Connection, Trust};

/// Sends reviews of a Restore that Velero may begin, as the API server does.
pub(crate) struct Reviews {
    trust: Trust,
    address: String,
    connection: Connection,
    /// Whether the server closes the connection after its last answer.
    is_closed: bool,
    restore: Value,
}

impl Reviews {
    /// `ca` is that of the replica at `address`.
    pub(crate) fn new(ca: &str, address: SocketAddr, restore: DynamicObject) -> Result<Self> {
        let trust = Trust::new(ca)?;
        let address = address.to_string();
        Ok(Self {
            connection: trust.connect(&address)?,
            is_closed: false,
            trust,
            address,
            restore: serde_json::to_value(restore)?,
        })
    }

    /// Waits until Velero may begin it.
    pub(crate) fn until_ready(&mut self) -> Result<()> {
        wait::poll("the Restore to be ready", PATIENCE, || {
            ensure!(self.begin()?, "{}", self.connection.answer());
            Ok(())
        })
    }

    /// Returns the last answer.
    pub(crate) fn answer(&self) -> Cow<'_, str> {
        self.connection.answer()
    }

    /// Sends both reviews with which it is created. Returns whether it is admitted.
    pub(crate) fn create(&mut self) -> Result<bool> {
        let body = review("CREATE", &self.restore, &Value::Null);
        Ok(self.send("/mutate/restores", &body)? && self.send("/validate/restores", &body)?)
    }

    /// Sends the review with which Velero begins it. Returns whether it is admitted.
    pub(crate) fn begin(&mut self) -> Result<bool> {
        let mut begun = self.restore.clone();
        begun["status"]["phase"] = json!("InProgress");
        let body = review("UPDATE", &begun, &self.restore);
        let is_admitted = self.send("/mutate/restores", &body)?;
        Ok(is_admitted && self.connection.answer().contains("patch") && !self.is_refused())
    }

    /// Whether the last answer refuses the Restore. Velero's own write is admitted and changed for that.
    pub(crate) fn is_refused(&self) -> bool {
        self.connection.answer().contains(r#""decision":"deny""#)
    }

    fn send(&mut self, path: &str, body: &str) -> Result<bool> {
        if self.is_closed {
            self.connection = self.trust.connect(&self.address)?;
        }
        let first = self.connection.exchange(path, body.as_bytes());
        let answered = if let Ok(answered) = first {
            answered
        } else {
            // The server closes a connection that is idle.
            self.connection = self.trust.connect(&self.address)?;
            self.connection.exchange(path, body.as_bytes())?
        };
        let is_admitted = answered.is_ok && self.connection.answer().contains("\"allowed\":true");
        // Later: the answer is of this connection.
        self.is_closed = answered.is_last;
        Ok(is_admitted)
    }
}

fn review(operation: &str, object: &Value, old: &Value) -> String {
    let of = |field: &str, name: &str| json!({"group": "velero.io", "version": "v1", field: name});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": of("kind", "Restore"),
            "resource": of("resource", "restores"),
            "requestKind": of("kind", "Restore"),
            "requestResource": of("resource", "restores"),
            "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"],
            "operation": operation,
            "userInfo": {"username": "system:serviceaccount:velero:velero"},
            "object": object,
            "oldObject": old,
            "dryRun": false,
        },
    })
    .to_string()
}
