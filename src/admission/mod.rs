//! The admission protocol, from the bytes of an AdmissionReview to the bytes of its answer.

pub mod activation;
mod answer;
mod backups;
mod handler;
mod locations;
mod messages;
mod pods;
mod request;
mod restore_gate;
mod restores;
mod reviewed_object;
pub mod schema;
mod table;
pub mod webhook_state;
mod wire;

pub use answer::{Answer, Decision, failure};
pub use handler::{Handler, Opened, UNREADABLE};
pub use messages::VALIDATION_ERROR_PREFIX;
pub use request::{API_VERSION, BadReview, Envelope, Operation, Request, UserRef};
pub use restore_gate::would_begin;
pub use reviewed_object::{Mode, ReviewedObject, Unreadable};
pub use table::{HANDLERS, all_rules};
