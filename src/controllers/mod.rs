//! What runs beside admission and never in its way.

mod complaints;
mod keeper;
mod locations;
mod maker;
mod news;
mod pace;
pub mod publisher;
