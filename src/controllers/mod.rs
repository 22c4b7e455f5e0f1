//! What runs beside admission and never in its way.

mod keeper;
mod locations;
pub mod publisher;
mod secrets;
