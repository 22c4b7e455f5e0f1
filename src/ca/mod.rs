//! CA trust: what a CA bundle is, where a BSL's CA comes from, and how it reaches a Pod.

pub mod base;
mod base64;
pub mod bundle;
pub mod certificate;
pub mod complaint;
pub mod coverage;
pub mod endpoint;
pub mod hold;
pub mod inject;
pub mod keeping;
pub mod pem;
pub mod rules;
pub mod sources;
pub mod survey;
pub mod x509;

pub use x509::Defect;
