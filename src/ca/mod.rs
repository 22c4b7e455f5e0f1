//! CA trust: what a CA bundle is, and where a BSL's CA comes from.

pub mod base;
mod base64;
pub mod bundle;
pub mod certificate;
pub mod complaint;
pub mod endpoint;
pub mod hold;
pub mod keeping;
pub mod pem;
pub mod rules;
pub mod sources;
pub mod survey;
mod x509;

pub use x509::Defect;
