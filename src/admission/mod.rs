//! The admission protocol, from the bytes of an AdmissionReview to the bytes of its answer.

mod answer;
mod backups;
mod handler;
mod locations;
mod messages;
mod pods;
mod request;
mod restores;
mod reviewed_object;
pub mod schema;
mod table;
pub mod webhook_state;
mod wire;

pub use answer::{Answer, Decision, failure};
pub use handler::{Handler, Opened, UNREADABLE};
pub use request::{API_VERSION, BadReview, Envelope, Operation, Request};
pub use reviewed_object::{Mode, ReviewedObject, Unreadable};
pub use table::{HANDLERS, all_rules};
